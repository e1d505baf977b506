//! What a consumer was done with stays done when the server is killed, also above an event that is not.
//! Promises a real binary and a real SIGKILL. Waits for conditions only.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod server;

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use headwater_collector::{config::Name, state::State};
use serde_json::{Value, json};
use server::{PATIENCE, Receiver, client, ids, track};

const KEY: &str = "wk_killed";

/// The binary on `data` in a folder; killed as it is dropped.
struct Running {
    process: Child,
    url: String,
    token: String,
}

impl Running {
    fn start(folder: &Path, consumers: &str) -> Self {
        let config =
            format!("listen = '127.0.0.1:0'\n[sources.web]\nwrite_key = '{KEY}'\n{consumers}");
        fs::write(folder.join("headwater.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(["serve", "--config", "headwater.toml"]).current_dir(folder);
        command.env("HEADWATER_LOG", "off").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let url = first.strip_prefix("headwater listens on ").unwrap().to_owned();
        // Only the first start says it.
        let kept = folder.join("token");
        let token = fs::read_to_string(&kept).unwrap_or_else(|_| {
            let line = lines.nth(1).unwrap().unwrap();
            let token = line.strip_prefix("admin token: ").unwrap().to_owned();
            fs::write(&kept, &token).unwrap();
            token
        });
        Self { process, url, token }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    async fn send(&self, events: &[Value]) {
        let post = client().post(format!("{}/v1/batch", self.url)).basic_auth(KEY, Some(""));
        let answer = post.body(json!({"batch": events}).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    async fn take(&self, query: &str) -> Value {
        let url = format!("{}/v1/consumers/lake/events?{query}", self.url);
        server::json(client().get(url).bearer_auth(&self.token).send().await.unwrap()).await
    }

    async fn ack(&self, lease: &Value) {
        let post = client().post(format!("{}/v1/consumers/lake/ack", self.url));
        let body = json!({ "lease": lease["lease"] }).to_string();
        let answer = post.bearer_auth(&self.token).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    async fn shown(&self, consumer: &str) -> Value {
        let url = format!("{}/v1/consumers/{consumer}", self.url);
        server::json(client().get(url).bearer_auth(&self.token).send().await.unwrap()).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
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
    let first = running.take("limit=1&wait=20").await;
    assert_eq!(events(&first), ["0"]);
    let mut acknowledged = 0;
    while acknowledged < 999 {
        let lease = running.take("limit=1000&wait=20").await;
        acknowledged += events(&lease).len();
        running.ack(&lease).await;
    }
    running.kill();

    // Twice: it is also kept by a start that has not come to all of it yet.
    for _ in 0..2 {
        let running = Running::start(folder.path(), consumers);
        let lease = running.take("limit=1000&wait=20").await;
        assert_eq!(events(&lease), ["0"]);
        assert_eq!(running.take("limit=1000&wait=1").await["lease"], Value::Null);
        running.kill();
    }
    let running = Running::start(folder.path(), consumers);
    running.ack(&running.take("wait=20").await).await;
    assert_eq!(running.shown("lake").await["state"], "drained");
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
    until("all is delivered", async || running.shown("crm").await["state"] == "drained").await;
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
    running.ack(&running.take("limit=50&wait=20").await).await;
    running.kill();
    fs::remove_dir_all(folder.path().join("data/log")).unwrap();

    let running = Running::start(folder.path(), consumers);
    let others: Vec<_> = (100..200).map(|n| track(n, "d")).collect();
    running.send(&others).await;
    running.kill();
    let running = Running::start(folder.path(), consumers);
    let lease = running.take("limit=1000&wait=20").await;
    assert_eq!(events(&lease), (100..200).map(|n| n.to_string()).collect::<Vec<_>>());
    running.kill();
}
