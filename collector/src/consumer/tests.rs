//! The loop against a destination that does as it is told: batches, blame, and what it must not do.
//! Promises no waiting but for conditions, and none longer than its patience. Knows no HTTP.

mod poison;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::{
    event_log::{FileSystem, NewEvent, Options, system_clock},
    sinks::Parcel,
};

const PATIENCE: Duration = Duration::from_secs(30);

type Say = Box<dyn FnMut(&[String]) -> Verdict + Send>;

/// A sink that says what a script says, and remembers what came.
struct Scripted {
    at_once: usize,
    in_flight: usize,
    say: Mutex<Say>,
    came: watch::Sender<Vec<(Vec<String>, Verdict)>>,
    /// Order keys under way now: a lane must never be twice in it.
    under_way: Mutex<HashSet<Box<str>>>,
    hang: Option<Arc<Notify>>,
    takes: Duration,
}

impl Scripted {
    fn new(at_once: usize, say: impl FnMut(&[String]) -> Verdict + Send + 'static) -> Self {
        let (came, under_way) = (watch::Sender::new(Vec::new()), Mutex::default());
        let (say, takes) = (Mutex::new(Box::new(say) as Say), Duration::ZERO);
        Self { at_once, in_flight: 4, say, came, under_way, hang: None, takes }
    }
}

fn id(line: &Bytes) -> String {
    let value: Value = serde_json::from_slice(line).unwrap();
    value["messageId"].as_str().unwrap().to_owned()
}

impl Sink for Scripted {
    fn most_at_once(&self) -> usize {
        self.at_once
    }

    fn most_in_flight(&self) -> usize {
        self.in_flight
    }

    async fn deliver(&self, parcels: &[Parcel]) -> Verdict {
        let mut keys: Vec<_> = parcels.iter().map(|parcel| parcel.order_key.clone()).collect();
        keys.sort();
        keys.dedup();
        for key in &keys {
            let alone = self.under_way.lock().unwrap().insert(key.clone());
            assert!(alone, "`{key}` has two deliveries under way");
        }
        tokio::task::yield_now().await;
        if let Some(hang) = &self.hang {
            hang.notified().await;
        }
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        let ids: Vec<_> = parcels.iter().map(|parcel| id(&parcel.line)).collect();
        let verdict = self.say.lock().unwrap()(&ids);
        self.under_way.lock().unwrap().retain(|key| !keys.contains(key));
        self.came.send_modify(|came| came.push((ids, verdict.clone())));
        verdict
    }
}

fn down() -> Verdict {
    Verdict::Unavailable { reason: "500".into(), retry_after: None }
}

fn refused() -> Verdict {
    Verdict::Refused { reason: "400".into() }
}

struct Running {
    around: Surroundings,
    handle: Handle,
    came: watch::Receiver<Vec<(Vec<String>, Verdict)>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start(sink: Scripted, events: &[(&str, &str)]) -> Self {
        Self::start_with(sink, events, "['1ms', '2ms', '5ms']").await
    }

    async fn start_with(sink: Scripted, events: &[(&str, &str)], retry: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = system_clock();
        let log = EventLog::open(
            &folder.path().join("log"),
            Options::default(),
            Arc::new(FileSystem),
            Arc::clone(&clock),
        );
        let around = Surroundings {
            log: Arc::new(log.unwrap().0),
            state: State::open(&folder.path().join("state.db")).unwrap(),
            metrics: Arc::new(Metrics::new()),
            clock,
        };
        append(&around.log, events).await;
        let config = toml::from_str(&format!("retry = {retry}")).unwrap();
        let name = Name::try_from("crm".to_owned()).unwrap();
        let came = sink.came.subscribe();
        let outlet = Outlet::Push(Arc::new(sink));
        let consumer = Consumer::open(name, &config, "test", outlet, around.clone()).unwrap();
        let handle = consumer.handle();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(consumer.run(stopped));
        Self { around, handle, came, stop, task, _folder: folder }
    }

