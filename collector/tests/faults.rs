//! Faults with real parts: a file-size limit and a full file system under the real binary, and everything that can be wrong
//! with what an operator gives it. Promises that no acknowledged event is lost and that every refusal is one clear line.
//! Needs no rights: limits are set with `prlimit`, of util-linux.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::server::{PATIENCE, Receiver, client, ids, track};
use serde_json::json;

const KEY: &str = "wk_faults";

fn headwater(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("serve").current_dir(folder).env("HEADWATER_LOG", "off");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running binary, killed if the test ends before it.
struct Running {
    process: Child,
    url: String,
    token: Option<String>,
}

impl Running {
    /// On `data` in the folder, with one source and these consumers.
    fn start(folder: &Path, consumers: &str) -> Self {
        let config =
            format!("listen = '127.0.0.1:0'\n[sources.web]\nwrite_key = '{KEY}'\n{consumers}");
        fs::write(folder.join("headwater.toml"), config).unwrap();
        let mut command = headwater(folder);
        command.args(["--config", "headwater.toml"]).stderr(Stdio::inherit());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let url = first.strip_prefix("headwater listens on ").unwrap().to_owned();
        // Only the first start says more.
        let token = (!folder.join("started").exists()).then(|| {
            let line = lines.nth(1).unwrap().unwrap();
            line.strip_prefix("admin token: ").unwrap().to_owned()
        });
        fs::write(folder.join("started"), "").unwrap();
        Self { process, url, token }
    }

    /// Files that it writes may be this long from now on.
    fn limit_files(&self, bytes: &str) {
        let pid = self.process.id().to_string();
        let limit = format!("--fsize={bytes}:unlimited");
        let done = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(done.expect("prlimit is in util-linux").success());
    }

    async fn send(&self, events: &[serde_json::Value]) -> u16 {
        let post = client().post(format!("{}/v1/batch", self.url)).basic_auth(KEY, Some(""));
        let answer = post.body(json!({"batch": events}).to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(status == 200 || answer.headers().contains_key("retry-after"), "{status}");
        status
    }

    async fn status(&self, path: &str) -> u16 {
        client().get(format!("{}{path}", self.url)).send().await.unwrap().status().as_u16()
    }

    async fn stored(&self, token: &str) -> Vec<String> {
        let read = client().get(format!("{}/v1/events", self.url)).bearer_auth(token);
        let text = read.send().await.unwrap().text().await.unwrap();
        ids(&text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Waits until that is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

#[tokio::test]
async fn files_that_cannot_grow_cost_no_event_and_writing_goes_on_when_they_can() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let running = Running::start(folder.path(), &receiver.consumer("crm"));
    let token = running.token.clone().unwrap();
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for round in 0..3 {
        for n in 0..20 {
            let event = track(format!("{round}-before-{n}"), "d");
            assert_eq!(running.send(std::slice::from_ref(&event)).await, 200);
            acknowledged.extend(ids(&[event]));
        }
        // Room for a segment's header, and for nothing behind it.
        running.limit_files("64");
        for n in 0..10 {
            match running.send(&[track(format!("{round}-doubtful-{n}"), "d")]).await {
                503 => refused += 1,
                status => panic!("{status} although nothing can be written"),
            }
        }
        assert_eq!(running.status("/healthz").await, 200, "alive");
        running.limit_files("unlimited");
        let again = track(format!("{round}-doubtful-0"), "d");
        until("it writes again", async || running.send(std::slice::from_ref(&again)).await == 200)
            .await;
        acknowledged.extend(ids(&[again]));
        until("it is ready again", async || running.status("/readyz").await == 200).await;
    }
    assert_eq!(refused, 30);
    // The consumer, whose cursor could not be saved meanwhile, has missed nothing.
    receiver.wait_for_delivered(acknowledged.len()).await;
    drop(running);

    let running = Running::start(folder.path(), "");
    assert_eq!(running.stored(&token).await, acknowledged, "each once, after a kill");
}

#[tokio::test]
async fn a_limit_on_every_file_only_makes_segments_shorter() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path(), "");
    let token = running.token.clone().unwrap();
    // Zeros are written a megabyte ahead, and incompressible events fill the rest.
    running.limit_files("1500000");
    let mut acknowledged = Vec::new();
    for n in 0..100_u64 {
        let mut event = track(n, "d");
        let noise: String = (0..1800)
            .map(|at| format!("{:016x}", (n * 7919 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        event["properties"] = json!({ "noise": noise });
        until("it is stored", async || running.send(std::slice::from_ref(&event)).await == 200)
            .await;
        acknowledged.extend(ids(&[event]));
    }
    drop(running);
    let segments =
        fs::read_dir(folder.path().join("data/log")).unwrap().map(|file| file.unwrap().path());
    let segments = segments.filter(|path| path.extension().is_some_and(|it| it == "log")).count();
    assert!(segments > 1, "the limit was reached");
    let running = Running::start(folder.path(), "");
    assert_eq!(running.stored(&token).await, acknowledged);
}
