//! Single promises of the client, each as a short story on the simulated device. What only shows in long and hostile runs
//! is in `simulation`.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use headwater_core::Config;
use headwater_core::platform::{
    Answer, Consent, DropReason, Effect, Input, Listed, Now, Outcome, Priority, Report,
};
use headwater_core::testing::{Device, Happened, Outbound, Sample, StorageMode};

const START: Now = Now { monotonic_ms: 1_000, unix_ms: 1_763_769_600_000 };
const DAY: u64 = 24 * 3_600_000;

fn device(config: Config) -> Device {
    Device::new(config, [1, 2], START).0
}

fn sample(id: u64) -> Sample {
    Sample { id, bytes: 600, priority: Priority::Normal, at_ms: START.unix_ms, category: 0 }
}

/// Tracks, commits, and lets the batch come due.
fn track_and_send(device: &mut Device, ids: std::ops::Range<u64>) -> Outbound {
    device.track(&ids.map(sample).collect::<Vec<_>>());
    while device.finish_transaction().is_some() {}
    device.pass(1_000);
    device.wake().requests.pop().expect("a request is due")
}

fn ids(outbound: &Outbound) -> Vec<u64> {
    outbound.events.iter().map(|event| event.sample.id).collect()
}

fn reports(happened: &Happened) -> Vec<Report> {
    happened.reports.iter().map(|(report, _)| *report).collect()
}

#[test]
fn nothing_is_sent_before_it_is_committed_with_its_number() {
    let mut device = device(Config::default());
    let happened = device.track(&[sample(1)]);
    let kinds: Vec<_> = happened.effects.iter().map(std::mem::discriminant).collect();
    let store = Effect::Store {
        key: headwater_core::platform::Key(0),
        stamp: headwater_core::platform::Stamp { seq: 0, session_ms: 0, session_start: false },
    };
    assert_eq!(kinds[0], std::mem::discriminant(&store));
    device.pass(10_000);
    assert!(device.wake().requests.is_empty());
    device.finish_transaction();
    device.pass(1_000);
    let outbound = device.wake().requests.pop().unwrap();
    assert_eq!(outbound.events[0].number.unwrap().1, 1);
}

#[test]
fn what_was_not_answered_for_is_sent_by_the_next_life_with_the_same_number() {
    let mut device = device(Config::default());
    let first = track_and_send(&mut device, 1..4);
    device.crash(0, [9, 9]);
    device.pass(1_000);
    let again = device.wake().requests.pop().unwrap();
    assert_eq!(again.events, first.events);
    device.answer(again.request, Answer::Delivered(&[]));
    device.finish_transaction();
    assert_eq!((device.stored(), device.client().pending()), (0, 0));
}

#[test]
fn age_is_judged_only_after_a_failure_and_not_by_a_clock_that_jumped() {
    let config = Config { max_age_ms: 30 * DAY, ..Config::default() };
    let mut device = device(config);
    let first = track_and_send(&mut device, 1..2);
    device.set_clock(START.unix_ms + 365 * DAY);
    let happened = device.answer(first.request, Answer::Unreachable);
    assert_eq!(happened.reports, [], "the clock jumped within this life: the event is seconds old");
    while device.finish_transaction().is_some() {}
    device.crash(0, [3, 3]);
    device.pass(70_000);
    let old = device
        .wake()
        .requests
        .pop()
        .expect("a year old, and still sent: the collector may be there");
    let happened = device.answer(old.request, Answer::Unreachable);
    assert_eq!(
        happened.reports,
        [(
            Report::Dropped { key: headwater_core::platform::Key(1), reason: DropReason::TooOld },
            Some(1)
        )]
    );
}

