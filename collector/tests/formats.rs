//! Data folders as each release wrote them, in `formats/`: this release opens every one and finds in it what was stored; and
//! one of a format that this release does not know is refused, by name, and left as it was.
//! A folder there is never edited. A release that changes what is written adds one: `make data-folder FOLDER=collector/tests/formats/v2`.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::server::{self, Receiver, Server, ids, track};
use headwater_collector::{
    Collector, backup,
    config::{Config, Name},
    doctor,
    event_log::{FileSystem, Timestamp},
    export::{Selection, export},
    state::{Parked, State},
};
use serde_json::{Value, json};

/// Every folder under `formats`.
fn formats() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
    let mut found: Vec<_> = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    assert!(!found.is_empty());
    found
}

/// A data folder of that format, to be changed at will.
fn copy(format: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (format.join("stored"), folder.path());
    fs::create_dir(to.join("log")).unwrap();
    for name in ["", "log"] {
        for entry in fs::read_dir(from.join(name)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), to.join(name).join(entry.file_name())).unwrap();
            }
        }
    }
    folder
}

fn expected(format: &Path) -> Value {
    serde_json::from_slice(&fs::read(format.join("expected.json")).unwrap()).unwrap()
}

fn exported(data: &Path) -> String {
    let mut lines = Vec::new();
    let done = export(data, &Selection::default(), &mut lines).unwrap();
    assert_eq!(done.unreadable, Vec::<String>::new());
    String::from_utf8(lines).unwrap()
}

#[tokio::test]
async fn what_every_release_stored_is_found_again() {
    for format in formats() {
        let (folder, expected) = (copy(&format), expected(&format));
        let (data, why) = (folder.path(), format.display());
        let golden = fs::read_to_string(format.join("events.ndjson")).unwrap();
        assert_eq!(exported(data), golden, "{why}, before this release has touched it");
        assert!(doctor::examine(data).unwrap().sound, "{why}");

        let server = Server::start(data).await;
        assert_eq!(Some(&*server.key), expected["writeKey"].as_str(), "{why}");
        assert_eq!(server.new_token, None, "{why}");
        let token = expected["adminToken"].as_str().unwrap();
        let stored = server.events(token).await;
        let lines: Vec<Value> =
            golden.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(ids(&stored), ids(&lines), "{why}");

        // By their ids, one of the first segment, one compressed, one erased; by its number alone, under a new id.
        let numbered = |id: &str, seq: u64| {
            let mut event = track(id, "device-2");
            event["context"] = json!({"headwater": {"queue": "q", "seq": seq}});
            event["timestamp"] = json!("2020-01-01T00:00:00Z");
            event
        };
        let again = [track("1", "d"), track("41", "d"), track("5", "d"), numbered("2", 2)];
        let receipt = server.batch(&again).await;
        assert_eq!(receipt["duplicate"], 4, "{why}: {receipt}");
        // Number 21 is new, and closes the run that the folder knew to be open.
        let receipt = server.batch(&[numbered("new-21", 21), track("new", "d")]).await;
        assert_eq!(receipt["accepted"], 2, "{why}: {receipt}");
        let metrics = server::client().get(server.at("/metrics")).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        for known in ["sequence_dropped_events{source=\"web\"} 4", "dedup_queues 2"] {
            assert!(metrics.contains(known), "{why}: {known} in {metrics}");
        }
        let after: Vec<_> = server.events(token).await;
        assert_eq!(ids(&after)[lines.len()..], ["new-21", "new"], "{why}");
        server.stop().await;
        assert!(exported(data).starts_with(&golden), "{why}, after it");
    }
}

#[tokio::test]
async fn cursors_and_parked_events_of_every_release_are_kept() {
    for format in formats() {
        let (folder, expected) = (copy(&format), expected(&format));
        let (data, why) = (folder.path(), format.display());
        {
            let state = State::open(&data.join("state.db")).unwrap();
            for (consumer, parked) in expected["parked"].as_object().unwrap() {
                let found = state.parked(&Name::try_from(consumer.clone()).unwrap()).unwrap();
                let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
                let parked: Vec<_> = parked
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|event| Parked {
                        record: text(event, "record").parse().unwrap(),
                        source: text(event, "source"),
                        message_id: text(event, "messageId"),
                        reason: text(event, "reason"),
                        parked_at: Timestamp::from_unix_ms(event["parkedAtMs"].as_i64().unwrap()),
                        redrive: false,
                    })
                    .collect();
                assert_eq!(found, parked, "{why}");
            }
        }
        // Each consumer goes on where it was.
        for (consumer, cursor) in expected["cursors"].as_object().unwrap() {
            let receiver = Receiver::start().await;
            let cursor: u64 = cursor.as_str().unwrap().parse().unwrap();
            let offset = |event: &Value| event["offset"].as_str().unwrap().parse::<u64>().unwrap();
            let golden = fs::read_to_string(format.join("events.ndjson")).unwrap();
            let lines = golden.lines().map(|line| serde_json::from_str(line).unwrap());
            let rest: Vec<Value> = lines.filter(|event| offset(event) > cursor).collect();
            let server = Server::start_with(data, &receiver.consumer(consumer)).await;
            let delivered = receiver.wait_for_delivered(rest.len()).await;
            server.stop().await;
            let delivered = delivered.iter().map(|attempt| attempt.event());
            let delivered: BTreeMap<u64, Value> =
                delivered.map(|event| (offset(&event), event)).collect();
            let rest: Vec<_> = rest.iter().map(offset).collect();
            assert_eq!(delivered.into_keys().collect::<Vec<_>>(), rest, "{why}: {consumer}");
        }
    }
}

#[tokio::test]
async fn a_backup_of_every_release_can_be_made_and_started() {
    for format in formats() {
        let (folder, dest) = (copy(&format), tempfile::tempdir().unwrap());
        let copied = dest.path().join("copy");
        backup::backup(folder.path(), &copied).unwrap();
        assert_eq!(exported(&copied), fs::read_to_string(format.join("events.ndjson")).unwrap());
        Server::start(&copied).await.stop().await;
    }
}

/// Every file of the folder but the lock, which has no bytes.
fn files(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for dir in [data.to_owned(), data.join("log")] {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_file()
                && name != "lock"
                && !name.ends_with("-wal")
                && !name.ends_with("-shm")
            {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn refusal(data: &Path) -> String {
    let mut config = Config::parse("", Path::new("test.toml")).unwrap();
    config.data = data.to_owned();
    match Collector::open(config, std::sync::Arc::new(FileSystem)) {
        Ok(_) => panic!("a folder of a later release was opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_newer_state_database_is_refused_and_left_alone() {
    let format = formats().pop().unwrap();
    let folder = copy(&format);
    let database = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    database.pragma_update(None, "user_version", 9_999).unwrap();
    drop(database);
    let before = files(folder.path());
    let error = refusal(folder.path());
    let named = ["version 9999", "knows versions up to "];
    assert!(named.iter().all(|version| error.contains(version)), "{error}");
    assert!(files(folder.path()) == before, "nothing is changed");
}
