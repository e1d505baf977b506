//! The event log through its public face, on a real folder and on disks that delay and fail: what is appended is read once,
//! in order, repetitions are recognised, gaps are counted. That it survives what befalls the disk is `log_recovery.rs`.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::stored::{
    event, ids_in_order as ids, numbered, open_on as open, read_all, sequences, unwaiting as small,
};
use headwater_collector::event_log::testing::{FaultyDisk, PowerlessDisk};
use headwater_collector::event_log::*;

use Appended::{Accepted, Duplicate};

#[tokio::test]
async fn what_is_appended_is_read_once_and_again_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let (log, recovered) =
            EventLog::open(dir.path(), Options::default(), Arc::new(FileSystem), system_clock())
                .unwrap();
        assert_eq!((recovered.cut, recovered.damaged), (None, Vec::new()));
        let expected = if life == 0 { [Accepted; 3] } else { [Duplicate; 3] };
        let answer = log.append(vec![event("1"), event("2"), event("3")]).await;
        assert_eq!(answer.unwrap(), expected);
        assert_eq!(ids(&log), ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        || EventLog::open(dir.path(), Options::default(), Arc::new(FileSystem), system_clock());
    let (log, _) = open().unwrap();
    let refused = open().unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
    // Somebody may take the lock for a leftover.
    std::fs::remove_file(dir.path().join("lock")).unwrap();
    let refused = open().unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
    log.close();
    assert_eq!(log.append(vec![event("1")]).await, Err(AppendError::Closed));
    open().unwrap();
}

#[tokio::test]
async fn every_field_survives() {
    let disk = PowerlessDisk::default();
    let sent = NewEvent {
        trust: Trust::Server,
        origin: Origin::Derived { by: "rule".into(), depth: 2 },
        event_time: Some(Timestamp::from_unix_ms(1)),
        claimed_time: Some(Timestamp::from_unix_ms(2)),
        schema_version: 3,
        flags: Flags { test: true, no_actions: true, ..Flags::default() },
        ..numbered("1", "q", 1)
    };
    open(&disk, small()).0.append(vec![sent.clone()]).await.unwrap();
    let (log, _) = open(&disk, small());
    let record = read_all(&log).remove(0);
    let NewEvent { trust, origin, event_time, claimed_time, sequence, flags, json, .. } = sent;
    assert_eq!((record.trust, record.origin, record.sequence), (trust, origin, sequence));
    assert_eq!((Some(record.event_time), record.claimed_time), (event_time, claimed_time));
    assert_eq!((record.schema_version, record.flags, &*record.json), (3, flags, &*json));
    assert_eq!(record.offset.to_string().parse(), Ok(record.offset));
}

#[tokio::test]
async fn append_waits_for_a_slow_sync() {
    let disk = FaultyDisk::over(Arc::new(PowerlessDisk::default()));
    let (log, _) = open(&disk, small());
    let delay = Duration::from_millis(200);
    disk.faults.delay_syncs(delay);
    let (begun, mut end) = (Instant::now(), log.end());
    let appended = log.append(vec![event("1")]);
    let seen = async {
        end.changed().await.unwrap();
        begun.elapsed()
    };
    let (answer, seen) = tokio::join!(appended, seen);
    assert_eq!(answer, Ok(vec![Accepted]));
    assert!(begun.elapsed() >= delay && seen >= delay, "acknowledged after {:?}", begun.elapsed());
}

#[tokio::test]
async fn repetitions_are_seen_within_a_batch_across_batches_and_across_restarts() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    let other_source = NewEvent { source: "app".parse().unwrap(), ..event("1") };
    let batch = vec![event("1"), event("1"), other_source.clone(), event("2")];
    assert_eq!(log.append(batch).await, Ok(vec![Accepted, Duplicate, Accepted, Accepted]));
    for n in 0..50 {
        log.append(vec![event(&format!("filler {n}"))]).await.unwrap();
    }
    let again = || vec![event("2"), event("3"), other_source.clone()];
    assert_eq!(log.append(again()).await, Ok(vec![Duplicate, Accepted, Duplicate]));
    drop(log);
    let (log, _) = open(&disk, small());
    assert_eq!(log.append(again()).await, Ok(vec![Duplicate; 3]));
}

