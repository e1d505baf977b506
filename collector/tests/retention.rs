//! Letting old segments go: what goes, what must not, what is still known of it, and the power going in the middle.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::stored::{event, ids, numbered, small};
use headwater_collector::event_log::testing::{PowerlessDisk, Random};
use headwater_collector::event_log::*;

const DIR: &str = "/log";
const DAY: i64 = 86_400_000;

/// A clock that a test sets.
#[derive(Clone, Default)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.0);
        Arc::new(move || Timestamp::from_unix_ms(now.load(Ordering::SeqCst)))
    }
}

fn open(disk: &PowerlessDisk, time: &Time) -> (EventLog, Recovered) {
    EventLog::open(Path::new(DIR), small(), Arc::new(disk.clone()), time.clock()).unwrap()
}

fn survey(disk: &PowerlessDisk) -> Survey {
    let disk = Arc::new(disk.clone());
    Snapshot::take(disk, Path::new(DIR), Check::Everything).unwrap().survey().clone()
}

const EVERYTHING: Retention = Retention { max_age: None, max_bytes: Some(0) };

/// `n` events, numbered from 1, one each day.
async fn fill(log: &EventLog, time: &Time, n: i64) {
    for n in 1..=n {
        time.set(n * DAY);
        log.append(vec![numbered(&n.to_string(), "q", n.cast_unsigned())]).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_beyond_the_limit_goes_and_its_numbers_are_still_known() {
    let (disk, time) = (PowerlessDisk::default(), Time::default());
    let (log, _) = open(&disk, &time);
    fill(&log, &time, 100).await;
    let before = log.stats();
    let limit = Retention { max_bytes: Some(before.bytes / 2), ..Retention::default() };
    let end = *log.end().borrow();
    let kept = log.upkeep(limit, end).await.unwrap();
    assert!(kept.segments > 0 && kept.unread_bytes == 0, "{kept:?}");
    let left = ids(&log);
    assert_eq!(left.first().unwrap(), &kept.first.to_string(), "readers begin where the log does");
    assert_eq!(left.last().unwrap(), "100");
    let stats = log.stats();
    assert_eq!(
        (stats.events, stats.first, stats.ids_from),
        (left.len() as u64, kept.first, kept.first)
    );
    assert_eq!(stats.bytes, before.bytes - kept.bytes);
    assert!(left.len() < 80, "{}", left.len());
    drop(log);

    for _ in 0..2 {
        let (log, recovered) = open(&disk, &time);
        assert_eq!(recovered.damaged, [], "it was meant");
        assert_eq!((recovered.events, recovered.end), (left.len() as u64, end));
        assert_eq!(log.stats().sequences, before.sequences, "no gap where events were let go");
        assert_eq!(ids(&log), left);
        // An event that is gone comes again, from a device that was offline.
        let late = NewEvent { event_time: Some(Timestamp::MIN), ..numbered("3", "q", 3) };
        assert_eq!(log.append(vec![late]).await, Ok(vec![Appended::Duplicate]));
    }
    let found = survey(&disk);
    assert_eq!((found.first, found.end, found.events), (kept.first, end, left.len() as u64));
    assert_eq!((found.damaged, found.sequences), (Vec::new(), before.sequences));
}

/// The operator's guide says so: keep more than the longest time after which a client sends again.
#[tokio::test]
async fn what_is_let_go_is_forgotten_unless_it_was_numbered() {
    let (disk, time) = (PowerlessDisk::default(), Time::default());
    let (log, _) = open(&disk, &time);
    // It happened before anything that is left: as on a phone that was offline.
    let numbered =
        || NewEvent { event_time: Some(Timestamp::MIN), ..numbered("numbered", "q2", 1) };
    log.append(vec![event("plain"), numbered()]).await.unwrap();
    fill(&log, &time, 50).await;
    let again = async |log: &EventLog, plain: Appended| {
        let both = vec![event("plain"), numbered()];
        assert_eq!(log.append(both).await, Ok(vec![plain, Appended::Duplicate]));
    };
    again(&log, Appended::Duplicate).await;
    let end = *log.end().borrow();
    assert!(log.upkeep(EVERYTHING, end).await.unwrap().segments > 0);
    again(&log, Appended::Accepted).await;
    again(&log, Appended::Duplicate).await;
    log.upkeep(EVERYTHING, *log.end().borrow()).await.unwrap();
    drop(log);
    again(&open(&disk, &time).0, Appended::Duplicate).await;
}

#[tokio::test]
async fn a_log_that_is_being_closed_does_not_wait_for_its_upkeep() {
    let (disk, time) = (PowerlessDisk::default(), Time::default());
    let (log, _) = open(&disk, &time);
    fill(&log, &time, 60).await;
    let files = disk.list(Path::new(DIR)).unwrap();
    log.interrupt_upkeep();
    let end = *log.end().borrow();
    log.upkeep(EVERYTHING, end).await.unwrap_err();
    assert_eq!(disk.list(Path::new(DIR)).unwrap(), files);
}

#[tokio::test]
async fn what_somebody_has_not_read_stays() {
    let (disk, time) = (PowerlessDisk::default(), Time::default());
    let (log, _) = open(&disk, &time);
    fill(&log, &time, 100).await;
    let read: Offset = "50".parse().unwrap();
    let kept = log.upkeep(EVERYTHING, read).await.unwrap();
    assert!(kept.segments > 0 && kept.unread_bytes > 0, "{kept:?}");
    assert!(kept.first.since(Offset::START) <= 51, "{kept:?}");
    let next = log.reader(Some(read)).next_chunk(1).unwrap();
    assert_eq!(&*next[0].message_id, "51");
    let kept = log.upkeep(EVERYTHING, Offset::START).await.unwrap();
    assert_eq!(kept.segments, 0);
}

#[tokio::test]
async fn what_is_too_old_goes_also_from_a_log_that_hardly_grows() {
    let (disk, time) = (PowerlessDisk::default(), Time::default());
    let (log, _) = open(&disk, &time);
    let week = Retention { max_age: Some(Duration::from_secs(7 * 86_400)), ..Retention::default() };
    fill(&log, &time, 3).await;
    assert_eq!(log.stats().segments, 1);
    for day in 4..30 {
        time.set(day * DAY);
        let end = *log.end().borrow();
        log.upkeep(week, end).await.unwrap();
        let oldest = ids(&log).first().map_or(day, |id| id.parse().unwrap());
        assert!(day - oldest <= 12, "day {day}: one of day {oldest} is still there");
        if day <= 8 {
            assert_eq!(ids(&log).len(), 3, "day {day}: younger than a week");
        }
    }
    assert_eq!(ids(&log), Vec::<String>::new());
    log.append(vec![event("later")]).await.unwrap();
    assert_eq!(ids(&log), ["later"]);
    drop(log);
    let (log, recovered) = open(&disk, &time);
    assert_eq!((recovered.events, recovered.damaged.len()), (1, 0));
    assert_eq!(ids(&log), ["later"]);
}

#[tokio::test]
async fn whenever_the_power_goes_the_log_begins_where_it_did_or_was_to_begin() {
    let (mut before, mut after) = (0, 0);
    for seed in 0..200 {
        let why = format!("seed {seed}");
        let mut random = Random(seed);
        let (disk, time) = (PowerlessDisk::default(), Time::default());
        let (log, _) = open(&disk, &time);
        fill(&log, &time, 60).await;
        if random.below(2) == 0 {
            log.upkeep(Retention::default(), Offset::START).await.unwrap();
        }
        let sequences = log.stats().sequences;
        let (end, all) = (*log.end().borrow(), ids(&log));
        disk.cut_power_at(random.below(12), random.below(u64::MAX));
        let half = Retention { max_bytes: Some(log.stats().bytes / 2), ..Retention::default() };
        let kept = log.upkeep(half, end).await.unwrap();
        let left = ids(&log);
        let Some(disk) = disk.after_cut() else { continue };
        drop(log);
        let found = survey(&disk);
        assert_eq!(found.damaged, [], "{why}");
        let (log, recovered) = open(&disk, &time);
        assert_eq!((recovered.damaged.len(), recovered.end), (0, end), "{why}");
        assert_eq!(log.stats().sequences, sequences, "{why}");
        let found = ids(&log);
        assert!(found == all || found == left, "{why}: {found:?}");
        before += u64::from(found == all);
        after += u64::from(found == left);
        assert_eq!(log.upkeep(half, end).await.unwrap().first, kept.first, "{why}");
        assert_eq!(ids(&log), left, "{why}");
    }
    assert!(before > 10 && after > 10, "both sides were seen: {before}, {after}");
}

#[tokio::test]
async fn a_beginning_that_nobody_let_go_is_missed() {
    let (disk, time) = (PowerlessDisk::default(), Time::default());
    let (log, _) = open(&disk, &time);
    fill(&log, &time, 60).await;
    drop(log);
    let first = disk.list(Path::new(DIR)).unwrap().into_iter().filter(|n| n.ends_with(".log"));
    disk.remove(&Path::new(DIR).join(first.min().unwrap())).unwrap();
    for _ in 0..3 {
        let (log, recovered) = open(&disk, &time);
        assert_eq!(recovered.damaged.len(), 1, "said at every start");
        assert_eq!(recovered.damaged[0].harm, Harm::Absent);
        assert_eq!(recovered.damaged[0].offsets.0.to_string(), "1");
        log.upkeep(Retention::default(), Offset::START).await.unwrap();
        assert_eq!(survey(&disk).damaged.len(), 1, "whatever upkeep does");
    }
}

#[tokio::test]
async fn a_copy_knows_what_was_let_go() {
    let (disk, time) = (PowerlessDisk::default(), Time::default());
    let (log, _) = open(&disk, &time);
    fill(&log, &time, 60).await;
    let end = *log.end().borrow();
    log.upkeep(EVERYTHING, end).await.unwrap();
    let sequences = log.stats().sequences;
    let copy = PowerlessDisk::default();
    let snapshot = Snapshot::take(Arc::new(disk), Path::new(DIR), Check::Headers).unwrap();
    snapshot.copy_to(&copy, Path::new(DIR)).unwrap();
    let (restored, recovered) = open(&copy, &time);
    assert_eq!((recovered.damaged.len(), recovered.end), (0, end));
    assert_eq!(restored.stats().sequences, sequences);
    assert_eq!(ids(&restored), ids(&log));
}

#[tokio::test]
async fn a_place_is_found_by_time() {
    let (disk, time) = (PowerlessDisk::default(), Time::default());
    let (log, _) = open(&disk, &time);
    fill(&log, &time, 100).await;
    let end = *log.end().borrow();
    let check = |log: &EventLog, first: i64| {
        for day in 0..102 {
            for ms in [day * DAY - 1, day * DAY] {
                let after = log.before(Timestamp::from_unix_ms(ms)).unwrap();
                let wanted = (ms.div_euclid(DAY) + i64::from(ms % DAY != 0)).max(first);
                let next = log.reader(Some(after)).next_chunk(1).unwrap();
                let next = next.first().map_or(101, |record| record.message_id.parse().unwrap());
                assert_eq!(next, wanted, "{ms}");
            }
        }
    };
    check(&log, 1);
    let first = log.upkeep(EVERYTHING, "50".parse().unwrap()).await.unwrap().first;
    assert_eq!(*log.end().borrow(), end);
    check(&log, i64::try_from(first.since(Offset::START)).unwrap());
}