#[test]
fn without_an_answer_about_consent_events_are_kept_and_not_sent() {
    let mut device = device(Config::default());
    device.input(Input::Consent(Consent::PENDING));
    device.track(&[sample(1), sample(2)]);
    while device.finish_transaction().is_some() {}
    device.pass(60_000);
    assert!(device.wake().requests.is_empty() && device.input(Input::Flush).requests.is_empty());
    assert!(device.input(Input::Leaving).requests.is_empty());
    assert_eq!(device.stored(), 2);
    device.input(Input::Consent(Consent::GRANTED));
    while device.finish_transaction().is_some() {}
    device.pass(1_000);
    let sent = device.wake().requests.pop().unwrap();
    assert_eq!(ids(&sent), [1, 2]);
    assert!(sent.events.iter().all(|event| event.number.is_some()), "numbered by then");
}

/// An answer for the second category alone.
fn second(pending: bool, denied: bool) -> Input<'static> {
    Input::Consent(Consent { pending: u8::from(pending) << 1, denied: u8::from(denied) << 1 })
}

#[test]
fn what_waits_for_an_answer_holds_up_nothing_else_and_leaves_no_gap() {
    let mut device = device(Config::default());
    device.input(second(true, false));
    device.track(&[sample(1), Sample { category: 1, ..sample(2) }, sample(3)]);
    while device.finish_transaction().is_some() {}
    device.pass(1_000);
    let sent = device.wake().requests.pop().unwrap();
    let numbers = |outbound: &Outbound| -> Vec<u64> {
        outbound.events.iter().map(|event| event.number.unwrap().1).collect()
    };
    assert_eq!((ids(&sent), numbers(&sent)), (vec![1, 3], vec![1, 2]));
    device.answer(sent.request, Answer::Delivered(&[]));
    while device.finish_transaction().is_some() {}
    // Another visit finds it, and it still waits.
    device.crash(0, [3, 4]);
    device.pass(1_000);
    assert!(device.wake().requests.is_empty() && device.input(Input::Leaving).requests.is_empty());
    device.input(second(false, false));
    while device.finish_transaction().is_some() {}
    device.pass(1_000);
    let sent = device.wake().requests.pop().unwrap();
    assert_eq!((ids(&sent), numbers(&sent)), (vec![2], vec![3]));
    assert!(sent.events[0].dropped.is_empty(), "it never had another number");
}

#[test]
fn a_no_to_one_category_deletes_its_events_and_tells_their_numbers() {
    let mut device = device(Config::default());
    let before = device.client().queue_id();
    device.track(&[sample(1), Sample { category: 1, ..sample(2) }, sample(3)]);
    while device.finish_transaction().is_some() {}
    device.input(second(false, true));
    assert_eq!(device.transactions(), 1, "all of it in one transaction");
    device.finish_transaction();
    assert_eq!(device.stored_ids().collect::<Vec<_>>(), [1, 3]);
    device.track(&[Sample { category: 1, ..sample(4) }]);
    while device.finish_transaction().is_some() {}
    device.pass(1_000);
    let sent = device.wake().requests.pop().unwrap();
    assert_eq!((ids(&sent), device.client().queue_id()), (vec![1, 3], before));
    let told = sent.events[0].dropped[0];
    assert_eq!((told.first, told.last, told.reason), (2, 2, DropReason::Denied));
}

#[test]
fn an_answer_that_is_taken_back_keeps_what_was_not_sent_until_there_is_another() {
    let mut device = device(Config::default());
    device.track(&[Sample { category: 1, ..sample(1) }, sample(2)]);
    while device.finish_transaction().is_some() {}
    device.input(second(true, false));
    while device.finish_transaction().is_some() {}
    device.pass(1_000);
    let sent = device.wake().requests.pop().unwrap();
    assert_eq!(ids(&sent), [2]);
    assert_eq!(sent.events[0].dropped[0].reason, DropReason::Unnumbered);
    device.answer(sent.request, Answer::Unreachable);
    device.input(second(false, false));
    while device.finish_transaction().is_some() {}
    let sent = device.input(Input::Flush).requests.pop().unwrap();
    assert_eq!(ids(&sent), [2, 1]);
}

