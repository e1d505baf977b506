//! `headwater export` and `headwater import`: from one folder into another nothing changes, and bad lines cost only themselves.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::stored::{self, event, fill, ids, numbered, open};
use headwater_collector::event_log::*;

fn export(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("export").arg(data).args(arguments).output().unwrap()
}

/// The exit code, and what was said on standard error.
fn import(data: &Path, arguments: &[&str], lines: &[u8]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("import").arg(data).arg("-").args(arguments);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // One that refuses at once does not read.
    drop(process.stdin.take().unwrap().write_all(lines));
    let output = process.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn records(data: &Path) -> Vec<Record> {
    let (log, mut records) = (open(data), Vec::new());
    let mut reader = log.reader(None);
    loop {
        match reader.next_chunk(100).unwrap() {
            more if more.is_empty() => return records,
            more => records.extend(more),
        }
    }
}

#[tokio::test]
async fn what_was_exported_is_imported_as_it_was() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tricky = r#"{"type":"track","event":"Ä \"x\"","orderKey2":1,"log":{"a":[1]},"userId":"u","messageId":"tricky","context":{"headwater":{"queue":"q","seq":7,"dropped":[[1,6,"queue_full"]]}}}"#;
    let rich = NewEvent {
        source: "backend".parse().unwrap(),
        trust: Trust::Server,
        order_key: "some key".into(),
        event_time: Some(Timestamp::from_unix_ms(1_000_000_000_000)),
        claimed_time: Some(Timestamp::from_unix_ms(1_000_000_000_007)),
        schema_version: 3,
        flags: Flags { test: true, no_actions: true, identity: Identity::Proven, erased: false },
        sequence: Some(Sequence { queue: "q".into(), seq: 7 }),
        json: tricky.into(),
        ..event("tricky")
    };
    let derived = NewEvent {
        origin: Origin::Derived { by: "rule".into(), depth: 2 },
        ..numbered("derived", "outbox", 1)
    };
    fill(from.path(), 60).await;
    open(from.path()).append(vec![rich, derived]).await.unwrap();
    let lines = export(from.path(), &[]);
    assert!(lines.status.success());

    let (code, said) = import(to.path(), &[], &lines.stdout);
    let (count, rules) = said.trim_end().split_once('\n').unwrap();
    assert_eq!((code, count), (0, "62 lines: 62 accepted, 0 duplicate, 0 refused"));
    assert!(
        rules.starts_with("rules count these events, and do nothing because of them: "),
        "{said}"
    );
    let (sent, came) = (records(from.path()), records(to.path()));
    assert_eq!((sent.len(), came.len()), (62, 62));
    for (sent, came) in sent.into_iter().zip(came) {
        let expected = Record { origin: Origin::Import, received_at: came.received_at, ..sent };
        assert_eq!(came, expected);
    }
    let again = import(to.path(), &[], &lines.stdout);
    assert_eq!(again, (0, "62 lines: 0 accepted, 62 duplicate, 0 refused\n".to_owned()));
    // Numbers came with their events: nothing is missing, and a device that sends again is recognised.
    let log = open(to.path());
    assert_eq!(log.stats().sequences.values().map(|it| it.open_gaps).sum::<u64>(), 0);
    let resent = log.append(vec![numbered("derived", "outbox", 1)]).await;
    assert_eq!(resent, Ok(vec![Appended::Duplicate]));
}

#[tokio::test]
async fn a_part_is_exported_beside_a_server_and_damage_is_said() {
    let data = tempfile::tempdir().unwrap();
    fill(data.path(), 60).await;
    let log = open(data.path());
    let other = NewEvent { source: "app".parse().unwrap(), ..event("other") };
    log.append(vec![other]).await.unwrap();
    let lines = |output: &Output| output.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines(&export(data.path(), &["--after", "50"])), 11);
    assert_eq!(lines(&export(data.path(), &["--source", "app"])), 1);
    drop(log);
    std::fs::remove_file(&stored::segments(data.path())[1]).unwrap();
    let output = export(data.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(lines(&output) > 0 && lines(&output) < 61);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("missing: records "), "{said}");
}

#[test]
fn bad_lines_are_named_and_the_others_stored() {
    let data = tempfile::tempdir().unwrap();
    let long = format!(r#"{{"type":"track","event":"{}","userId":"u"}}"#, "x".repeat(1_100_000));
    let large = format!(r#"{{"type":"track","event":"{}","userId":"u"}}"#, "x".repeat(560_000));
    let lines = [
        r#"{"type":"track","event":"A","userId":"u","timestamp":"2020-01-01T00:00:00Z","sentAt":"2020-01-02T00:00:00Z"}"#,
        "",
        "{",
        r#"{"type":"track","event":"B","userId":"u"} and more"#,
        r#"{"type":"track","userId":"u"}"#,
        &long,
        &large,
        "[1]",
        r#"{"offset":"1","source":"n o","type":"track","event":"B","userId":"u"}"#,
        r#"{"type":"track","event":"A","userId":"u","timestamp":"2020-01-01T00:00:00Z","sentAt":"2020-01-02T00:00:00Z"}"#,
        r#"{"offset":"9","receivedAt":"2020-01-01T00:00:00.000Z","source":"app","trust":"server","origin":"sent","orderKey":"k","timestamp":"2020-01-01T00:00:00.000Z","type":"track","event":"C","userId":"u","messageId":"c"}"#,
    ];
    let mut text = lines.join("\n").into_bytes();
    text.extend_from_slice(b"\n\xff\n");
    let (code, said) = import(data.path(), &["--source", "old"], &text);
    assert_eq!(code, 1);
    let named: Vec<_> = said.lines().filter_map(|line| line.split(':').next()).collect();
    let refused = ["3", "4", "5", "6", "7", "8", "9", "12"].map(|n| format!("line {n}"));
    assert_eq!(named[..8], refused, "{said}");
    assert!(said.contains("line 5: missing_event: "), "{said}");
    assert!(said.contains("\n12 lines: 2 accepted, 1 duplicate, 8 refused\nrules count"), "{said}");
    let stored = records(data.path());
    assert_eq!((&*stored[0].source, stored[0].trust), ("old", Trust::Client));
    assert_eq!(stored[0].event_time.to_string(), "2020-01-01T00:00:00.000Z", "not moved to now");
    assert_eq!((&*stored[1].source, stored[1].trust), ("app", Trust::Server));
    let (code, said) = import(data.path(), &[], lines[0].as_bytes());
    assert_eq!(code, 1);
    assert!(said.contains("line 1: no `source`"), "{said}");
}

#[tokio::test]
async fn an_import_beside_a_server_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let log = open(data.path());
    let (code, said) = import(data.path(), &[], b"{}\n");
    assert_eq!(code, 1);
    assert!(said.contains("a server holds this folder"), "{said}");
    assert!(ids(&log).is_empty());
}
