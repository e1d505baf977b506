//! The real collector for a test, and a host that remembers what it was told. Promises that the process ends with the test; needs the
//! binary (`HEADWATER`, default `target/debug/headwater` of the workspace).
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::{
    collections::HashMap,
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use headwater_mobile::{Host, HostFailure, Message, Options, Report};
use serde_json::Value;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running collector with one source, whose key is `wk_test`.
pub(crate) struct Collector {
    process: Child,
    url: String,
    token: String,
}

impl Collector {
    /// On a port of its own choice.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_at(folder, 0)
    }

    /// On this one: where a collector was before.
    pub(crate) fn start_at(folder: &Path, port: u16) -> Self {
        Self::start_with(folder, port, "")
    }

    /// With more of a configuration in front of its source.
    pub(crate) fn start_with(folder: &Path, port: u16, more: &str) -> Self {
        // For the tests' own requests; a client that was opened before has done the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (data, config) = (folder.join("collector"), folder.join("headwater.toml"));
        let toml = format!(
            "listen = \"127.0.0.1:{port}\"\ndata = {data:?}\n{more}[sources.app]\nwrite_key = \"wk_test\"\n"
        );
        std::fs::write(&config, toml).unwrap();
        private(&config);
        let mut process = Command::new(binary())
            .args(["serve", "--config"])
            .arg(&config)
            .env("HEADWATER_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let kept = folder.join("token");
        let (mut url, mut token) = (None, std::fs::read_to_string(&kept).ok());
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(said) = line.strip_prefix("headwater listens on ") {
                url = Some(said.to_owned());
            }
            if let Some(said) = line.strip_prefix("admin token: ") {
                std::fs::write(&kept, said).unwrap();
                token = Some(said.to_owned());
            }
            if url.is_some() && token.is_some() {
                break;
            }
        }
        Self { process, url: url.expect("it says where it listens"), token: token.unwrap() }
    }

    /// Where events go.
    pub(crate) fn endpoint(&self) -> String {
        self.url.clone()
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// The whole log.
    pub(crate) fn log(&self) -> Vec<Value> {
        let client = reqwest::blocking::Client::new();
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let mut url = format!("{}/v1/events?limit=5000", self.url);
            if let Some(after) = &after {
                url += &format!("&after={after}");
            }
            let answer = client.get(url).bearer_auth(&self.token).send().unwrap();
            assert_eq!(answer.status(), 200);
            let text = answer.text().unwrap();
            let lines: Vec<Value> =
                text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if lines.is_empty() {
                return all;
            }
            after = Some(lines[lines.len() - 1]["offset"].to_string().trim_matches('"').to_owned());
            all.extend(lines);
        }
    }

    /// The events in the log, once there are so many.
    pub(crate) fn events(&self, count: usize) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let events = self.log();
            if events.len() >= count {
                return events;
            }
            assert!(start.elapsed() < PATIENCE, "{} of {count} events came", events.len());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as SIGKILL does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a client said.
#[derive(Default)]
pub(crate) struct Heard {
    said: Mutex<Said>,
    more: Condvar,
}

/// All of it, in order.
#[derive(Default)]
pub(crate) struct Said {
    /// Reports.
    pub(crate) reports: Vec<Report>,
    /// Flushes that ended, with what was left.
    pub(crate) flushed: HashMap<u64, u64>,
    /// How often it asked for its uploads to be fetched.
    pub(crate) ready: u32,
    /// Messages.
    pub(crate) messages: Vec<Message>,
    /// How often it asked for a request for messages to be fetched.
    pub(crate) listens: u32,
}

impl Heard {
    /// Waits for something.
    pub(crate) fn until<T>(&self, what: &str, mut found: impl FnMut(&Said) -> Option<T>) -> T {
        let start = Instant::now();
        let mut said = self.said.lock().unwrap();
        loop {
            if let Some(found) = found(&said) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "waited for {what}; heard {:?}", said.reports);
            said = self.more.wait_timeout(said, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// Waits for the end of a flush; says how many events were left.
    pub(crate) fn flushed(&self, token: u64) -> u64 {
        self.until("a flush", |said| said.flushed.get(&token).copied())
    }

    /// Every report so far.
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.said.lock().unwrap().reports.clone()
    }

    /// Every message so far, by its id.
    pub(crate) fn messages(&self) -> Vec<String> {
        self.said.lock().unwrap().messages.iter().map(|message| message.id.clone()).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.lock().unwrap());
        self.more.notify_all();
    }
}

impl Host for Heard {
    fn upload_ready(&self) -> Result<(), HostFailure> {
        self.change(|said| said.ready += 1);
        Ok(())
    }

    fn report(&self, report: Report) -> Result<(), HostFailure> {
        self.change(|said| said.reports.push(report));
        Ok(())
    }

    fn flushed(&self, token: u64, pending: u64) -> Result<(), HostFailure> {
        self.change(|said| {
            said.flushed.insert(token, pending);
        });
        Ok(())
    }

    fn message(&self, message: Message) -> Result<(), HostFailure> {
        self.change(|said| said.messages.push(message));
        Ok(())
    }

    fn listen_ready(&self) -> Result<(), HostFailure> {
        self.change(|said| said.listens += 1);
        Ok(())
    }
}

/// The defaults, in a folder below this one.
pub(crate) fn options(folder: &Path, endpoint: &str) -> Options {
    Options {
        write_key: "wk_test".into(),
        endpoint: endpoint.into(),
        folder: folder.join("app").display().to_string(),
        survives: None,
        uploads: None,
        upload_timeout_ms: None,
        max_events: 100_000,
        max_bytes: 50 << 20,
        max_age_ms: None,
        gather_ms: 5,
        max_batch_events: 100,
        consent: HashMap::new(),
    }
}

fn binary() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debug/headwater");
    let binary = env::var_os("HEADWATER").map_or(workspace, PathBuf::from);
    assert!(
        binary.exists(),
        "{} is missing: run `cargo build`, or set HEADWATER",
        binary.display()
    );
    binary
}

#[cfg(unix)]
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
