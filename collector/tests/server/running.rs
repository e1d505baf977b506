//! The real binary, to be killed: what a test in this process could not outlive.
//! Promises that it ends with the value, and that its folder can be started on again.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use super::{client, json as read_json};

/// The key of its source.
const KEY: &str = "wk_killed";

/// The binary on `data` in a folder; killed as it is dropped.
pub(crate) struct Running {
    process: Child,
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Running {
    /// With the rest of the configuration of its source, and of everything else.
    pub(crate) fn start(folder: &Path, rest: &str) -> Self {
        Self::start_with(folder, "", rest)
    }

    /// And with what stands before all tables.
    pub(crate) fn start_with(folder: &Path, top: &str, rest: &str) -> Self {
        let config =
            format!("listen = '127.0.0.1:0'\n{top}[sources.web]\nwrite_key = '{KEY}'\n{rest}");
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

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends a batch, and has it acknowledged.
    pub(crate) async fn send(&self, events: &[Value]) {
        let post = client().post(format!("{}/v1/batch", self.url)).basic_auth(KEY, Some(""));
        let answer = post.body(json!({"batch": events}).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }

    /// What an operator is answered.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let get = client().get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        read_json(get.send().await.unwrap()).await
    }

    /// Gives an order that is taken.
    pub(crate) async fn order(&self, path: &str, body: &Value) {
        let post = client().post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = post.body(body.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
