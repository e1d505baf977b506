//! People after SIGKILL: whenever it comes, in traffic and in a rebuild, what is known is what a clean fold of the log gives; and
//! the terminal's side of it. Promises a real binary. Waits for conditions only. `HEADWATER_KILL_ROUNDS` (20): 50 are the goal.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::server::{PATIENCE, running::Running};
use headwater_collector::people;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// Operators' decisions are believed, and so is the CRM.
const TRUSTED: &str = "trust = 'server'\n";

async fn rebuild(running: &Running) {
    running.order("/v1/projection/rebuild", &json!({})).await;
}

async fn caught_up(running: &Running) {
    let begun = Instant::now();
    loop {
        let at = running.get("/v1/projection").await;
        if at["applied"] == at["end"] && at["rebuild"].is_null() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{at}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `headwater person`: whether it succeeded, what it printed, and what it complained of.
fn person(running: &Running, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("person").args(arguments).args(["--url", &running.url]);
    command.env("HEADWATER_ADMIN_TOKEN", &running.token).env("HEADWATER_LOG", "warn");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// All that is known, in words.
fn everything(data: &Path) -> Vec<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = Connection::open_with_flags(data.join("people.db"), flags).unwrap();
    people::testing::everything(&db)
}

/// Somebody's visit: devices, users, addresses, accounts and aliases that cross others'.
fn visit(n: u64) -> Vec<Value> {
    let (device, user) = (format!("d-{}", n % 37), format!("u-{}", n % 23));
    vec![
        json!({"type": "page", "name": "Pricing", "anonymousId": device, "messageId": format!("{n}-1")}),
        json!({"type": "identify", "anonymousId": device, "userId": user, "messageId": format!("{n}-2"),
            "traits": {"email": format!("{}@example.com", n % 31), "visits": n}}),
        json!({"type": "group", "userId": user, "groupId": format!("g-{}", n % 5), "messageId": format!("{n}-3"),
            "traits": {"seats": n}}),
        json!({"type": "alias", "userId": user, "previousId": format!("u-{}", n % 29), "messageId": format!("{n}-4")}),
    ]
}

#[tokio::test]
async fn people_are_those_of_a_clean_fold_whenever_the_server_is_killed() {
    let rounds =
        std::env::var("HEADWATER_KILL_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut n = 0;
    for round in 0..rounds {
        let running = Running::start(folder.path(), TRUSTED);
        if round % 2 == 1 {
            rebuild(&running).await;
        }
        // Whatever the machine does meanwhile: the moment differs from round to round.
        let until = Instant::now() + Duration::from_millis(20 + round * 13 % 150);
        while Instant::now() < until {
            let events: Vec<_> = (n..n + 25).flat_map(visit).collect();
            n += 25;
            running.send(&events).await;
        }
        running.kill();
    }
    let running = Running::start(folder.path(), TRUSTED);
    caught_up(&running).await;
    let survived = everything(&folder.path().join("data"));
    rebuild(&running).await;
    caught_up(&running).await;
    let clean = everything(&folder.path().join("data"));
    assert_eq!(survived.len(), clean.len());
    assert!(survived == clean, "{:?}", survived.iter().zip(&clean).find(|(a, b)| a != b));
    let events = clean.iter().filter(|row| row.contains("FROM moment")).count();
    assert_eq!(events as u64, n * 4, "each event that was acknowledged is somebody's, once");
}

#[tokio::test]
async fn people_are_asked_for_and_decided_about_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), TRUSTED);
    running
            .send(&[
                json!({"type": "identify", "anonymousId": "d-1", "userId": "u-1", "traits": {"name": "\u{1b}[2JA shopper", "plan": "pro"}}),
                json!({"type": "identify", "userId": "u-2", "traits": {"plan": "free"}}),
                json!({"type": "track", "event": "Bought", "userId": "u-1"}),
            ])
            .await;
    caught_up(&running).await;
    let says = |arguments: &[&str]| {
        let (done, text, errors) = person(&running, arguments);
        assert!(done, "{arguments:?}: {errors}");
        text
    };
    let shown = says(&["show", "u-1"]);
    assert!(shown.starts_with("\\u{1b}[2JA shopper  p_10\n"), "{shown}");
    assert!(
        shown.contains("  user       u-1\n") && shown.contains("  plan = pro  (web, "),
        "{shown}"
    );
    let timeline = says(&["timeline", "u-1", "--limit", "1"]);
    assert!(timeline.contains("track     Bought\nmore: --before "), "{timeline}");
    assert!(says(&["find", "u-"]).lines().count() == 2);
    let preview = says(&["merge", "u-1", "u-2", "--preview"]);
    assert!(preview.starts_with("plan is ") && preview.contains("the latest stays"), "{preview}");
    assert!(
        says(&["graph", "u-1"]).starts_with("accepted  anonymous:d-1 = user:u-1")
            || says(&["graph", "u-1"]).starts_with("accepted  user:u-1 = anonymous:d-1")
    );
    assert!(says(&["merge", "u-1", "u-2"]).contains("u-2"));
    assert!(!says(&["unmerge", "user:u-1", "user:u-2"]).contains("u-2"));
    let (done, _, why) = person(&running, &["unmerge", "user:u-1", "user:u-2"]);
    assert!(!done && why.contains("nothing says that these two are one person"), "{why}");
    let exported = says(&["export", "u-2"]);
    assert_eq!(exported.lines().count(), 3, "{exported}");
    let (done, _, why) = person(&running, &["erase", "u-2", "--confirm", "u-2"]);
    assert!(!done && why.contains("`confirm` is the person's id, `p_"), "{why}");
    let id: Value = serde_json::from_str(&says(&["show", "u-2", "--json"])).unwrap();
    let erased = says(&["erase", "u-2", "--confirm", id["id"].as_str().unwrap()]);
    assert!(erased.ends_with("is erased: 3 events are gone from the log\n"), "{erased}");
    let (done, _, why) = person(&running, &["show", "u-2"]);
    assert!(!done && why.contains("nobody is known by this"), "{why}");
}
