//! The event log through its public face, on a real folder and on a disk that fails, delays and loses power on command.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use headwater_collector::event_log::testing::{FaultyDisk, PowerlessDisk, Random};
use headwater_collector::event_log::*;

fn event(id: &str) -> NewEvent<'static> {
    NewEvent {
        message_id: id.to_owned().into(),
        source: "web".parse().unwrap(),
        trust: Trust::Client,
        origin: Origin::Sent,
        order_key: "anon".into(),
        sequence: None,
        dropped: Vec::new(),
        event_time: None,
        claimed_time: None,
        schema_version: 0,
        flags: Flags::default(),
        body_hash: 0,
        json: format!(r#"{{"type":"track","event":"Clicked","messageId":"{id}"}}"#).into(),
    }
}

fn numbered(id: &str, queue: &str, seq: u64) -> NewEvent<'static> {
    NewEvent { sequence: Some(Sequence { queue: queue.to_owned().into(), seq }), ..event(id) }
}

fn small() -> Options {
    Options {
        segment_bytes: 4096,
        zero_ahead_bytes: 1024,
        tail_bytes: 2048,
        disk_retry: Duration::ZERO,
        ..Options::default()
    }
}

fn open(disk: &(impl Disk + Clone + 'static), options: Options) -> (EventLog, Recovered) {
    EventLog::open(Path::new("/log"), options, Arc::new(disk.clone()), system_clock()).unwrap()
}

/// Everything that can be read, with its order and its times checked.
fn read_all(log: &EventLog) -> Vec<Record> {
    let mut reader = log.reader(None);
    let mut records: Vec<Record> = Vec::new();
    loop {
        let chunk = reader.next_chunk(7).unwrap();
        if chunk.is_empty() {
            break;
        }
        records.extend(chunk);
    }
    for (at, record) in (1u64..).zip(&records) {
        assert_eq!(record.offset.since(Offset::START), at, "offsets are continuous");
    }
    assert!(records.is_sorted_by_key(|record| record.received_at));
    assert_eq!(reader.position(), *log.end().borrow());
    records
}

fn ids(log: &EventLog) -> Vec<String> {
    read_all(log).iter().map(|record| record.message_id.to_string()).collect()
}

fn sequences(log: &EventLog, source: &str) -> (u64, u64, u64) {
    let counts = log.stats().sequences[&source.parse().unwrap()];
    (counts.open_gaps, counts.missing, counts.dropped)
}

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
        flags: Flags { test: true, no_actions: true, erased: false },
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
async fn a_failed_sync_leaves_nothing_and_the_retry_is_taken_once() {
    for fault in ["sync", "write", "torn write", "sync and create"] {
        let beneath = PowerlessDisk::default();
        let disk = FaultyDisk::over(Arc::new(beneath.clone()));
        let set = |on| match fault {
            "sync" => disk.faults.fail_syncs(on),
            "write" => disk.faults.fail_writes(on),
            "torn write" => disk.faults.tear_writes(on),
            _ => {
                disk.faults.fail_syncs(on);
                disk.faults.fail_creates(on);
            }
        };
        let (log, _) = open(&disk, small());
        log.append(vec![numbered("1", "q", 1)]).await.unwrap();
        set(true);
        for _ in 0..3 {
            let failed = log.append(vec![numbered("2", "q", 2), numbered("1", "q", 1)]).await;
            assert!(matches!(failed, Err(AppendError::Failed { .. })), "{fault}: {failed:?}");
            assert_eq!(ids(&log), ["1"], "{fault}");
            assert!(!log.is_healthy());
        }
        // What is stored already needs no disk.
        assert_eq!(log.append(vec![event("1")]).await, Ok(vec![Duplicate]), "{fault}");
        set(false);
        assert_eq!(log.append(vec![event("3")]).await, Ok(vec![Accepted]), "{fault}");
        assert!(log.is_healthy());
        let retry = log.append(vec![numbered("2", "q", 2)]).await;
        assert_eq!(retry, Ok(vec![Accepted]), "{fault}: not remembered from the failed attempt");
        assert_eq!(ids(&log), ["1", "3", "2"], "{fault}");
        drop(log);
        let (log, recovered) = open(&disk, small());
        assert_eq!((recovered.cut, recovered.damaged), (None, Vec::new()), "{fault}");
        assert_eq!(ids(&log), ["1", "3", "2"], "{fault}: what failed lies dead in the old segment");
        assert_eq!(sequences(&log, "web"), (0, 0, 0));
        let (after_cut, _) = open(&beneath.cut_power(1), small());
        assert_eq!(ids(&after_cut), ["1", "3", "2"], "{fault}");
    }
}

#[tokio::test]
async fn the_log_recovers_by_itself_without_traffic() {
    let disk = FaultyDisk::over(Arc::new(PowerlessDisk::default()));
    let (log, _) = open(&disk, Options { disk_retry: Duration::from_millis(5), ..small() });
    disk.faults.fail_syncs(true);
    log.append(vec![event("1")]).await.unwrap_err();
    assert!(!log.is_healthy());
    disk.faults.fail_syncs(false);
    tokio::time::timeout(Duration::from_secs(10), async {
        while !log.is_healthy() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_sync_that_failed_in_a_former_life_is_not_trusted() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    // Fills sectors, so that no later write touches those of the second by chance.
    let json: String = (0..400).map(|n| format!("{} ", n * n * 7919 % 10_007)).collect();
    log.append(vec![NewEvent { json: json.into(), ..event("1") }]).await.unwrap();
    disk.fail_syncs(true);
    log.append(vec![event("2")]).await.unwrap_err();
    drop(log);
    disk.fail_syncs(false);
    // The page cache still shows the event, so it is stored now; then it must be on the disk as well.
    let (log, _) = open(&disk, small());
    let answer = log.append(vec![event("2")]).await.unwrap();
    for seed in 0..20 {
        let (log, recovered) = open(&disk.cut_power(seed), small());
        assert_eq!(recovered.damaged, Vec::new(), "seed {seed}");
        assert_eq!(ids(&log), ["1", "2"], "seed {seed}, {answer:?}");
    }
}

#[tokio::test]
async fn power_cuts_lose_nothing_acknowledged_and_store_nothing_twice() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let mut disk = PowerlessDisk::default();
        let mut acknowledged: Vec<String> = Vec::new();
        let mut made = 0;
        for life in 0..4 {
            let why = format!("seed {seed}, life {life}");
            disk.cut_power_at(random.below(60), random.below(u64::MAX));
            let options = Options {
                segment_bytes: 1024 + random.below(4096),
                zero_ahead_bytes: random.below(3) * 700,
                remembered_ids: 100_000,
                ..small()
            };
            let (log, recovered) = open(&disk, options);
            assert_eq!(recovered.damaged, Vec::new(), "{why}");
            let stored = ids(&log);
            for id in &acknowledged {
                assert_eq!(stored.iter().filter(|s| *s == id).count(), 1, "{why}: {id}");
            }
            let mut distinct = stored.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), stored.len(), "{why}: stored twice");
            for id in acknowledged.iter().rev().take(5) {
                assert_eq!(log.append(vec![event(id)]).await, Ok(vec![Duplicate]), "{why}: {id}");
            }
            // Operations of opening can be cut as well.
            while disk.after_cut().is_none() {
                let first = made;
                made += 1 + random.below(6);
                let batch: Vec<String> = (first..made).map(|n| n.to_string()).collect();
                let fail = random.below(8) == 0;
                disk.fail_syncs(fail);
                let answer = log.append(batch.iter().map(|id| event(id)).collect::<Vec<_>>()).await;
                disk.fail_syncs(false);
                assert_eq!(answer.is_err(), fail, "{why}: {answer:?}");
                if random.below(3) == 0 && disk.after_cut().is_none() {
                    let again =
                        log.append(batch.iter().map(|id| event(id)).collect::<Vec<_>>()).await;
                    assert!(fail || again.unwrap().iter().all(|a| *a == Duplicate), "{why}");
                    if disk.after_cut().is_none() {
                        acknowledged.extend(batch);
                    }
                } else if answer.is_ok() && disk.after_cut().is_none() {
                    acknowledged.extend(batch);
                }
            }
            disk = disk.after_cut().unwrap();
        }
    }
}