    async fn wait_for(
        &self,
        what: &str,
        mut enough: impl FnMut(&[(Vec<String>, Verdict)]) -> bool,
    ) {
        let mut came = self.came.clone();
        let waited = timeout(PATIENCE, came.wait_for(|came| enough(came))).await.is_ok();
        assert!(waited, "waited in vain for {what}");
    }

    /// Waits until the cursor is at the end: all is delivered, or parked.
    async fn drained(&self) {
        let (mut cursor, end) = (self.handle.cursor.clone(), *self.around.log.end().borrow());
        let waited = timeout(PATIENCE, cursor.wait_for(|cursor| *cursor >= end)).await.is_ok();
        assert!(waited, "not drained: {:?}", self.handle.status.borrow());
    }

    fn delivered(&self) -> Vec<String> {
        let came = self.came.borrow();
        let passed = came.iter().filter(|(_, verdict)| *verdict == Verdict::Delivered);
        passed.flat_map(|(ids, _)| ids.clone()).collect()
    }

    async fn parked(&self) -> Vec<(String, String)> {
        let parked = self.handle.parked(Offset::START, 99).await.unwrap();
        parked.into_iter().map(|parked| (parked.message_id, parked.reason)).collect()
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.task).await.expect("it stops").unwrap();
    }
}

async fn append(log: &EventLog, events: &[(&str, &str)]) {
    let events = events.iter().map(|(id, key)| {
        NewEvent::new(
            "web".parse().unwrap(),
            *id,
            *key,
            format!(r#"{{"type":"track","event":"Clicked","messageId":"{id}"}}"#),
        )
    });
    log.append(events.collect::<Vec<_>>()).await.unwrap();
}

/// `count` events of `lanes` devices, in turns.
fn many(count: usize, lanes: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("m{n}"), format!("d{}", n % lanes))).collect()
}

fn borrowed(events: &[(String, String)]) -> Vec<(&str, &str)> {
    events.iter().map(|(id, key)| (id.as_str(), key.as_str())).collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test]
async fn several_go_out_together_and_each_lane_keeps_its_order() {
    let events = many(2000, 7);
    let running =
        Running::start(Scripted::new(100, |_| Verdict::Delivered), &borrowed(&events)).await;
    running.drained().await;
    let delivered = running.delivered();
    assert_eq!(delivered.len(), 2000, "each once");
    for lane in 0..7 {
        let number = |id: &String| id[1..].parse::<usize>().unwrap();
        let order: Vec<_> = delivered.iter().map(number).filter(|n| n % 7 == lane).collect();
        assert!(order.is_sorted() && order.len() >= 285, "{order:?}");
    }
    let deliveries = running.came.borrow().len();
    assert!(deliveries < 200, "as many at once as there are: {deliveries} deliveries");
    running.stop().await;
}

#[tokio::test]
async fn a_refused_batch_goes_one_by_one_and_only_the_guilty_one_is_parked() {
    let poison = "m7".to_owned();
    let say =
        move |ids: &[String]| if ids.contains(&poison) { refused() } else { Verdict::Delivered };
    let events = many(20, 3);
    let running = Running::start(Scripted::new(10, say), &borrowed(&events)).await;
    running.drained().await;
    assert_eq!(running.parked().await, [("m7".to_owned(), "400".to_owned())]);
    let delivered = running.delivered();
    let others = events.iter().map(|(id, _)| id.clone()).filter(|id| id != "m7").collect();
    assert_eq!(sorted(delivered), sorted(others));
    running.stop().await;
}