#[test]
fn what_a_request_carries_when_the_answer_is_no_does_not_go_again() {
    let mut device = device(Config::default());
    device.track(&[Sample { category: 1, ..sample(1) }]);
    while device.finish_transaction().is_some() {}
    device.pass(1_000);
    let sent = device.wake().requests.pop().unwrap();
    device.input(second(false, true));
    device.answer(sent.request, Answer::Unreachable);
    while device.finish_transaction().is_some() {}
    assert_eq!((device.stored(), device.client().pending()), (0, 0));
    assert!(device.input(Input::Flush).requests.is_empty());
}

#[test]
fn what_waits_for_an_answer_is_bounded() {
    let mut device = device(Config { max_queue_events: 3, ..Config::default() });
    device.input(Input::Consent(Consent::PENDING));
    let happened = device.track(&(1..=5).map(sample).collect::<Vec<_>>());
    let given_up: Vec<_> = happened.reports.iter().map(|(_, id)| id.unwrap()).collect();
    assert_eq!(given_up, [1, 2], "the oldest");
    while device.finish_transaction().is_some() {}
    assert_eq!((device.stored(), device.client().pending()), (3, 3));
}

#[test]
fn a_no_purges_what_was_kept_and_begins_another_queue() {
    let mut device = device(Config::default());
    let before = device.client().queue_id();
    let carried = track_and_send(&mut device, 1..3);
    device.track(&[sample(3)]);
    device.input(Input::Consent(Consent::DENIED));
    while device.finish_transaction().is_some() {}
    assert_eq!((device.stored(), device.client().pending()), (0, 0));
    assert_ne!(device.client().queue_id(), before);
    device.answer(carried.request, Answer::Unreachable);
    device.track(&[sample(4)]);
    while device.finish_transaction().is_some() {}
    assert_eq!(device.stored(), 0, "nothing is kept after a no");
    device.crash(0, [5, 5]);
    assert_eq!(device.client().consent(), Consent::DENIED, "the next life remembers");
}

#[test]
fn leaving_sends_what_no_request_carries_within_the_browsers_budget() {
    let config = Config { leaving_bytes: 2_000, ..Config::default() };
    let mut device = device(config);
    let carried = track_and_send(&mut device, 1..2);
    device.answer(carried.request, Answer::Delivered(&[]));
    while device.finish_transaction().is_some() {}
    device.track(&[sample(2), sample(3), sample(4), sample(5), sample(6)]);
    let leaving = device.input(Input::Leaving).requests.pop().unwrap();
    assert!(leaving.leaving);
    assert_eq!(ids(&leaving), [2, 3, 4], "600 bytes each, of 2,000");
    assert!(
        leaving.events.iter().all(|event| event.number.is_none()),
        "their numbers are not committed yet"
    );
    device.answer(leaving.request, Answer::Delivered(&[]));
    while device.finish_transaction().is_some() {}
    // The numbers of the two were never seen: they are told with the next event.
    device.pass(1_000);
    let rest = device.wake().requests.pop().unwrap();
    assert_eq!(ids(&rest), [5, 6]);
    let told = rest.events[0].dropped[0];
    assert_eq!((told.first, told.last, told.reason), (2, 4, DropReason::Unnumbered));
}

#[test]
fn leaving_sends_nothing_that_is_under_way() {
    let mut device = device(Config::default());
    let carried = track_and_send(&mut device, 1..3);
    assert!(device.input(Input::Leaving).requests.is_empty(), "all of it is under way already");
    device.track(&[sample(3)]);
    let leaving = device.input(Input::Leaving).requests.pop().unwrap();
    assert_eq!(ids(&leaving), [3]);
    device.answer(carried.request, Answer::Delivered(&[]));
    device.answer(leaving.request, Answer::Delivered(&[]));
    assert_eq!(device.client().pending(), 0, "the page was only hidden: the answers count");
}