/// The only segment file of a log, and its bytes.
fn only_segment(disk: &PowerlessDisk) -> (std::path::PathBuf, Vec<u8>) {
    let mut names = disk.list(Path::new("/log")).unwrap();
    names.retain(|name| name.ends_with(".log"));
    assert_eq!(names.len(), 1, "{names:?}");
    let path = Path::new("/log").join(&names[0]);
    let bytes = disk.bytes(&path).unwrap();
    (path, bytes)
}

/// As if the log had not been closed.
fn crashed(disk: &PowerlessDisk) {
    drop(disk.remove(Path::new("/log/closed")));
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_and_the_rest_is_there() {
    for zeros in [0, 100] {
        let disk = PowerlessDisk::default();
        let options = || Options { zero_ahead_bytes: zeros as u64, ..small() };
        let (log, _) = open(&disk, options());
        log.append(vec![event("1"), event("2")]).await.unwrap();
        let whole = usize::try_from(log.stats().bytes).unwrap();
        log.append(vec![event("3"), event("4")]).await.unwrap();
        drop(log);
        let (path, bytes) = only_segment(&disk);
        for torn_at in whole..bytes.len() {
            let mut torn = bytes[..torn_at].to_vec();
            torn.resize(torn_at + zeros, 0);
            crashed(&disk);
            disk.set_bytes(&path, &torn);
            let (log, recovered) = open(&disk, options());
            assert_eq!(recovered.damaged, Vec::new(), "torn at {torn_at}");
            let cut = recovered.cut.map(|cut| (cut.position, cut.bytes));
            let expected = (whole as u64, (torn.len() - whole) as u64);
            assert_eq!(cut, (torn_at > whole).then_some(expected), "torn at {torn_at}");
            assert_eq!(ids(&log), ["1", "2"], "torn at {torn_at}");
            let again = log.append(vec![event("4"), event("2")]).await;
            assert_eq!(again, Ok(vec![Accepted, Duplicate]), "torn at {torn_at}");
            assert_eq!(ids(&log), ["1", "2", "4"]);
            drop(log);
            let (log, recovered) = open(&disk, options());
            assert_eq!((recovered.cut, recovered.damaged), (None, Vec::new()), "cut once");
            assert_eq!(ids(&log), ["1", "2", "4"]);
        }
    }
}

#[tokio::test]
async fn any_flipped_bit_of_a_stored_chunk_is_reported_and_the_others_are_read() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    log.append(vec![event("1")]).await.unwrap();
    let from = usize::try_from(log.stats().bytes).unwrap();
    log.append(vec![event("2"), event("3")]).await.unwrap();
    let to = usize::try_from(log.stats().bytes).unwrap();
    log.append(vec![event("4")]).await.unwrap();
    drop(log);
    let (path, bytes) = only_segment(&disk);
    for at in from..to {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        crashed(&disk);
        disk.set_bytes(&path, &flipped);
        let (log, recovered) = open(&disk, small());
        assert_eq!(recovered.damaged.len(), 1, "byte {at}");
        let damage = &recovered.damaged[0];
        assert_eq!(damage.position, from as u64, "byte {at}");
        let lost = (damage.offsets.0.to_string(), damage.offsets.1.to_string());
        assert_eq!(lost, ("2".into(), "3".into()), "byte {at}");
        assert_eq!((recovered.cut, recovered.events), (None, 2), "byte {at}");
        let mut reader = log.reader(None);
        assert_eq!(reader.next_chunk(9).unwrap().len(), 1, "byte {at}");
        let error = reader.next_chunk(9).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { .. }), "byte {at}: {error}");
        let rest = reader.next_chunk(9).unwrap();
        assert_eq!(&*rest[0].message_id, "4", "byte {at}");
        let again = log.append(vec![event("1"), event("3"), event("4")]).await;
        assert_eq!(again, Ok(vec![Duplicate, Accepted, Duplicate]), "byte {at}");
    }
}

