//! `headwater doctor` as an operator meets it: on a sound folder, on damaged copies, and beside a writer that never rests.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::stored::{event, fill, numbered, open, segments};
use headwater_collector::event_log::*;
use serde_json::{Value, json};

fn doctor(data: &Path) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    let output = command.arg("doctor").arg(data).arg("--json").output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), report)
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_sound_folder_is_described_and_left_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    fill(data.path(), 100).await;
    let log = open(data.path());
    log.append(vec![numbered("a", "q", 1), numbered("b", "q", 5)]).await.unwrap();
    let (code, report) = doctor(data.path());
    assert_eq!((code, &report["in_use"]), (0, &json!(true)), "{report}");
    drop(log);
    let before = contents(&data.path().join("log"));
    let (code, report) = doctor(data.path());
    assert_eq!(contents(&data.path().join("log")), before);
    assert_eq!(code, 0);
    for (field, value) in [
        ("sound", json!(true)),
        ("in_use", json!(false)),
        ("events", json!(102)),
        ("missing_offsets", json!(0)),
        ("first", json!("1")),
        ("last", json!("102")),
        ("segments", json!(segments(data.path()).len())),
        ("damage", json!([])),
        ("torn", json!(null)),
        ("queues", json!(1)),
        ("sources", json!({"web": {"open_gaps": 1, "missing": 3, "dropped": 0, "untracked": 0}})),
    ] {
        assert_eq!(report[field], value, "{field}");
    }
}

#[tokio::test]
async fn a_changed_byte_of_a_sealed_body_is_found() {
    let data = tempfile::tempdir().unwrap();
    fill(data.path(), 100).await;
    let sealed = segments(data.path())[1].clone();
    let mut bytes = std::fs::read(&sealed).unwrap();
    let at = bytes.windows(11).rposition(|window| window == b"\"messageId\"").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&sealed, bytes).unwrap();
    let (code, report) = doctor(data.path());
    assert_eq!((code, &report["events"]), (1, &json!(99)), "{report}");
    let damage = &report["damage"][0];
    assert_eq!(damage["segment"], sealed.file_name().unwrap().to_str().unwrap());
    assert_eq!((&damage["harm"], &damage["records"]), (&json!("altered"), &json!(1)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    let output = command.arg("doctor").arg(data.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("damaged: 1 events, offsets "), "{text}");
    assert!(text.ends_with("DAMAGED: restore from a backup\n"), "{text}");
}

#[tokio::test]
async fn a_missing_file_a_damaged_header_and_a_torn_end_are_told_apart() {
    let data = tempfile::tempdir().unwrap();
    fill(data.path(), 100).await;
    let files = segments(data.path());
    let mut last = std::fs::read(files.last().unwrap()).unwrap();
    last.extend_from_slice(b"HWch and then the power went");
    std::fs::write(files.last().unwrap(), last).unwrap();
    let (code, report) = doctor(data.path());
    assert_eq!((code, &report["torn"]["bytes"]), (0, &json!(28)), "{report}");

    let mut headless = std::fs::read(&files[2]).unwrap();
    headless[9] ^= 1;
    std::fs::write(&files[2], headless).unwrap();
    let (code, report) = doctor(data.path());
    assert_eq!((code, &report["events"]), (1, &json!(100)), "{report}");
    let name = files[2].file_name().unwrap().to_str().unwrap();
    assert_eq!((&report["damage"], &report["damaged_headers"]), (&json!([]), &json!([name])));

    std::fs::remove_file(&files[1]).unwrap();
    let (code, report) = doctor(data.path());
    assert_eq!((code, &report["damage"][0]["harm"]), (1, &json!("absent")), "{report}");
    let missing = report["missing_offsets"].as_u64().unwrap();
    assert_eq!(report["events"].as_u64().unwrap() + missing, 100);
}

#[test]
fn what_cannot_be_read_is_said_with_a_code_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    assert_eq!(doctor(data.path()).0, 2);
    assert_eq!(doctor(&data.path().join("nowhere")).0, 2);
}