/// A page is left with one request under way and another sent as it goes; the next page asks about both.
fn left(device: &mut Device) -> Outbound {
    track_and_send(device, 1..3);
    device.track(&[sample(3)]);
    assert_eq!(ids(&device.input(Input::Leaving).requests[0]), [3]);
    let asked = device.crash(9, [7, 7]).requests.pop().unwrap();
    assert!(asked.asking, "what is in doubt is not sent again");
    assert_eq!(ids(&asked), [1, 2, 3]);
    asked
}

#[test]
fn what_went_out_as_a_page_was_left_is_asked_for_and_not_sent_again() {
    let mut device = device(Config::default());
    let asked = left(&mut device);
    let known = [0, 1, 2].map(|index| Listed { index, outcome: Outcome::Duplicate });
    device.answer(asked.request, Answer::Delivered(&known));
    while device.finish_transaction().is_some() {}
    assert_eq!((device.client().pending(), device.stored()), (0, 0));
    // The third went without its number, which nobody will see: told with the next event.
    let next = track_and_send(&mut device, 4..5);
    assert_eq!((next.events[0].dropped[0].first, next.events[0].dropped[0].last), (3, 3));
}

#[test]
fn what_has_not_arrived_two_seconds_later_goes_again_and_nothing_overtakes_it() {
    let mut device = device(Config::default());
    let asked = left(&mut device);
    let known = [Listed { index: 0, outcome: Outcome::Duplicate }];
    device.answer(asked.request, Answer::Delivered(&known));
    device.track(&[sample(4)]);
    while let Some(happened) = device.finish_transaction() {
        assert!(happened.requests.is_empty());
    }
    device.pass(1_999);
    assert!(device.wake().requests.is_empty());
    device.pass(1);
    let again = device.wake().requests.pop().unwrap();
    assert!(again.asking);
    assert_eq!(ids(&again), [2, 3]);
    let known = [Listed { index: 0, outcome: Outcome::Duplicate }];
    device.answer(again.request, Answer::Delivered(&known));
    device.pass(200);
    assert_eq!(ids(&device.wake().requests[0]), [3, 4]);
}

#[test]
fn a_collector_that_knows_no_such_question_is_sent_everything_again() {
    for status in [0, 400, 404, 405, 413] {
        let mut device = device(Config::default());
        let asked = left(&mut device);
        let refused = Answer::Refused { status, retry_after_ms: 0 };
        assert!(device.answer(asked.request, refused).reports.is_empty());
        device.pass(1_000);
        let sent = device.wake().requests.pop().unwrap();
        assert_eq!(ids(&sent), [1, 2, 3], "{status}");
        assert!(!sent.asking);
    }
    for status in [429, 503] {
        let mut device = device(Config::default());
        let asked = left(&mut device);
        device.answer(asked.request, Answer::Refused { status, retry_after_ms: 0 });
        device.pass(60_000);
        let again = device.wake().requests.pop().unwrap();
        assert!(again.asking, "asked again after {status}");
    }
}

#[test]
fn a_backlog_goes_in_batches_that_grow_until_one_fails() {
    let mut device = device(Config::default());
    device.track(&(1..1_001).map(sample).collect::<Vec<_>>());
    let mut request = device.finish_transaction().unwrap().requests.pop().unwrap();
    let mut sizes = vec![request.events.len()];
    for _ in 0..2 {
        device.answer(request.request, Answer::Delivered(&[]));
        device.pass(200);
        request = device.wake().requests.pop().unwrap();
        sizes.push(request.events.len());
    }
    assert_eq!(sizes, [80, 160, 320], "600 bytes each, of 48,000 and its multiples");
    device.answer(request.request, Answer::Unreachable);
    device.pass(60_000);
    assert_eq!(device.wake().requests[0].events.len(), 80);
}