/// In simulated time: a wrong URL, found after an hour. What was refused before it was plain stays where it is, too.
#[tokio::test(start_paused = true)]
async fn a_destination_that_refuses_everything_parks_nothing_and_gets_all_once_it_is_mended() {
    for at_once in [1, 10] {
        let began = Instant::now();
        let say = move |_: &[String]| match began.elapsed() < Duration::from_secs(3600) {
            true => refused(),
            false => Verdict::Delivered,
        };
        let events = many(300, 100);
        let sink = Scripted::new(at_once, say);
        let running = Running::start_with(sink, &borrowed(&events), "['1s', '10s', '5m']").await;
        let (mut cursor, end) = (running.handle.cursor.clone(), *running.around.log.end().borrow());
        let waited = timeout(Duration::from_secs(7200), cursor.wait_for(|cursor| *cursor >= end));
        assert!(waited.await.is_ok(), "{:?}", running.handle.status.borrow());
        assert_eq!(running.parked().await, []);
        let number = |id: &String| id[1..].parse::<usize>().unwrap();
        let delivered = running.delivered();
        assert_eq!(delivered.len(), 300, "each once");
        for lane in 0..100 {
            let order: Vec<_> = delivered.iter().map(number).filter(|n| n % 100 == lane).collect();
            assert!(order.is_sorted(), "{order:?}");
        }
        running.stop().await;
    }
}

/// Refusals among deliveries are the events' own fault, however many there are; and so are a few with nothing to compare.
#[tokio::test(start_paused = true)]
async fn events_that_are_refused_among_others_or_by_themselves_are_parked() {
    for (count, bad) in [(400, 3), (5, 1)] {
        let say = move |ids: &[String]| match ids[0][1..].parse::<usize>().unwrap() % bad {
            0 => refused(),
            _ => Verdict::Delivered,
        };
        let events = many(count, count);
        let running = Running::start(Scripted::new(1, say), &borrowed(&events)).await;
        running.drained().await;
        assert_eq!(running.handle.status.borrow().parked, count.div_ceil(bad) as u64);
        assert_eq!(running.delivered().len(), count - count.div_ceil(bad));
        running.stop().await;
    }
}

#[tokio::test]
async fn an_event_that_a_healthy_destination_always_fails_on_is_found_and_parked() {
    for at_once in [1, 10] {
        let say = |ids: &[String]| match ids.iter().any(|id| id == "m7") {
            true => down(),
            false => Verdict::Delivered,
        };
        let events = many(40, 40);
        let running = Running::start(Scripted::new(at_once, say), &borrowed(&events)).await;
        // It needs others that pass to be found out: they come while it is tried.
        let (log, mut came) = (Arc::clone(&running.around.log), running.came.clone());
        let traffic = tokio::spawn(async move {
            for n in 40.. {
                let id = format!("m{n}");
                append(&log, &[(&id, &id)]).await;
                let comes = came.wait_for(|came| came.iter().any(|(ids, _)| ids.contains(&id)));
                drop(comes.await);
            }
        });
        let mut status = running.handle.status.clone();
        // What is borrowed from the channel holds up the consumer: it is let go at once.
        let found = timeout(PATIENCE, status.wait_for(|status| status.parked == 1)).await.is_ok();
        assert!(found, "{:?}", running.handle.status.borrow());
        traffic.abort();
        let parked = running.parked().await;
        assert_eq!(parked[0].0, "m7");
        assert!(parked[0].1.starts_with("500 (failed "), "{parked:?}");
        running.drained().await;
        let alone = running.came.borrow().iter().filter(|(ids, _)| *ids == ["m7"]).count();
        assert!(alone >= 8, "{alone}");
        running.stop().await;
    }
}