#[tokio::test]
async fn numbers_are_remembered_when_ids_are_forgotten() {
    let disk = PowerlessDisk::default();
    let options = Options { remembered_ids: 10, ..small() };
    let (log, _) = open(&disk, options.clone());
    // It happened before everything that is remembered; see the next test for one that happened since.
    let old = || NewEvent { event_time: Some(Timestamp::from_unix_ms(0)), ..numbered("1", "q", 1) };
    log.append(vec![old(), event("unnumbered")]).await.unwrap();
    for n in 0..20 {
        log.append(vec![event(&format!("filler {n}"))]).await.unwrap();
    }
    let again = || vec![old(), event("unnumbered")];
    assert_eq!(log.append(again()).await, Ok(vec![Duplicate, Accepted]));
    drop(log);
    let (log, _) = open(&disk, options);
    assert_eq!(log.append(again()).await, Ok(vec![Duplicate; 2]));
    assert_eq!(log.stats().ids, 10);
    assert_eq!(log.stats().ids_from.to_string(), "14");
    assert_eq!(log.stats().conflicts.unknowable, 1);
}

/// A device that lost the last of its storage in a power cut gives numbers again that the log has seen.
#[tokio::test]
async fn another_event_with_a_number_that_was_seen_is_kept() {
    let options = Options { remembered_ids: 10, ..small() };
    let (log, _) = open(&PowerlessDisk::default(), options);
    log.append(vec![numbered("1", "q", 1), numbered("2", "q", 2)]).await.unwrap();
    let other = numbered("another", "q", 2);
    assert_eq!(log.append(vec![other.clone()]).await, Ok(vec![Accepted]));
    assert_eq!(log.append(vec![other]).await, Ok(vec![Duplicate]), "by its id");
    for n in 0..20 {
        log.append(vec![event(&format!("filler {n}"))]).await.unwrap();
    }
    let now = Timestamp::from_unix_ms(system_clock()().unix_ms() + 1);
    let recent = NewEvent { event_time: Some(now), ..numbered("recent", "q", 1) };
    assert_eq!(
        log.append(vec![recent]).await,
        Ok(vec![Accepted]),
        "it happened within the ids' reach"
    );
    let conflicts = log.stats().conflicts;
    assert_eq!((conflicts.other_id, conflicts.unknowable), (2, 0));
    assert_eq!(sequences(&log, "web"), (0, 0, 0), "its number opens and closes nothing");
}

#[tokio::test]
async fn repetitions_that_do_not_repeat_are_counted() {
    let (log, _) = open(&PowerlessDisk::default(), small());
    let with_body = |id: &str, body: &str| NewEvent {
        body_hash: body_hash([body.as_bytes()]),
        ..numbered(id, "q", 1)
    };
    let unknown_body = NewEvent { body_hash: 0, ..event("1") };
    let batch = vec![with_body("1", "a"), with_body("1", "a"), with_body("1", "b"), unknown_body];
    assert_eq!(log.append(batch).await, Ok(vec![Accepted, Duplicate, Duplicate, Duplicate]));
    assert_eq!(log.append(vec![with_body("1", "c")]).await, Ok(vec![Duplicate]));
    assert_eq!(log.append(vec![with_body("2", "a")]).await, Ok(vec![Accepted]));
    let conflicts = log.stats().conflicts;
    assert_eq!((conflicts.other_body, conflicts.other_id, conflicts.unknowable), (2, 1, 0));
}

#[tokio::test]
async fn gaps_are_counted_by_source_and_closed_by_arrivals_and_reports() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    let from_app = NewEvent { source: "app".parse().unwrap(), ..numbered("a", "q", 3) };
    log.append(vec![numbered("1", "q", 1), numbered("5", "q", 5), from_app]).await.unwrap();
    assert_eq!((sequences(&log, "web"), sequences(&log, "app")), ((1, 3, 0), (1, 2, 0)));
    // Sent while leaving the page without its number, and again with it: one event, no gap.
    log.append(vec![event("4")]).await.unwrap();
    assert_eq!(log.append(vec![numbered("4", "q", 4)]).await, Ok(vec![Duplicate]));
    assert_eq!(sequences(&log, "web"), (1, 2, 0));
    // A report counts even on an event that is a repetition.
    let report = NewEvent {
        dropped: vec![DroppedRange { first: 2, last: 2 }, DroppedRange { first: 0, last: 9 }],
        ..numbered("5", "q", 5)
    };
    assert_eq!(log.append(vec![report]).await, Ok(vec![Duplicate]));
    assert_eq!(sequences(&log, "web"), (1, 1, 1));
    let absurd = numbered("absurd", "q", u64::MAX);
    assert_eq!(log.append(vec![absurd.clone(), absurd]).await, Ok(vec![Accepted, Duplicate]));
    let before = log.stats();
    drop(log);
    let (log, _) = open(&disk, small());
    assert_eq!(log.stats().sequences, before.sequences);
    assert_eq!((log.stats().queues, log.stats().events), (before.queues, before.events));
    assert_eq!(log.append(vec![numbered("3", "q", 3)]).await, Ok(vec![Accepted]));
    assert_eq!(sequences(&log, "web"), (0, 0, 1));
    log.append(vec![numbered("3", "q", 3)]).await.unwrap();
    assert_eq!(sequences(&log, "web"), (0, 0, 1));
}