#[test]
fn nothing_is_sent_on_leaving_while_the_collector_demands_a_wait() {
    let mut device = device(Config::default());
    let carried = track_and_send(&mut device, 1..2);
    device.answer(carried.request, Answer::Refused { status: 429, retry_after_ms: 5_000 });
    assert!(device.input(Input::Leaving).requests.is_empty());
}

#[test]
fn an_unknown_key_stops_the_queue_keeps_it_and_says_so() {
    let mut device = device(Config::default());
    let carried = track_and_send(&mut device, 1..3);
    let happened =
        device.answer(carried.request, Answer::Refused { status: 401, retry_after_ms: 0 });
    assert_eq!(reports(&happened), [Report::Stopped { status: 401 }]);
    device.pass(DAY);
    assert!(device.wake().requests.is_empty());
    assert_eq!(device.client().pending(), 2);
    assert_eq!(ids(&device.input(Input::Flush).requests[0]), [1, 2]);
}

#[test]
fn one_bad_event_among_good_ones_is_dropped_alone_and_told() {
    let mut device = device(Config::default());
    let carried = track_and_send(&mut device, 1..4);
    let refused = [
        Listed { index: 1, outcome: Outcome::Refused },
        Listed { index: 77, outcome: Outcome::Refused },
    ];
    let happened = device.answer(carried.request, Answer::Delivered(&refused));
    assert_eq!(happened.reports.len(), 1);
    assert_eq!(happened.reports[0].1, Some(2));
    let next = track_and_send(&mut device, 4..5);
    assert_eq!(next.events[0].dropped[0].first, 2);
    device.answer(next.request, Answer::Delivered(&[]));
    let later = track_and_send(&mut device, 5..6);
    assert!(later.events[0].dropped.is_empty(), "told once, it is not told again");
}

#[test]
fn drops_are_told_only_with_an_event_that_the_collector_cannot_have_seen() {
    let mut device = device(Config { max_event_bytes: 1_000, ..Config::default() });
    let carried = track_and_send(&mut device, 1..3);
    device.answer(carried.request, Answer::Unreachable);
    device.track(&[Sample { bytes: 2_000, ..sample(3) }]);
    while device.finish_transaction().is_some() {}
    device.pass(5_000);
    let again = device.wake().requests.pop().unwrap();
    assert!(
        again.events.iter().all(|event| event.dropped.is_empty()),
        "a duplicate's report would be forgotten"
    );
}

#[test]
fn a_damaged_state_begins_another_queue_and_loses_no_event() {
    let mut device = device(Config::default());
    let before = device.client().queue_id();
    device.track(&(1..4).map(sample).collect::<Vec<_>>());
    while device.finish_transaction().is_some() {}
    for byte in [0, 20, 60] {
        device.damage_saved(byte);
        let happened = device.crash(0, [byte as u64, 8]);
        assert_eq!(reports(&happened), [Report::StateLost]);
        assert_ne!(device.client().queue_id(), before);
        while device.finish_transaction().is_some() {}
    }
    device.pass(1_000);
    let sent = device.wake().requests.pop().unwrap();
    assert_eq!(ids(&sent), [1, 2, 3]);
    assert_eq!(
        sent.events.iter().map(|e| e.number.unwrap().1).collect::<Vec<_>>(),
        [1, 2, 3],
        "numbered anew"
    );
}

#[test]
fn without_storage_events_are_sent_from_memory_and_the_loss_of_durability_is_reported_once() {
    let mut device = device(Config::default());
    device.mode = StorageMode::Full;
    device.track(&[sample(1)]);
    assert_eq!(reports(&device.finish_transaction().unwrap()), [Report::NotDurable]);
    let sent = {
        device.pass(1_000);
        device.wake().requests.pop().unwrap()
    };
    assert_eq!((ids(&sent), sent.events[0].number), (vec![1], None));
    device.track(&[sample(2)]);
    while let Some(happened) = device.finish_transaction() {
        assert_eq!(reports(&happened), []);
    }
}
