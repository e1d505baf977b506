//! Rules after SIGKILL: whenever it comes, in traffic and while timers are due, each firing is on record once, none is missing, and a
//! receiver that honours keys gets each action once. Promises a real binary. `HEADWATER_KILL_ROUNDS` (10): 100 are the goal.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use crate::server::{PATIENCE, Receiver, SECRET, running::Running};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

const RULES: &str = r#"
[features.bought]
on = "Bought"
count = true
[scores.keen]
terms = { bought = "features.bought / 3" }
[rules.thanks]
on = "Bought"
then = [{ webhook = "bank" }, { emit = "Thanked" }]
[rules.left]
on = "Added"
without = { event = "Bought", within = "1s", match = "event.properties.cart == trigger.properties.cart" }
then = [{ webhook = "bank" }]
[rules.keen]
crosses = { score = "keen", above = 0.9 }
then = [{ webhook = "bank" }]
"#;

/// A visit that ends with an order, or does not.
fn visit(n: u64) -> Vec<Value> {
    let user = format!("u-{}", n % 17);
    let event = |name: &str| {
        json!({"type": "track", "event": name, "userId": user, "anonymousId": format!("d-{}", n % 29), "messageId": format!("{n}-{name}"),
               "properties": {"cart": n}})
    };
    match n % 3 {
        0 => vec![event("Added")],
        _ => vec![event("Added"), event("Bought")],
    }
}

/// Every firing: rule, and what began it.
fn firings(data: &Path) -> Vec<(String, String, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = Connection::open_with_flags(data.join("people.db"), flags).unwrap();
    let mut query = db.prepare("SELECT rule, id, record FROM firing ORDER BY rule, id").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// What there is to be done, and what became of it.
fn actions(data: &Path) -> Vec<(String, String, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = Connection::open_with_flags(data.join("people.db"), flags).unwrap();
    let mut query = db.prepare("SELECT id, kind, state FROM action").unwrap();
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn each_firing_is_on_record_once_and_each_action_done_once_whenever_the_server_is_killed() {
    let rounds =
        std::env::var("HEADWATER_KILL_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("rules/all.toml"), RULES).unwrap();
    let receiver = Receiver::start().await;
    let rest = format!(
        "trust = 'server'\n[destinations.bank]\nkind = 'webhook'\nurl = '{}'\nsecret = '{SECRET}'\nallow_private = true\n",
        receiver.url
    );
    let start = || {
        Running::start_with(
            folder.path(),
            "rules = 'rules'\nactions_per_minute = 10000000\n",
            &rest,
        )
    };
    let mut n = 0;
    for round in 0..rounds {
        let running = start();
        // Past the second in which timers of the round before are due, too.
        let until = Instant::now() + Duration::from_millis(20 + round * 97 % 1300);
        while Instant::now() < until {
            let events: Vec<_> = (n..n + 10).flat_map(visit).collect();
            n += 10;
            running.send(&events).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        running.kill();
    }
    let running = start();
    let data = folder.path().join("data");
    // All that waits comes to its end.
    let begun = Instant::now();
    loop {
        let at = running.get("/v1/projection").await;
        let due = {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
            let db = Connection::open_with_flags(data.join("people.db"), flags).unwrap();
            db.query_row("SELECT count(*) FROM timer", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        // After the timers: one that rings between the two makes an action.
        let left = actions(&data).iter().filter(|(.., state)| state == "pending").count();
        if at["applied"] == at["end"] && left == 0 && due == 0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE * 2, "{at}: {left} actions and {due} timers are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let survived = firings(&data);
    let mut of: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (rule, _, record) in &survived {
        of.entry(rule).or_default().push(*record);
    }
    let bought = (0..n).filter(|n| n % 3 != 0).count();
    for (rule, expected) in [("thanks", bought), ("left", usize::try_from(n).unwrap() - bought)] {
        let records = &of[rule];
        assert_eq!(records.len(), expected, "{rule}: one for each event that was acknowledged");
        assert_eq!(records.iter().collect::<BTreeSet<_>>().len(), expected, "{rule}: none twice");
    }
    let all = actions(&data);
    let not_done: Vec<_> = all.iter().filter(|(.., state)| state != "accepted").collect();
    assert!(not_done.is_empty(), "{not_done:?}");
    let posted = receiver.wait_for("all", |_| true).await;
    let keys: BTreeSet<String> = posted.iter().map(|attempt| attempt.id().to_owned()).collect();
    let webhooks: BTreeSet<String> =
        all.iter().filter(|(_, kind, _)| kind == "webhook").map(|(id, ..)| id.clone()).collect();
    assert_eq!(keys, webhooks, "by its keys a receiver has each action once, and none is missing");

    // A clean fold of the log comes to the same firings, and none of them is done again.
    running.order("/v1/projection/rebuild", &json!({})).await;
    let begun = Instant::now();
    while !running.get("/v1/projection").await["rebuild"].is_null() {
        assert!(begun.elapsed() < PATIENCE * 4, "it is not made anew");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let clean = firings(&data);
    assert!(survived == clean, "{:?}", survived.iter().zip(&clean).find(|(a, b)| a != b));
    let again = receiver.wait_for("all", |_| true).await;
    assert_eq!(again.len(), posted.len());
}

#[tokio::test]
async fn what_was_done_is_not_done_again_while_a_state_is_made_anew_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("rules/all.toml"), RULES).unwrap();
    let receiver = Receiver::start().await;
    let answer = Arc::new(AtomicU16::new(503));
    let answered = Arc::clone(&answer);
    receiver.answer_with(move |_| answered.load(Ordering::Relaxed));
    let rest = format!(
        "trust = 'server'\n[destinations.bank]\nkind = 'webhook'\nurl = '{}'\nsecret = '{SECRET}'\nallow_private = true\n",
        receiver.url
    );
    let start = || Running::start_with(folder.path(), "rules = 'rules'\n", &rest);
    let data = folder.path().join("data");
    let running = start();
    let event = |name: &str, n: u64| json!({"type": "track", "event": name, "userId": format!("u-{}", n % 97), "messageId": format!("{name}-{n}")});
    running.send(&[event("Bought", 0)]).await;
    receiver.wait_for("a first try", |attempts| !attempts.is_empty()).await;
    // More than one transaction folds lies between the firing and what became of it.
    for from in (0..20_000).step_by(200) {
        let events: Vec<_> = (from..from + 200).map(|n| event("Seen", n)).collect();
        running.send(&events).await;
    }
    answer.store(200, Ordering::Relaxed);
    let all_done = async |running: &Running| {
        let begun = Instant::now();
        loop {
            let at = running.get("/v1/projection").await;
            let all = actions(&data);
            let is_done = !all.is_empty() && all.iter().all(|(.., state)| state == "accepted");
            if at["applied"] == at["end"] && is_done {
                break;
            }
            assert!(begun.elapsed() < PATIENCE * 2, "{at}: {all:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    all_done(&running).await;
    let posted = receiver.wait_for("all", |_| true).await.len();
    running.kill();
    for file in ["people.db", "people.db-wal", "people.db-shm"] {
        let _ = fs::remove_file(data.join(file));
    }
    let running = start();
    all_done(&running).await;
    assert_eq!(receiver.wait_for("all", |_| true).await.len(), posted, "it was done once");
}
