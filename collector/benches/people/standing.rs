//! How a server stands: how far its people are, what it takes, and what it answers.
//! Promises that a thread's time is its own: what others on the machine do does not count. Measures nothing itself.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::server::Server;

/// Waits until people have what the log has, which is no less than this.
pub(crate) fn catch_up(server: &Server, stored: u64) -> anyhow::Result<()> {
    loop {
        let mut text = String::new();
        server.get("/v1/projection")?.read_to_string(&mut text)?;
        let standing: Value = serde_json::from_str(&text)?;
        let number = |name: &str| standing[name].as_str().and_then(|text| text.parse::<u64>().ok());
        let (applied, end) = (number("applied"), number("end"));
        ensure!(end >= Some(stored), "the log has lost events: {text}");
        if applied == end {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What the server has taken at most, and how much of it is the memory of message ids, which grows with the events.
pub(crate) fn memory(server: &Server) -> anyhow::Result<String> {
    let metrics = ask(server, "GET", "/metrics", "")?.1;
    let ids = metrics.lines().find_map(|line| line.strip_prefix("headwater_dedup_ids_bytes "));
    let ids: f64 = ids.context("/metrics says what the ids take")?.parse()?;
    let peak = server.peak_memory()? as f64;
    Ok(format!(
        "{:.0} MB, of which {:.0} MB are ids that duplicates are known by",
        peak / 1e6,
        ids / 1e6
    ))
}

/// The time that a thread has had a processor: what others on the machine do does not count.
pub(crate) fn busy(server: &Server, thread: &str) -> anyhow::Result<Duration> {
    busy_and_waiting(server, thread).map(|(busy, _)| busy)
}

/// The same, and how long it had work and no processor.
pub(crate) fn busy_and_waiting(
    server: &Server,
    thread: &str,
) -> anyhow::Result<(Duration, Duration)> {
    for task in std::fs::read_dir(format!("/proc/{}/task", server.id()))? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == thread {
            let stat = std::fs::read_to_string(task.join("schedstat"))?;
            let mut times = stat.split_whitespace().map(str::parse);
            let mut next = || times.next().context("schedstat has two times")?.context("in ns");
            return Ok((Duration::from_nanos(next()?), Duration::from_nanos(next()?)));
        }
    }
    bail!("there is no thread `{thread}`")
}

/// The status and the body of an answer.
pub(crate) fn ask(
    server: &Server,
    method: &str,
    path: &str,
    body: &str,
) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(server.address)?;
    let (token, length) = (&server.admin_token, body.len());
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("an answer has a status")?.parse()?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