#[tokio::test]
async fn damage_at_the_end_of_a_log_that_was_closed_is_not_taken_for_a_torn_commit() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    for n in 0..3 {
        log.append(vec![event(&n.to_string())]).await.unwrap();
    }
    let (path, running) = only_segment(&disk);
    drop(log);
    let mut bytes = disk.bytes(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    disk.set_bytes(&path, &bytes);
    let (log, recovered) = open(&disk, small());
    assert_eq!((recovered.events, recovered.cut), (2, None));
    let lost: Offset = "3".parse().unwrap();
    assert_eq!(recovered.damaged[0].offsets, (lost, lost));
    assert_eq!(disk.bytes(&path).unwrap(), bytes, "left as it is");
    log.append(vec![event("4")]).await.unwrap();
    assert_eq!(log.end().borrow().to_string(), "4", "its offset is not given again");
    let mut reader = log.reader("2".parse().ok());
    assert!(matches!(reader.next_chunk(1), Err(ReadError::Damaged { last, .. }) if last == lost));
    // Of one that was not closed nobody can say it: what is torn there was never acknowledged.
    let crashed = PowerlessDisk::default();
    let mut torn = running;
    torn[last] ^= 1;
    crashed.set_bytes(&path, &torn);
    let (_, recovered) = open(&crashed, small());
    assert!(recovered.cut.is_some() && recovered.damaged.is_empty());
}

#[tokio::test]
async fn damage_in_a_sealed_segment_is_reported_when_it_is_read() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    for n in 0..100 {
        log.append(vec![event(&n.to_string())]).await.unwrap();
    }
    assert!(log.stats().segments > 3);
    drop(log);
    let mut names = disk.list(Path::new("/log")).unwrap();
    names.sort();
    let path = Path::new("/log").join(&names[1]);
    let bytes = disk.bytes(&path).unwrap();
    for at in (0..bytes.len()).step_by(3) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x40;
        disk.set_bytes(&path, &flipped);
        let (log, _) = open(&disk, small());
        let (mut reader, mut read, mut lost) = (log.reader(None), 0, 0);
        while reader.position() < *log.end().borrow() {
            match reader.next_chunk(100) {
                Ok(records) => read += records.len() as u64,
                Err(ReadError::Damaged { segment, first, last }) => {
                    assert_eq!(segment, names[1]);
                    lost += last.since(first) + 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(read + lost, 100, "byte {at}");
        assert!(lost <= 1 && (lost == 1 || at < 64), "byte {at}: {lost} lost");
    }
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
    let batch = vec![with_body("1", "a"), with_body("1", "a"), with_body("1", "b"), event("1")];
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
