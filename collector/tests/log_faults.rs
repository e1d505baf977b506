//! A disk that fails at any one change, or at several in a row, in the middle of everything the log does: nothing that was
//! acknowledged is lost or doubled, and the log goes on by itself.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::stored::{event, ids, numbered, small};
use headwater_collector::event_log::testing::{FaultyDisk, PowerlessDisk};
use headwater_collector::event_log::*;

const DIR: &str = "/log";
/// A client's patience; faults of a row end before it does.
const ATTEMPTS: usize = 12;

fn options() -> Options {
    Options { segment_bytes: 1500, disk_retry: Duration::ZERO, ..small() }
}

fn open(disk: &(impl Disk + Clone + 'static)) -> Result<(EventLog, Recovered), OpenError> {
    EventLog::open(Path::new(DIR), options(), Arc::new(disk.clone()), system_clock())
}

/// Until it works.
async fn insist<T, E: std::fmt::Debug>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    for _ in 0..ATTEMPTS {
        if let Ok(done) = attempt().await {
            return done;
        }
    }
    attempt().await.unwrap()
}

/// Events, repetitions that only settle numbers, drops, an erasure, upkeep with retention, a restart.
async fn life(disk: &(impl Disk + Clone + 'static)) -> EventLog {
    let mut log = insist(async || open(disk)).await.0;
    for n in 1..=24_u64 {
        let id = n.to_string();
        insist(async || log.append(vec![event(&id)]).await).await;
        // The number comes after its event, as from a page that two tabs had: only a mark is stored.
        insist(async || log.append(vec![numbered(&id, "q", 2 * n)]).await).await;
        let dropped = vec![DroppedRange { first: 2 * n - 1, last: 2 * n - 1 }];
        let report = NewEvent { dropped, ..numbered(&id, "q", 2 * n) };
        insist(async || log.append(vec![report.clone()]).await).await;
        match n {
            8 => drop(insist(async || log.erase(&["3".parse().unwrap()]).await).await),
            12 => {
                drop(log);
                log = insist(async || open(disk)).await.0;
            }
            20 => {
                let most = Retention { max_bytes: Some(4000), ..Retention::default() };
                insist(async || log.upkeep(most, "9".parse().unwrap()).await).await;
            }
            _ => {}
        }
    }
    log
}

/// What the life above leaves, however often the disk failed.
fn check(log: &EventLog, why: &str) {
    let found: Vec<u64> = ids(log).iter().map(|id| id.parse().unwrap()).collect();
    let first = found[0];
    assert!((4..=10).contains(&first), "{why}: {found:?}");
    assert_eq!(found, (first..=24).collect::<Vec<_>>(), "{why}");
    let counts = log.stats().sequences[&"web".parse().unwrap()];
    assert_eq!(
        (counts.open_gaps, counts.missing, counts.dropped, counts.untracked),
        (0, 0, 24, 0),
        "{why}"
    );
}

#[tokio::test]
async fn a_disk_that_fails_at_any_change_loses_nothing() {
    let undisturbed = FaultyDisk::over(Arc::new(PowerlessDisk::default()));
    check(&life(&undisturbed).await, "undisturbed");
    let changes = undisturbed.faults.changes();
    assert!(changes > 200, "{changes}");
    let mut hit = 0;
    for count in [1, 4] {
        for n in 0..changes {
            let why = format!("{count} changes fail from the {n}th on");
            let beneath = PowerlessDisk::default();
            let disk = FaultyDisk::over(Arc::new(beneath.clone()));
            disk.faults.fail_changes(n, count);
            let log = life(&disk).await;
            hit += log.stats().failures;
            check(&log, &why);
            // The power goes: what was answered is on the disk.
            let (log, recovered) = open(&beneath.cut_power(n)).unwrap();
            assert_eq!(recovered.damaged, [], "{why}");
            check(&log, &format!("{why}, then the power went"));
        }
    }
    assert!(hit > changes, "faults were noticed: {hit}");
}

#[tokio::test]
async fn a_log_of_a_later_release_is_left_as_it_is() {
    let disk = PowerlessDisk::default();
    drop(open(&disk).unwrap().0.append(vec![event("1")]).await);
    let names = disk.list(Path::new(DIR)).unwrap();
    let path = Path::new(DIR).join(names.iter().find(|name| name.ends_with(".log")).unwrap());
    let written = disk.bytes(&path).unwrap();
    // Of the segment, and of a chunk that a later release appended to it.
    for header in [0, 64] {
        let mut bytes = written.clone();
        bytes[header + 4] = 9;
        let crc = crc32c::crc32c(&bytes[header..header + 60]).to_le_bytes();
        bytes[header + 60..header + 64].copy_from_slice(&crc);
        disk.set_bytes(&path, &bytes);
        let error = open(&disk).map(drop).unwrap_err().to_string();
        assert!(error.contains("format version 9") && error.contains("up to 1"), "{error}");
        assert_eq!(disk.list(Path::new(DIR)).unwrap(), names);
        assert_eq!(disk.bytes(&path).unwrap(), bytes);
        let looked = Snapshot::take(Arc::new(disk.clone()), Path::new(DIR), Check::Headers);
        assert!(looked.map(drop).unwrap_err().to_string().contains("format version 9"));
    }
}
