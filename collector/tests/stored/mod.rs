//! A data folder with events in it, made through the log's public face, for tests of the tools that work on folders.
//! Promises small segments, so that a hundred events make several. Knows nothing of what is done to the folder.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use headwater_collector::event_log::*;

pub(crate) fn event(id: &str) -> NewEvent<'static> {
    let json =
        format!(r#"{{"type":"track","event":"Clicked","messageId":"{id}","anonymousId":"anon"}}"#);
    NewEvent {
        body_hash: body_hash([id.as_bytes()]),
        ..NewEvent::new("web".parse().unwrap(), id.to_owned(), "anon", json)
    }
}

pub(crate) fn numbered(id: &str, queue: &str, seq: u64) -> NewEvent<'static> {
    NewEvent { sequence: Some(Sequence { queue: queue.to_owned().into(), seq }), ..event(id) }
}

pub(crate) fn small() -> Options {
    Options { segment_bytes: 4096, zero_ahead_bytes: 1024, tail_bytes: 2048, ..Options::default() }
}

/// The log of a data folder.
pub(crate) fn open(data: &Path) -> EventLog {
    let dir = data.join("log");
    EventLog::open(&dir, small(), Arc::new(FileSystem), system_clock()).unwrap().0
}

/// [`small`], and without a pause between attempts at a disk that failed.
pub(crate) fn unwaiting() -> Options {
    Options { disk_retry: Duration::ZERO, ..small() }
}

/// The log on a disk of its own.
pub(crate) fn open_on(
    disk: &(impl Disk + Clone + 'static),
    options: Options,
) -> (EventLog, Recovered) {
    EventLog::open(Path::new("/log"), options, Arc::new(disk.clone()), system_clock()).unwrap()
}

/// Everything that can be read, with its order and its times checked.
pub(crate) fn read_all(log: &EventLog) -> Vec<Record> {
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

/// The message ids of [`read_all`].
pub(crate) fn ids_in_order(log: &EventLog) -> Vec<String> {
    read_all(log).iter().map(|record| record.message_id.to_string()).collect()
}

/// A source's open gaps, and what is missing in them and was dropped.
pub(crate) fn sequences(log: &EventLog, source: &str) -> (u64, u64, u64) {
    let counts = log.stats().sequences[&source.parse().unwrap()];
    (counts.open_gaps, counts.missing, counts.dropped)
}

/// Stores events `0` to `n - 1`, one a commit.
pub(crate) async fn fill(data: &Path, n: u32) {
    let log = open(data);
    for n in 0..n {
        log.append(vec![event(&n.to_string())]).await.unwrap();
    }
}

/// The segment files of a data folder, in order.
pub(crate) fn segments(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data.join("log")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    files.sort();
    files
}

/// The message ids of all that a log can read.
pub(crate) fn ids(log: &EventLog) -> Vec<String> {
    let (mut reader, mut ids) = (log.reader(None), Vec::new());
    loop {
        let records = reader.next_chunk(100).unwrap();
        if records.is_empty() {
            return ids;
        }
        ids.extend(records.iter().map(|record| record.message_id.to_string()));
    }
}