#[tokio::test]
async fn a_reader_never_sees_beyond_the_durable_end() {
    let disk = FaultyDisk::over(Arc::new(PowerlessDisk::default()));
    // No tail in memory to speak of: everything comes from the files.
    let (log, _) = open(&disk, Options { tail_bytes: 0, ..small() });
    let mut reader = log.reader(None);
    for n in 0..30 {
        disk.faults.fail_syncs(n % 3 == 2);
        let batch = vec![event(&format!("{n}")), event(&format!("{n} too"))];
        let stored = log.append(batch).await.is_ok();
        disk.faults.fail_syncs(false);
        let read = reader.next_chunk(10).unwrap();
        assert_eq!(read.len(), if stored { 2 } else { 0 }, "batch {n}");
        assert_eq!(reader.next_chunk(10).unwrap(), Vec::new());
    }
    reader.seek(Offset::START);
    assert_eq!(reader.next_chunk(1).unwrap(), read_all(&log)[..1]);
    let far = "1000000".parse().unwrap();
    assert_eq!(log.reader(Some(far)).next_chunk(10).unwrap(), Vec::new());
}

#[tokio::test]
async fn any_offset_can_be_resumed_from() {
    let (log, _) = open(&PowerlessDisk::default(), small());
    for n in 0..60 {
        let batch = (0..=n % 4).map(|m| event(&format!("{n}.{m}"))).collect::<Vec<_>>();
        log.append(batch).await.unwrap();
    }
    let all = read_all(&log);
    for (at, record) in all.iter().enumerate() {
        let next = log.reader(Some(record.offset)).next_chunk(1).unwrap();
        assert_eq!(next.first(), all.get(at + 1));
    }
}

#[tokio::test]
async fn received_at_never_decreases_even_across_restarts() {
    let (disk, now) = (PowerlessDisk::default(), Arc::new(AtomicI64::new(1000)));
    let mut seen = Vec::new();
    for (life, times) in [[1000, 900], [800, 2000], [100, 100]].into_iter().enumerate() {
        let clock: Clock = {
            let now = Arc::clone(&now);
            Arc::new(move || Timestamp::from_unix_ms(now.load(Ordering::SeqCst)))
        };
        let (log, _) =
            EventLog::open(Path::new("/log"), small(), Arc::new(disk.clone()), clock).unwrap();
        for time in times {
            now.store(time, Ordering::SeqCst);
            log.append(vec![event(&format!("{life} {time} {}", seen.len()))]).await.unwrap();
            seen = read_all(&log).iter().map(|record| record.received_at.unix_ms()).collect();
        }
    }
    assert_eq!(seen, [1000, 1000, 1000, 2000, 2000, 2000]);
}

#[tokio::test]
async fn a_full_inbox_refuses_and_what_was_taken_is_stored() {
    let disk = FaultyDisk::over(Arc::new(PowerlessDisk::default()));
    let (log, _) = open(&disk, Options { inbox_batches: 2, ..small() });
    let log = Arc::new(log);
    disk.faults.delay_syncs(Duration::from_millis(200));
    let appends: Vec<_> = (0..20)
        .map(|n| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.append(vec![event(&n.to_string())]).await })
        })
        .collect();
    let (mut stored, mut refused) = (0, 0);
    for append in appends {
        match append.await.unwrap() {
            Ok(answer) => stored += answer.len(),
            Err(AppendError::Overloaded { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stored >= 2 && refused > 0);
    assert_eq!(ids(&log).len(), stored);
}

#[tokio::test]
async fn concurrent_batches_share_a_sync_and_keep_their_order() {
    let disk = FaultyDisk::over(Arc::new(PowerlessDisk::default()));
    let (log, _) = open(&disk, Options::default());
    let log = Arc::new(log);
    disk.faults.delay_syncs(Duration::from_millis(20));
    let before = disk.faults.syncs();
    let appends: Vec<_> = (0..100)
        .map(|n| {
            let log = Arc::clone(&log);
            let batch = (0..3).map(|m| event(&format!("{n}.{m}"))).collect::<Vec<_>>();
            tokio::spawn(async move { log.append(batch).await })
        })
        .collect();
    for append in appends {
        assert_eq!(append.await.unwrap(), Ok(vec![Accepted; 3]));
    }
    assert!(disk.faults.syncs() - before <= 20, "a sync for each batch would be 100");
    let stored = ids(&log);
    for batch in stored.chunks(3) {
        let n = batch[0].split('.').next().unwrap();
        assert_eq!(batch, [0, 1, 2].map(|m| format!("{n}.{m}")));
    }
}