/// The files change under the reader's eyes: a chunk half written, a segment begun, zeros cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_busy_writer_nothing_looks_damaged_and_nothing_acknowledged_is_missing() {
    let data = tempfile::tempdir().unwrap();
    fill(data.path(), 1).await;
    let log = Arc::new(open(data.path()));
    let done = Arc::new(AtomicBool::new(false));
    let looking = {
        let (dir, log, done) = (data.path().join("log"), Arc::clone(&log), Arc::clone(&done));
        tokio::task::spawn_blocking(move || {
            let mut taken = 0;
            while !done.load(Ordering::SeqCst) {
                let acknowledged = *log.end().borrow();
                let snapshot = Snapshot::take(Arc::new(ReadOnly), &dir, Check::Everything).unwrap();
                let survey = snapshot.survey();
                assert!(survey.damaged.is_empty(), "{survey:?}");
                assert!(survey.end >= acknowledged, "{survey:?}");
                assert_eq!(survey.events, survey.end.since(Offset::START));
                taken += 1;
            }
            taken
        })
    };
    let long = "x".repeat(20_000);
    for n in 0..400 {
        let json = format!(r#"{{"messageId":"{n}","long":"{long}"}}"#);
        let event = NewEvent { json: json.into(), ..event(&format!("busy {n}")) };
        log.append(vec![event]).await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    assert!(looking.await.unwrap() > 0);
}

/// A disk on which one place is read for the first time just before it is written.
struct Early {
    beneath: Arc<dyn Disk>,
    position: u64,
    was_read: Arc<AtomicBool>,
}

struct EarlyFile {
    beneath: Arc<dyn File>,
    position: u64,
    was_read: Arc<AtomicBool>,
}

impl Disk for Early {
    fn create_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.beneath.create_dir(dir)
    }

    fn lock(&self, dir: &Path) -> std::io::Result<Box<dyn Send + Sync>> {
        self.beneath.lock(dir)
    }

    fn list(&self, dir: &Path) -> std::io::Result<Vec<String>> {
        self.beneath.list(dir)
    }

    fn create(&self, path: &Path) -> std::io::Result<Arc<dyn File>> {
        self.beneath.create(path)
    }

    fn open(&self, path: &Path) -> std::io::Result<Arc<dyn File>> {
        let (beneath, position) = (self.beneath.open(path)?, self.position);
        Ok(Arc::new(EarlyFile { beneath, position, was_read: Arc::clone(&self.was_read) }))
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.beneath.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.beneath.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.beneath.sync_dir(dir)
    }
}

impl File for EarlyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> std::io::Result<usize> {
        let read = self.beneath.read_at(buffer, position)?;
        if position == self.position && !self.was_read.swap(true, Ordering::SeqCst) {
            buffer.fill(0);
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> std::io::Result<()> {
        self.beneath.write_at(bytes, position)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.beneath.sync_data()
    }

    fn truncate(&self, len: u64) -> std::io::Result<()> {
        self.beneath.truncate(len)
    }

    fn size(&self) -> std::io::Result<u64> {
        self.beneath.size()
    }
}

#[tokio::test]
async fn a_chunk_that_was_being_written_when_it_was_looked_at_is_not_damage() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    log.append(vec![event("1")]).await.unwrap();
    let position = log.stats().bytes;
    log.append(vec![event("2")]).await.unwrap();
    log.append(vec![event("3")]).await.unwrap();
    let was_read = Arc::new(AtomicBool::new(false));
    let disk = Early { beneath: Arc::new(ReadOnly), position, was_read: Arc::clone(&was_read) };
    let snapshot =
        Snapshot::take(Arc::new(disk), &data.path().join("log"), Check::Everything).unwrap();
    assert!(was_read.load(Ordering::SeqCst));
    assert_eq!((snapshot.survey().events, &snapshot.survey().damaged), (3, &Vec::new()));
}
