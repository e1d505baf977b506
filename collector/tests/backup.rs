//! `headwater backup` beside a server under load, and a server started on the copy.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use crate::stored;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::server::{Server, client, ids, track};
use headwater_collector::event_log::*;
use headwater_collector::state::State;
use rusqlite::Connection;

fn backup(data: &Path, dest: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("backup").arg(data).arg(dest).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Sends batches until told to stop; returns what was acknowledged.
async fn load(url: String, key: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let (client, mut acknowledged) = (client(), Vec::new());
    for batch in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let events: Vec<_> = (0..10).map(|n| track(format!("load-{batch}-{n}"), "load")).collect();
        let body = serde_json::json!({"batch": events}).to_string();
        let post = client.post(format!("{url}/v1/batch")).basic_auth(&key, Some("")).body(body);
        assert_eq!(post.send().await.unwrap().status(), 200);
        acknowledged.extend(ids(&events));
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_taken_under_load_is_the_log_as_it_was_at_one_moment() {
    let (data, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let consumer = "[consumers.crm]\nkind = 'webhook'\nurl = 'http://127.0.0.1:9/'\n\
                    secret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs='\nallow_private = true\n";
    let server = Server::start_with(data.path(), consumer).await;
    let token = server.new_token.clone().unwrap();
    let before: Vec<_> = (0..50).map(|n| track(format!("before {n}"), "u")).collect();
    server.batch(&before).await;
    let stop = Arc::new(AtomicBool::new(false));
    let sender = tokio::spawn(load(server.url.clone(), server.key.clone(), Arc::clone(&stop)));
    let taken: Vec<_> = (0..5).map(|n| copies.path().join(n.to_string())).collect();
    for dest in taken.clone() {
        let from = data.path().to_owned();
        let output = tokio::task::spawn_blocking(move || backup(&from, &dest)).await.unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    stop.store(true, Ordering::SeqCst);
    let acknowledged = sender.await.unwrap();
    let all = server.events(&token).await;
    assert_eq!(all.len(), 50 + acknowledged.len());
    let key = server.key.clone();
    server.stop().await;

    let mut last = 50;
    for dest in taken {
        let doctor =
            Command::new(env!("CARGO_BIN_EXE_headwater")).arg("doctor").arg(&dest).output();
        assert_eq!(doctor.unwrap().status.code(), Some(0));
        // People of that moment, too: they cannot always be made anew.
        let applied: i64 = Connection::open(dest.join("people.db"))
            .unwrap()
            .query_row("SELECT applied FROM projection", [], |row| row.get(0))
            .unwrap();
        let restored = Server::start_with(&dest, consumer).await;
        assert_eq!((&restored.key, &restored.new_token), (&key, &None), "the same secrets");
        let events = restored.events(&token).await;
        assert!(events.len() >= last, "later copies hold more: {} {last}", events.len());
        last = events.len();
        assert!(
            applied <= i64::try_from(last).unwrap(),
            "people {applied} are not ahead of {last}"
        );
        assert_eq!(events, all[..last], "a prefix, offsets and all");
        // It goes on from there, and knows what it has.
        let receipt = restored.batch(&[before[0].clone(), track("after", "u")]).await;
        assert_eq!((&receipt["duplicate"], &receipt["accepted"]), (&1.into(), &1.into()));
        restored.stop().await;
    }
}

/// A consumer whose cursor is ahead of the log would skip what the log gets next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cursor_in_a_copy_is_ahead_of_its_log() {
    let (data, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = stored::open(data.path());
    let state = State::open(&data.path().join("state.db")).unwrap();
    let consumer = String::from("crm").try_into().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let from = data.path().to_owned();
    let (copying, stopped) = (copies.path().to_owned(), Arc::clone(&stop));
    let backups = tokio::task::spawn_blocking(move || {
        for n in 0..30 {
            let copied =
                headwater_collector::backup::backup(&from, &copying.join(n.to_string())).unwrap();
            let state = State::open(&copying.join(n.to_string()).join("state.db")).unwrap();
            let cursor = state.cursor(&String::from("crm").try_into().unwrap()).unwrap();
            assert!(cursor.unwrap_or(Offset::START) <= copied.end, "{cursor:?} {copied:?}");
        }
        stopped.store(true, Ordering::SeqCst);
    });
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) && !backups.is_finished() {
        log.append(vec![stored::event(&n.to_string())]).await.unwrap();
        state.save_cursor(&consumer, *log.end().borrow()).unwrap();
        n += 1;
    }
    backups.await.unwrap();
}

#[tokio::test]
async fn what_is_there_is_never_written_over_and_damage_is_copied_and_said() {
    let (data, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(said(&backup(data.path(), &copies.path().join("x"))).contains("cannot read"));
    assert!(!copies.path().join("x").exists());
    stored::fill(data.path(), 60).await;
    std::fs::write(copies.path().join("precious"), "x").unwrap();
    let output = backup(data.path(), copies.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("is not empty"), "{}", said(&output));
    let output = backup(data.path(), &data.path().join("log/../in/it"));
    assert!(said(&output).contains("name one elsewhere"), "{}", said(&output));
    assert!(!data.path().join("in").exists());
    let output = backup(copies.path(), &data.path().join("in"));
    assert!(said(&output).contains("name the data folder"), "{}", said(&output));
    assert_eq!(std::fs::read_dir(copies.path()).unwrap().count(), 1);

    let sealed = stored::segments(data.path())[1].clone();
    let sound = std::fs::read(&sealed).unwrap();
    let before = copies.path().join("before");
    assert!(backup(data.path(), &before).status.success());
    // A header, and a body, which a start does not read.
    let body = sound.windows(11).rposition(|window| window == b"\"messageId\"").unwrap();
    for (name, at) in [("header", 64 + 3), ("body", body)] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        std::fs::write(&sealed, &bytes).unwrap();
        let dest = copies.path().join(name);
        let output = backup(data.path(), &dest);
        assert_eq!(output.status.code(), Some(1));
        let segment = sealed.file_name().unwrap().to_str().unwrap();
        let first_line = said(&output).lines().next().unwrap().to_owned();
        assert!(first_line.starts_with("damaged: 1 events, offsets "), "{first_line}");
        assert!(first_line.contains(&format!("segment {segment}, byte ")), "{first_line}");
        assert!(said(&output).contains("keep the backups from before"), "{}", said(&output));
        assert!(
            String::from_utf8(output.stdout).unwrap().starts_with("59 events, up to offset 60")
        );
        assert_eq!(std::fs::read(&stored::segments(&dest)[1]).unwrap(), bytes);
        let copied: Vec<_> =
            std::fs::read_dir(&dest).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(copied, ["log"], "whole");
    }

    // A sealed segment is the same file in every backup: the guide says to put it back.
    std::fs::copy(&stored::segments(&before)[1], &sealed).unwrap();
    assert!(backup(data.path(), &copies.path().join("after")).status.success());
}
