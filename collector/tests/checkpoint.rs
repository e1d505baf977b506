//! Starting from a checkpoint: the same as reading everything, whenever the power goes, and without reading everything.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::stored::{event, ids, numbered, small};
use headwater_collector::event_log::testing::{FaultyDisk, PowerlessDisk, Random};
use headwater_collector::event_log::*;

const DIR: &str = "/log";

fn open(disk: &(impl Disk + Clone + 'static), options: Options) -> (EventLog, Recovered) {
    EventLog::open(Path::new(DIR), options, Arc::new(disk.clone()), system_clock()).unwrap()
}

fn files(disk: &PowerlessDisk, extension: &str) -> Vec<PathBuf> {
    let names = disk.list(Path::new(DIR)).unwrap();
    let mut paths: Vec<_> = names.iter().map(|name| Path::new(DIR).join(name)).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == extension));
    paths.sort();
    paths
}

/// The same disk, all of it durable, without checkpoints.
fn without_checkpoints(disk: &PowerlessDisk) -> PowerlessDisk {
    let bare = PowerlessDisk::default();
    for path in files(disk, "log") {
        bare.set_bytes(&path, &disk.bytes(&path).unwrap());
    }
    bare
}

#[tokio::test]
async fn after_any_power_cut_a_checkpoint_says_what_the_log_says() {
    let mut used = 0;
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut disk = PowerlessDisk::default();
        let mut made = 0;
        for life in 0..5 {
            let why = format!("seed {seed}, life {life}");
            let options = Options {
                segment_bytes: 700 + random.below(1500),
                remembered_ids: [3, 40, 100_000][usize::try_from(seed % 3).unwrap()],
                ..small()
            };
            used += files(&disk, "fold").len();
            let bare = without_checkpoints(&disk);
            disk.cut_power_at(random.below(90), random.below(u64::MAX));
            let (log, recovered) = open(&disk, options.clone());
            {
                let (all, expected) = open(&bare, options);
                assert_eq!(recovered, expected, "{why}");
                let (found, expected) = (log.stats(), all.stats());
                assert_eq!(found.sequences, expected.sequences, "{why}");
                assert_eq!(
                    (found.queues, found.events, found.ids, found.ids_from, found.segments),
                    (
                        expected.queues,
                        expected.events,
                        expected.ids,
                        expected.ids_from,
                        expected.segments
                    ),
                    "{why}"
                );
                assert_eq!(ids(&log), ids(&all), "{why}");
                let last = ids(&log).last().cloned();
                if let Some(id) = last {
                    let again = log.append(vec![event(&id)]).await;
                    assert_eq!(again, Ok(vec![Appended::Duplicate]), "{why}");
                }
            }
            while disk.after_cut().is_none() {
                let batch = (0..1 + random.below(4)).map(|_| {
                    made += 1;
                    let queue = format!("q{}", random.below(4));
                    // Some numbers never come, some are reported, some come twice.
                    let seq = 1 + random.below(4 + made);
                    let first = 1 + random.below(seq);
                    let dropped = match random.below(4) {
                        0 => vec![DroppedRange { first, last: first + random.below(3) }],
                        _ => Vec::new(),
                    };
                    NewEvent { dropped, ..numbered(&made.to_string(), &queue, seq) }
                });
                let batch: Vec<_> = batch.collect();
                log.append(batch).await.unwrap();
                if random.below(8) == 0 {
                    log.upkeep(Retention::default(), Offset::START).await.unwrap();
                }
            }
            disk = disk.after_cut().unwrap();
        }
    }
    assert!(used > 300, "checkpoints were there to be used: {used}");
}

#[tokio::test]
async fn what_a_checkpoint_covers_is_not_read_at_a_start() {
    let disk = PowerlessDisk::default();
    let options = || Options { remembered_ids: 10, ..small() };
    let (log, _) = open(&disk, options());
    for n in 1..=200 {
        log.append(vec![numbered(&n.to_string(), "q", n)]).await.unwrap();
    }
    drop(log);
    assert!(files(&disk, "log").len() > 5);
    let (log, before) = open(&disk, options());
    let stats = log.stats();
    drop(log);
    // A start that looked at these would stumble over them.
    for covered in &files(&disk, "log")[..4] {
        let mut bytes = disk.bytes(covered).unwrap();
        bytes[64..].fill(0xff);
        disk.set_bytes(covered, &bytes);
    }
    let (log, recovered) = open(&disk, options());
    assert_eq!(recovered, before);
    assert_eq!((log.stats().sequences, log.stats().queues), (stats.sequences, stats.queues));
    // Its reader and its number are as they were.
    let damaged = log.reader(None).next_chunk(1).unwrap_err();
    assert!(matches!(damaged, ReadError::Damaged { .. }), "{damaged}");
    let after = "190".parse().unwrap();
    assert_eq!(&*log.reader(Some(after)).next_chunk(1).unwrap()[0].message_id, "191");
    let by_number = NewEvent { event_time: Some(Timestamp::MIN), ..numbered("5", "q", 5) };
    assert_eq!(log.append(vec![by_number]).await, Ok(vec![Appended::Duplicate]));
}

#[tokio::test]
async fn damage_is_said_at_every_start_and_a_disk_that_takes_no_checkpoint_can_be_opened() {
    let disk = PowerlessDisk::default();
    let (log, _) = open(&disk, small());
    for n in 0..100 {
        log.append(vec![event(&n.to_string())]).await.unwrap();
    }
    drop(log);
    let faulty = FaultyDisk::over(Arc::new(disk.clone()));
    faulty.faults.fail_creates(true);
    assert_eq!(open(&faulty, small()).1.events, 100);
    assert!(files(&disk, "fold").is_empty());

    let sealed = &files(&disk, "log")[1];
    let mut bytes = disk.bytes(sealed).unwrap();
    bytes[64 + 3] ^= 1;
    disk.set_bytes(sealed, &bytes);
    for _ in 0..3 {
        let forgetful = Options { remembered_ids: 10, ..small() };
        assert_eq!(open(&disk, forgetful).1.damaged.len(), 1);
    }
}
