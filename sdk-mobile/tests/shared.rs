//! Several clients share a folder: two in one test stand for two processes, since locks and files treat them alike. Nothing that one of
//! them said is durable may be lost by what the other does.

#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod collector;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use collector::{Collector, Heard, PATIENCE, options};
use headwater_mobile::{Answer, Category, Core, EventOptions, Options, Report, Uploads};
use rusqlite::Connection;

const ALL: [Category; 4] =
    [Category::Analytics, Category::Marketing, Category::Functional, Category::Necessary];

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

fn open(folder: &Path) -> (Arc<Core>, Arc<Heard>) {
    let heard = Arc::new(Heard::default());
    (Core::new(options(folder, NOWHERE), heard.clone()).unwrap(), heard)
}

fn track(core: &Core, event: &str) -> String {
    let recorded = core.track(event.into(), None, EventOptions::default()).unwrap();
    assert!(recorded.durable, "{event}");
    recorded.message_id
}

/// The ids of the events in the file, by their rows.
fn stored(folder: &Path) -> Vec<String> {
    let file = Connection::open(folder.join("app/headwater.db")).unwrap();
    let mut select = file.prepare("SELECT text ->> 'messageId' FROM event ORDER BY id").unwrap();
    let ids = select.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}

/// Holds the file as another process does that writes for long; until it is dropped.
fn hold(folder: &Path) -> Connection {
    let file = Connection::open(folder.join("app/headwater.db")).unwrap();
    file.execute_batch("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE").unwrap();
    file
}

/// Lets virtual time pass until it is so.
fn until(core: &Core, what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        core.pass(500);
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_follower_could_not_write_is_written_once_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let (_leader, _) = open(folder.path());
    let (follower, heard) = open(folder.path());
    let mut ids = vec![track(&follower, "Before")];
    let held = hold(folder.path());
    for _ in 0..3 {
        let recorded = follower.track("While".into(), None, EventOptions::default()).unwrap();
        assert!(!recorded.durable);
        ids.push(recorded.message_id);
    }
    assert_eq!(follower.pending().unwrap(), 4);
    drop(held);
    until(&follower, "the file", || stored(folder.path()).len() >= 4);
    ids.push(track(&follower, "After"));
    assert_eq!(stored(folder.path()), ids);
    let dropped = |report: &Report| matches!(report, Report::Dropped { .. });
    assert!(!heard.reports().iter().any(dropped), "{:?}", heard.reports());
}

#[test]
fn a_no_said_in_one_process_holds_in_the_other_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let host = Options { uploads: Some(Uploads::Host), ..options(folder.path(), NOWHERE) };
    let heard = Arc::new(Heard::default());
    let leader = Core::new(host, heard.clone()).unwrap();
    let (follower, _) = open(folder.path());
    track(&leader, "Before");
    heard.until("an upload", |said| (said.ready > 0).then_some(()));
    // It has a number: the leader alone deletes it, and tells the collector.
    follower.set_consent(HashMap::from([(Category::Analytics, Answer::Denied)])).unwrap();
    assert_eq!(leader.next_upload().unwrap(), None);

    follower.set_consent(HashMap::from(ALL.map(|category| (category, Answer::Granted)))).unwrap();
    track(&leader, "Between");
    follower.set_consent(HashMap::from(ALL.map(|category| (category, Answer::Denied)))).unwrap();
    assert!(!leader.track("After".into(), None, EventOptions::default()).unwrap().durable);
    assert_eq!(stored(folder.path()), [""; 0]);
}

#[test]
fn a_reset_in_one_process_is_one_in_the_other_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path());
    let heard = Arc::new(Heard::default());
    let leader = Core::new(options(folder.path(), &collector.endpoint()), heard).unwrap();
    let (follower, _) = open(folder.path());
    leader.identify(Some("alice".into()), None, EventOptions::default()).unwrap();
    track(&leader, "Hers");
    follower.reset().unwrap();
    track(&leader, "Nobody's");
    track(&follower, "Nobody's");
    leader.foreground().unwrap();
    let events = collector.events(4);
    let of = |at: usize, what: &str| events[at]["context"][what].clone();
    assert_eq!(events[1]["userId"], "alice");
    for other in 2..4 {
        assert!(events[other].get("userId").is_none(), "{other}");
        assert!(events[other]["anonymousId"] != events[1]["anonymousId"], "{other}");
        assert!(of(other, "sessionId") != of(1, "sessionId"), "{other}");
        assert_eq!(of(other, "sessionId"), of(2, "sessionId"), "{other}");
    }
}

#[test]
fn a_lock_that_is_deleted_leaves_one_that_sends() {
    let folder = tempfile::tempdir().unwrap();
    let host = || {
        let options = Options { uploads: Some(Uploads::Host), ..options(folder.path(), NOWHERE) };
        let heard = Arc::new(Heard::default());
        (Core::new(options, heard.clone()).unwrap(), heard)
    };
    let ready = |heard: &Heard| heard.until("an upload", |said| (said.ready > 0).then_some(()));
    let (first, heard) = host();
    track(&first, "One");
    ready(&heard);
    std::fs::remove_file(folder.path().join("app/headwater.lock")).unwrap();
    let (second, heard) = host();
    ready(&heard);
    assert_eq!(first.next_upload().unwrap(), None);
    assert!(second.next_upload().unwrap().is_some());
}

#[test]
fn an_app_in_the_background_lets_another_process_send() {
    let folder = tempfile::tempdir().unwrap();
    let host = || {
        let options = Options { uploads: Some(Uploads::Host), ..options(folder.path(), NOWHERE) };
        Core::new(options, Arc::new(Heard::default())).unwrap()
    };
    let upload = |core: &Core| {
        let start = Instant::now();
        loop {
            if let Some(upload) = core.next_upload().unwrap() {
                return upload;
            }
            assert!(start.elapsed() < PATIENCE, "waited for an upload");
            core.pass(500);
            thread::sleep(Duration::from_millis(5));
        }
    };
    let success = || r#"{"success":true}"#.to_owned();
    let (app, other) = (host(), host());
    track(&app, "Application Backgrounded");
    app.background().unwrap();
    let leaving = upload(&app);
    app.complete_upload(leaving.id, 200, None, success()).unwrap();
    // The system may suspend it from here on: it does nothing more.
    track(&other, "Seen");
    let others = upload(&other);
    other.complete_upload(others.id, 200, None, success()).unwrap();
    assert_eq!(other.pending().unwrap(), 0, "{:?}", stored(folder.path()));
    // It still sends what is called for in the background, when nobody else does.
    other.close();
    track(&app, "Pushed");
    let pushed = upload(&app);
    app.complete_upload(pushed.id, 200, None, success()).unwrap();
    assert_eq!(app.pending().unwrap(), 0);
}

#[test]
fn two_that_start_at_once_on_a_new_folder_share_one_file() {
    for round in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let start = Barrier::new(2);
        let both = thread::scope(|scope| {
            let starting = [0, 1].map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let (core, heard) = open(folder.path());
                    let ids = [track(&core, "One"), track(&core, "Two")];
                    (core, heard, ids)
                })
            });
            starting.map(|one| one.join().unwrap())
        });
        let called: BTreeSet<String> = both.iter().flat_map(|(_, _, ids)| ids.clone()).collect();
        assert_eq!(called, stored(folder.path()).into_iter().collect(), "round {round}");
        for (_, heard, _) in &both {
            assert_eq!(heard.reports(), [], "round {round}");
        }
    }
}
