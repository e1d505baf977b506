//! Erasing records: gone from every file, offsets and deduplication as before, whenever the power goes.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::stored::{self, event, numbered, small};
use headwater_collector::event_log::testing::{FaultyDisk, PowerlessDisk, Random};
use headwater_collector::event_log::*;

const DIR: &str = "/log";

fn open(disk: &(impl Disk + Clone + 'static), options: Options) -> (EventLog, Recovered) {
    EventLog::open(Path::new(DIR), options, Arc::new(disk.clone()), system_clock()).unwrap()
}

/// Ids that tell where they are found.
fn secret(n: u64) -> String {
    format!("secret-{n}-{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

async fn filled(disk: &PowerlessDisk, n: u64) -> EventLog {
    let (log, _) = open(disk, small());
    let mut at = 1;
    while at <= n {
        let size = 1 + at % 2;
        // Too short to be compressed, so that a test can look for it in the files.
        let short = |n| NewEvent { json: "{}".into(), ..numbered(&secret(n), "q", n) };
        let batch = (at..at + size).map(short).collect::<Vec<_>>();
        log.append(batch).await.unwrap();
        at += size;
    }
    log
}

fn read(log: &EventLog) -> Vec<Record> {
    let (mut reader, mut records) = (log.reader(None), Vec::new());
    loop {
        match reader.next_chunk(5).unwrap() {
            more if more.is_empty() => break,
            more => records.extend(more),
        }
    }
    assert_eq!(reader.position(), *log.end().borrow());
    records
}

fn offsets(numbers: impl IntoIterator<Item = u64>) -> Vec<Offset> {
    numbers.into_iter().map(|n| n.to_string().parse().unwrap()).collect()
}

/// Each event's id says its offset.
fn present(log: &EventLog) -> BTreeSet<u64> {
    let number = |record: Record| {
        let n = record.offset.since(Offset::START);
        assert_eq!(*record.message_id, *secret(n), "offsets stay");
        n
    };
    read(log).into_iter().map(number).collect()
}

/// Every byte of every file.
fn text_of(disk: &PowerlessDisk) -> String {
    let mut text = String::new();
    for name in disk.list(Path::new(DIR)).unwrap() {
        let bytes = disk.bytes(&Path::new(DIR).join(name)).unwrap();
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    text
}

#[tokio::test]
async fn erased_records_are_gone_and_everything_else_is_as_before() {
    let disk = PowerlessDisk::default();
    let log = filled(&disk, 120).await;
    let (end, before) = (*log.end().borrow(), log.stats());
    let last = end.since(Offset::START);
    let gone: BTreeSet<u64> = [1, 2, 3, 40, 41, 77, last].into();
    assert!(text_of(&disk).contains(&secret(40)), "this test can see what is stored");
    let mut reading = log.reader(None);
    assert_eq!(reading.next_chunk(1).unwrap().len(), 1, "a reader that has files open");

    let beyond = offsets(gone.iter().copied().chain([0, last + 1, 1_000_000]));
    let erased = log.erase(&beyond).await.unwrap();
    assert_eq!((erased.records, erased.segments > 2), (7, true), "{erased:?}");
    assert_eq!(log.erase(&beyond).await.unwrap(), Erased::default(), "once is enough");
    let expected: BTreeSet<u64> = (1..=last).filter(|n| !gone.contains(n)).collect();
    assert_eq!(present(&log), expected);
    while !reading.next_chunk(7).unwrap().is_empty() {}
    for n in &gone {
        assert!(!text_of(&disk).contains(&secret(*n)), "{n}");
        let again = log.append(vec![event(&secret(*n))]).await;
        assert_eq!(again, Ok(vec![Appended::Duplicate]), "{n} is still recognised");
    }
    drop(log);
    let (log, recovered) = open(&disk, small());
    assert_eq!((recovered.damaged, recovered.events, recovered.end), (Vec::new(), last, end));
    assert_eq!(present(&log), expected);
    assert_eq!(log.stats().sequences, before.sequences);
    let again = log.append(vec![event(&secret(40)), numbered("x", "q", last + 1)]).await;
    assert_eq!(again, Ok(vec![Appended::Duplicate, Appended::Accepted]));
    assert_eq!(log.stats().sequences.values().map(|it| it.open_gaps).sum::<u64>(), 0);
}

#[tokio::test]
async fn whenever_the_power_goes_a_record_is_there_or_erased_and_the_others_are_there() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let disk = PowerlessDisk::default();
        let log = filled(&disk, 60).await;
        let last = log.end().borrow().since(Offset::START);
        let gone: BTreeSet<u64> =
            (0..1 + random.below(5)).map(|_| 1 + random.below(last)).collect();
        disk.cut_power_at(random.below(100), random.below(u64::MAX));
        log.erase(&offsets(gone.iter().copied())).await.unwrap();
        let finished = disk.after_cut().is_none();
        drop(log);
        let found = disk.after_cut().unwrap_or_else(|| disk.cut_power(seed));
        for n in gone.iter().filter(|_| finished) {
            assert!(!text_of(&found).contains(&secret(*n)), "seed {seed}: a file with {n} is back");
        }
        for life in 0..2 {
            let (log, recovered) = open(&found, small());
            let why = format!("seed {seed}, life {life}, erasing {gone:?}, finished {finished}");
            assert_eq!((recovered.damaged, recovered.events), (Vec::new(), last), "{why}");
            let present = present(&log);
            for n in 1..=last {
                let may_be_gone = gone.contains(&n);
                assert!(present.contains(&n) || may_be_gone, "{why}: {n} is lost");
                assert!(!(present.contains(&n) && may_be_gone && finished), "{why}: {n} is back");
            }
            let names = found.list(Path::new(DIR)).unwrap();
            assert!(!names.iter().any(|name| name.ends_with(".part")), "{why}: {names:?}");
            // Asked for again, it is done, and nothing of it is in any file.
            log.erase(&offsets(gone.iter().copied())).await.unwrap();
            for n in &gone {
                assert!(!text_of(&found).contains(&secret(*n)), "{why}: {n}");
            }
            let again = log
                .append((1..=last).map(|n| event(&secret(n))).collect::<Vec<_>>())
                .await
                .unwrap();
            assert!(again.iter().all(|answer| *answer == Appended::Duplicate), "{why}");
        }
    }
}

#[tokio::test]
async fn a_disk_that_fails_leaves_the_log_as_it_was_and_the_next_attempt_succeeds() {
    for fault in ["sync", "write", "torn write", "create"] {
        let beneath = PowerlessDisk::default();
        drop(filled(&beneath, 60).await);
        let disk = FaultyDisk::over(Arc::new(beneath.clone()));
        let (log, _) = open(&disk, small());
        let last = log.end().borrow().since(Offset::START);
        let set = |on| match fault {
            "sync" => disk.faults.fail_syncs(on),
            "write" => disk.faults.fail_writes(on),
            "torn write" => disk.faults.tear_writes(on),
            _ => disk.faults.fail_creates(on),
        };
        // Sealed before, so that the fault meets the erasure itself.
        log.erase(&offsets([last])).await.unwrap();
        set(true);
        let failed = log.erase(&offsets([7, 30])).await;
        set(false);
        assert!(matches!(failed, Err(AppendError::Failed { .. })), "{fault}: {failed:?}");
        assert_eq!(present(&log).len() as u64, last - 1, "{fault}");
        assert_eq!(log.erase(&offsets([7, 30])).await.unwrap().records, 2, "{fault}");
        assert_eq!(present(&log).len() as u64, last - 3, "{fault}");
        let stored = log.append(vec![event("new")]).await;
        assert_eq!(stored, Ok(vec![Appended::Accepted]), "{fault}");
        drop(log);
        assert_eq!(open(&beneath, small()).1.damaged, Vec::new(), "{fault}");
    }
}

/// Files change their names under readers and beside the writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_the_writer_go_on_while_records_are_erased() {
    let data = tempfile::tempdir().unwrap();
    stored::fill(data.path(), 200).await;
    let log = Arc::new(stored::open(data.path()));
    let erasing = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for n in 1..=100 {
                log.erase(&offsets([n * 2])).await.unwrap();
            }
        })
    };
    let mut rounds = 0;
    while !erasing.is_finished() || rounds == 0 {
        log.append(vec![event(&format!("new {rounds}"))]).await.unwrap();
        let records = read(&log);
        assert!(records.len() > 100 + rounds, "{}", records.len());
        rounds += 1;
    }
    erasing.await.unwrap();
    assert_eq!(read(&log).len(), 100 + rounds);
}
