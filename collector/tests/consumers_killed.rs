//! What a consumer was done with stays done when the server is killed, also above an event that is not.
//! Promises a real binary and a real SIGKILL. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{collections::HashMap, fs};

use crate::server::{PATIENCE, Receiver, ids, running::Running, track};
use headwater_collector::{config::Name, state::State};
use serde_json::{Value, json};

async fn take(running: &Running, query: &str) -> Value {
    running.get(&format!("/v1/consumers/lake/events?{query}")).await
}

async fn ack(running: &Running, lease: &Value) {
    running.order("/v1/consumers/lake/ack", &json!({ "lease": lease["lease"] })).await;
}

async fn shown(running: &Running, consumer: &str) -> Value {
    running.get(&format!("/v1/consumers/{consumer}")).await
}

async fn until(what: &str, fulfilled: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !fulfilled().await {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

fn events(lease: &Value) -> Vec<String> {
    ids(lease["events"].as_array().unwrap())
}

#[tokio::test]
async fn of_what_a_reader_fetched_only_the_one_that_it_did_not_acknowledge_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let consumers = "[consumers.lake]\nkind = 'pull'\n";
    let running = Running::start(folder.path(), consumers);
    let all: Vec<_> = (0..1000).map(|n| track(n, &format!("d{n}"))).collect();
    for batch in all.chunks(100) {
        running.send(batch).await;
    }
    let first = take(&running, "limit=1&wait=20").await;
    assert_eq!(events(&first), ["0"]);
    let mut acknowledged = 0;
    while acknowledged < 999 {
        let lease = take(&running, "limit=1000&wait=20").await;
        acknowledged += events(&lease).len();
        ack(&running, &lease).await;
    }
    running.kill();

    // Twice: it is also kept by a start that has not come to all of it yet.
    for _ in 0..2 {
        let running = Running::start(folder.path(), consumers);
        let lease = take(&running, "limit=1000&wait=20").await;
        assert_eq!(events(&lease), ["0"]);
        assert_eq!(take(&running, "limit=1000&wait=1").await["lease"], Value::Null);
        running.kill();
    }
    let running = Running::start(folder.path(), consumers);
    ack(&running, &take(&running, "wait=20").await).await;
    assert_eq!(shown(&running, "lake").await["state"], "drained");
    running.kill();
}

#[tokio::test]
async fn of_what_was_pushed_only_the_device_that_is_stuck_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer_with(|event| if event["messageId"] == "0" { 500 } else { 200 });
    let consumers = receiver.consumer("crm");
    let running = Running::start(folder.path(), &consumers);
    // 0 and 500 are of one device.
    let all: Vec<_> = (0..1000).map(|n| track(n, &format!("d{}", n % 500))).collect();
    for batch in all.chunks(100) {
        running.send(batch).await;
    }
    receiver.wait_for_delivered(998).await;
    let state = State::open(&folder.path().join("data/state.db")).unwrap();
    let crm = Name::try_from("crm".to_owned()).unwrap();
    let (end, beyond): (_, usize) = ("1000".parse().unwrap(), 2);
    until("the cursor to be saved", async || {
        let reached = state.reached(&crm).unwrap().unwrap_or_default();
        reached.done_above.len() == beyond
            && reached.done_above.iter().any(|range| *range.end() == end)
    })
    .await;
    running.kill();

    receiver.answer_with(|_| 200);
    let running = Running::start(folder.path(), &consumers);
    until("all is delivered", async || shown(&running, "crm").await["state"] == "drained").await;
    let mut taken: HashMap<String, usize> = HashMap::new();
    for attempt in receiver.wait_for_delivered(1000).await {
        *taken.entry(attempt.event()["messageId"].as_str().unwrap().to_owned()).or_default() +=
            usize::from(attempt.status < 300);
    }
    assert_eq!(taken.len(), 1000);
    assert!(taken.values().all(|times| *times == 1), "{taken:?}");
    running.kill();
}

#[tokio::test]
async fn a_consumer_that_starts_over_does_not_skip_what_is_stored_before_it_gets_on() {
    let folder = tempfile::tempdir().unwrap();
    let consumers = "[consumers.lake]\nkind = 'pull'\n";
    let running = Running::start(folder.path(), consumers);
    let all: Vec<_> = (0..50).map(|n| track(n, "d")).collect();
    running.send(&all).await;
    ack(&running, &take(&running, "limit=50&wait=20").await).await;
    running.kill();
    fs::remove_dir_all(folder.path().join("data/log")).unwrap();

    let running = Running::start(folder.path(), consumers);
    let others: Vec<_> = (100..200).map(|n| track(n, "d")).collect();
    running.send(&others).await;
    running.kill();
    let running = Running::start(folder.path(), consumers);
    let lease = take(&running, "limit=1000&wait=20").await;
    assert_eq!(events(&lease), (100..200).map(|n| n.to_string()).collect::<Vec<_>>());
    running.kill();
}
