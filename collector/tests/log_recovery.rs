//! The event log after what can befall a disk: a sync that fails, the power going, a torn tail, flipped bits. Nothing that was
//! acknowledged is lost or doubled, and what is damaged is reported with its place.
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::stored::{
    event, ids_in_order as ids, numbered, open_on as open, read_all, sequences, unwaiting as small,
};
use headwater_collector::event_log::testing::{FaultyDisk, PowerlessDisk, Random};
use headwater_collector::event_log::*;

use Appended::{Accepted, Duplicate};

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
    // A start that fails, here for want of room, must not take what tells damage from a torn commit.
    let full = FaultyDisk::over(Arc::new(disk.clone()));
    full.faults.fail_creates(true);
    EventLog::open(Path::new("/log"), small(), Arc::new(full), system_clock()).unwrap_err();
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
async fn a_log_that_was_closed_and_has_no_segment_left_is_not_an_empty_one() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    log.append(vec![event("1"), event("2"), event("3")]).await.unwrap();
    drop(log);
    let (path, bytes) = only_segment(&disk);
    let note = disk.bytes(Path::new("/log/closed")).unwrap();
    for left in [None, Some(0), Some(63)] {
        let disk = PowerlessDisk::default();
        disk.set_bytes(Path::new("/log/closed"), &note);
        if let Some(left) = left {
            disk.set_bytes(&path, &bytes[..left]);
        }
        for _ in 0..2 {
            let (log, recovered) = open(&disk, small());
            let lost = [1, 3].map(|n| n.to_string().parse::<Offset>().unwrap());
            assert_eq!(recovered.damaged[0].offsets, (lost[0], lost[1]), "{left:?}");
            assert_eq!(recovered.events, 0);
            drop(log);
        }
        let (log, _) = open(&disk, small());
        log.append(vec![event("4")]).await.unwrap();
        assert_eq!(log.end().borrow().to_string(), "4", "no offset is given again");
    }
}

#[tokio::test]
async fn a_file_that_was_never_completed_does_not_take_the_place_of_one_with_events() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    log.append(vec![event("1"), event("2")]).await.unwrap();
    drop(log);
    let (path, _) = only_segment(&disk);
    let later = path.to_str().unwrap().replace("-00000001.log", "-00000009.log");
    assert_ne!(Path::new(&later), path);
    disk.set_bytes(Path::new(&later), &[]);
    let (log, recovered) = open(&disk, small());
    assert_eq!((recovered.events, recovered.damaged), (2, vec![]));
    assert_eq!(read_all(&log).len(), 2);
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
