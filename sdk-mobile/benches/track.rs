//! How long a call takes until its event is committed, beside a floor measured in the same run: SQLite alone, the same text, the same
//! settings, one transaction each. And how fast a backlog drains into a server that takes everything.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that prints")]

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use headwater_mobile::{Core, EventOptions, Host, HostFailure, Message, Options, Report};
use rusqlite::Connection;

const CALLS: usize = 5_000;
const ROUNDS: usize = 3;
const BACKLOG: u64 = 100_000;

fn main() {
    println!("{CALLS} calls, {ROUNDS} rounds in turn; microseconds");
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floors.extend(floor());
        ours.extend(calls());
    }
    let floor_p50 = show("SQLite alone, one insert a transaction", &mut floors);
    let p50 = show("track(), committed", &mut ours);
    println!(
        "ratio at p50: {:.2} (track() also keeps the queue's number, and makes the text)",
        p50 / floor_p50
    );
    drain();
}

fn show(what: &str, took: &mut [Duration]) -> f64 {
    took.sort();
    let at = |share: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let place = ((took.len() - 1) as f64 * share) as usize;
        took[place].as_secs_f64() * 1e6
    };
    println!(
        "{what}: p50 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    at(0.5)
}

fn floor() -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let file = Connection::open(folder.path().join("floor.db")).unwrap();
    file.pragma_update(None, "page_size", 1_024).unwrap();
    file.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    file.pragma_update(None, "synchronous", "NORMAL").unwrap();
    file.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    file.execute_batch("CREATE TABLE event (id INTEGER PRIMARY KEY, text TEXT)").unwrap();
    let mut insert = file.prepare("INSERT INTO event (text) VALUES (?)").unwrap();
    let mut once = |n: usize| {
        let text = format!("{{{:>420}{n}}}", "");
        let start = Instant::now();
        insert.execute([text]).unwrap();
        start.elapsed()
    };
    (0..CALLS).map(&mut once).collect()
}

fn calls() -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there: the backlog grows, as on a phone without a network.
    let core = Core::new(options(folder.path(), "http://127.0.0.1:9"), Arc::new(Quiet::default()))
        .unwrap();
    core.set_context(CONTEXT.into()).unwrap();
    let once = |n: usize| {
        let properties = format!(r#"{{"sku":"kettle-{n}","price":49.5,"currency":"EUR"}}"#);
        let start = Instant::now();
        core.track("Product Viewed".into(), Some(properties), EventOptions::default()).unwrap();
        start.elapsed()
    };
    (0..CALLS).map(once).collect()
}

fn drain() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || take(stream.unwrap()));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let offline =
        Core::new(options(folder.path(), "http://127.0.0.1:9"), Arc::new(Quiet::default()))
            .unwrap();
    for n in 0..BACKLOG {
        offline
            .track("E".into(), Some(format!(r#"{{"n":{n}}}"#)), EventOptions::default())
            .unwrap();
    }
    offline.close();
    let host = Arc::new(Quiet::default());
    let start = Instant::now();
    let core = Core::new(options(folder.path(), &endpoint), host.clone()).unwrap();
    let ready = start.elapsed();
    core.flush(1, 600_000).unwrap();
    let mut left = host.left.lock().unwrap();
    while left.is_none() {
        left = host.more.wait(left).unwrap();
    }
    assert_eq!(*left, Some(0));
    let took = start.elapsed();
    let a_second = BACKLOG as f64 / took.as_secs_f64();
    println!(
        "a backlog of {BACKLOG}: open in {ready:.1?}, drained in {took:.1?}, {a_second:.0} events/s"
    );
}

/// Answers every request on this connection with a receipt.
fn take(mut stream: std::net::TcpStream) -> Option<()> {
    let mut all = Vec::new();
    let mut part = [0; 65_536];
    loop {
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        all.extend_from_slice(&part[..count]);
        let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
        let length: usize =
            head.split("content-length:").nth(1)?.lines().next()?.trim().parse().ok()?;
        if all.len() >= end + 4 + length {
            all.drain(..end + 4 + length);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{\"success\":true}")
                .ok()?;
        }
    }
}

#[derive(Default)]
struct Quiet {
    left: Mutex<Option<u64>>,
    more: Condvar,
}

impl Host for Quiet {
    fn upload_ready(&self) -> Result<(), HostFailure> {
        Ok(())
    }

    fn report(&self, report: Report) -> Result<(), HostFailure> {
        println!("{report:?}");
        Ok(())
    }

    fn flushed(&self, _: u64, pending: u64) -> Result<(), HostFailure> {
        *self.left.lock().unwrap() = Some(pending);
        self.more.notify_all();
        Ok(())
    }

    fn message(&self, _: Message) -> Result<(), HostFailure> {
        Ok(())
    }

    fn listen_ready(&self) -> Result<(), HostFailure> {
        Ok(())
    }
}

fn options(folder: &Path, endpoint: &str) -> Options {
    Options {
        write_key: "wk".into(),
        endpoint: endpoint.into(),
        folder: folder.join("app").display().to_string(),
        survives: None,
        uploads: None,
        upload_timeout_ms: None,
        max_events: 1_000_000,
        max_bytes: 1 << 30,
        max_age_ms: None,
        gather_ms: 100,
        max_batch_events: 100,
        consent: HashMap::new(),
    }
}

/// As an app's.
const CONTEXT: &str = r#"{"app":{"name":"Shop","version":"1.2","build":"7"},"device":{"type":"ios","model":"iPhone15,2"},
    "os":{"name":"iOS","version":"17.1"},"library":{"name":"headwater-rust","version":"0.1.0"},"locale":"en-GB","timezone":"Europe/London"}"#;