/// As fast as they come, so that the others are soon far ahead of it.
#[tokio::test]
async fn a_failing_event_is_found_before_there_is_nothing_left_to_compare_it_with() {
    let say = |ids: &[String]| if ids == ["m3"] { down() } else { Verdict::Delivered };
    let events = many(12_000, 12_000);
    let running = Running::start_with(Scripted::new(1, say), &borrowed(&events), "['900ms']").await;
    running.drained().await;
    let parked = running.parked().await;
    assert_eq!((parked.len(), &*parked[0].0), (1, "m3"));
    assert_eq!(running.delivered().len(), 11_999);
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_fails_does_not_hold_up_those_of_others() {
    let say = |ids: &[String]| if ids == ["m0"] { down() } else { Verdict::Delivered };
    let running = Running::start(Scripted::new(1, say), &borrowed(&many(300, 300))).await;
    running
        .wait_for("all others", |came| {
            came.iter().filter(|(_, verdict)| *verdict == Verdict::Delivered).count() == 299
        })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn a_destination_that_is_down_parks_nothing_however_long() {
    let mut attempts = 0;
    let say = move |_: &[String]| {
        attempts += 1;
        if attempts < 120 { down() } else { Verdict::Delivered }
    };
    let events = many(50, 10);
    let running = Running::start(Scripted::new(1, say), &borrowed(&events)).await;
    running.drained().await;
    assert_eq!(running.parked().await, []);
    let number = |id: &String| id[1..].parse::<usize>().unwrap();
    let delivered = running.delivered();
    assert_eq!(delivered.len(), 50);
    for lane in 0..10 {
        let order: Vec<_> = delivered.iter().map(number).filter(|n| n % 10 == lane).collect();
        assert_eq!(order, (lane..50).step_by(10).collect::<Vec<_>>());
    }
    running.stop().await;
}

#[tokio::test]
async fn a_destination_that_flaps_parks_nothing() {
    let mut attempts = 0;
    let say = move |_: &[String]| {
        attempts += 1;
        // Up for eleven attempts, down for seven.
        if attempts % 18 < 11 { Verdict::Delivered } else { down() }
    };
    let events = many(600, 60);
    let running = Running::start(Scripted::new(1, say), &borrowed(&events)).await;
    running.drained().await;
    assert_eq!(running.parked().await, []);
    assert_eq!(running.delivered().len(), 600);
    running.stop().await;
}

#[tokio::test]
async fn gone_pauses_it_until_someone_resumes_it() {
    let mut attempts = 0;
    let say = move |_: &[String]| {
        attempts += 1;
        if attempts == 1 { Verdict::Gone { reason: "410".into() } } else { Verdict::Delivered }
    };
    let running = Running::start(Scripted::new(1, say), &[("a", "d"), ("b", "d")]).await;
    let mut status = running.handle.status.clone();
    let paused = status.wait_for(|status| matches!(status.standing, Standing::Paused(_)));
    timeout(PATIENCE, paused).await.expect("paused").unwrap();
    let kept = running.around.state.paused(&running.handle.name).unwrap().unwrap();
    assert_eq!((&*kept.by, &*kept.reason), ("destination", "410"));
    append(&running.around.log, &[("c", "d")]).await;
    assert_eq!(running.came.borrow().len(), 1, "nothing goes out meanwhile");
    running.handle.resume().await.unwrap();
    running.drained().await;
    assert_eq!(running.delivered(), ["a", "b", "c"]);
    assert_eq!(running.around.state.paused(&running.handle.name).unwrap(), None);
    running.stop().await;
}

#[tokio::test]
async fn a_destination_that_hangs_holds_a_bounded_number_of_events() {
    let hang = Arc::new(Notify::new());
    let mut sink = Scripted::new(1, |_| Verdict::Delivered);
    sink.hang = Some(Arc::clone(&hang));
    let events = many(5000, 5000);
    let running = Running::start(sink, &borrowed(&events)).await;
    let mut status = running.handle.status.clone();
    timeout(PATIENCE, status.wait_for(|status| status.under_way == 4)).await.unwrap().unwrap();
    let listed = running.handle.listed().await.unwrap();
    assert_eq!((listed.state(), listed.end.since(listed.cursor)), ("running", 5000));
    assert!(listed.status.oldest_unread.is_some());
    // An order is taken while deliveries hang.
    running.handle.pause("release".into()).await.unwrap();
    running.stop.send_replace(true);
    (0..4).for_each(|_| hang.notify_one());
    timeout(PATIENCE, running.task).await.expect("it stops").unwrap();
    assert_eq!(running.came.borrow().len(), 4);
}

/// Two consumers of one log, one of them stuck at its first events.
#[tokio::test]
async fn a_slow_destination_delays_nobody_and_its_backlog_drains_in_order() {
    let let_go = Arc::new(Notify::new());
    let mut slow = Scripted::new(1, |_| Verdict::Delivered);
    slow.hang = Some(Arc::clone(&let_go));
    let events = many(3000, 11);
    let slow = Running::start(slow, &borrowed(&events)).await;
    let fast = Scripted::new(1, |_| Verdict::Delivered);
    let came = fast.came.subscribe();
    let config = toml::from_str("").unwrap();
    let name = Name::try_from("fast".to_owned()).unwrap();
    let outlet = Outlet::Push(Arc::new(fast));
    let fast = Consumer::open(name, &config, "test", outlet, slow.around.clone()).unwrap();
    let mut cursor = fast.cursor();
    let task = tokio::spawn(fast.run(slow.stop.subscribe()));
    let end = *slow.around.log.end().borrow();
    let drained = timeout(PATIENCE, cursor.wait_for(|cursor| *cursor >= end)).await.is_ok();
    assert!(drained && came.borrow().len() == 3000);
    assert_eq!(slow.came.borrow().len(), 0);
    // One after the other, as slowly as it likes.
    let releasing = tokio::spawn(async move {
        loop {
            let_go.notify_one();
            tokio::task::yield_now().await;
        }
    });
    slow.drained().await;
    releasing.abort();
    let delivered = slow.delivered();
    let number = |id: &String| id[1..].parse::<usize>().unwrap();
    for lane in 0..11 {
        let order: Vec<_> = delivered.iter().map(number).filter(|n| n % 11 == lane).collect();
        assert_eq!(order, (lane..3000).step_by(11).collect::<Vec<_>>());
    }
    slow.stop().await;
    timeout(PATIENCE, task).await.expect("it stops").unwrap();
}

/// Whether it was found already when it is dropped, or is just looked for.
#[tokio::test]
async fn what_is_dropped_before_it_is_delivered_again_is_not() {
    let mut bad = true;
    let say = move |ids: &[String]| match ids == ["m0"] && std::mem::replace(&mut bad, false) {
        true => Verdict::Gone { reason: "410".into() },
        false => Verdict::Delivered,
    };
    let running = Running::start(Scripted::new(1, say), &[("m0", "d")]).await;
    let mut status = running.handle.status.clone();
    let paused = status.wait_for(|status| matches!(status.standing, Standing::Paused(_)));
    drop(timeout(PATIENCE, paused).await.expect("paused"));
    let parked = crate::state::Parked {
        record: "1".parse().unwrap(),
        source: "web".into(),
        message_id: "m0".into(),
        reason: "no".into(),
        parked_at: (running.around.clock)(),
        redrive: false,
    };
    for found in [true, false] {
        running.around.state.park(&running.handle.name, &parked).unwrap();
        assert_eq!(running.handle.redrive(None).await.unwrap(), 1);
        if found {
            // It is behind what was looked for: an order later it is in its lane, or about to be.
            running.handle.pause("later".into()).await.unwrap();
        }
        assert_eq!(running.handle.drop_parked(None).await.unwrap(), 1);
    }
    running.handle.resume().await.unwrap();
    append(&running.around.log, &[("m1", "d")]).await;
    running.drained().await;
    assert_eq!(running.delivered(), ["m0", "m1"], "once");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_parked_event_whose_place_has_another_now_is_not_delivered_in_its_name() {
    let running = Running::start(Scripted::new(1, |_| Verdict::Delivered), &[("a", "d")]).await;
    running.drained().await;
    for (record, message_id) in [("1", "another"), ("7", "beyond")] {
        let parked = crate::state::Parked {
            record: record.parse().unwrap(),
            source: "web".into(),
            message_id: message_id.into(),
            reason: "no".into(),
            parked_at: (running.around.clock)(),
            redrive: false,
        };
        running.around.state.park(&running.handle.name, &parked).unwrap();
    }
    assert_eq!(running.handle.redrive(None).await.unwrap(), 2);
    let state = running.around.state.clone();
    let name = running.handle.name.clone();
    let looked = timeout(PATIENCE, async {
        while !state.to_redrive(&name, 9).unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    looked.await.expect("it looks for them");
    let reason = "it is not in the log any more; drop it";
    for (_, said) in running.parked().await {
        assert_eq!(said, reason);
    }
    assert_eq!(running.delivered(), ["a"]);
    running.stop().await;
}
