//! The load: connections that each send a request, wait for its answer, and send the next, for a given time.
//! Promises that an event counts only once its 200 was read to the end, that every other answer fails the run, and that it
//! takes as little of the machine as it can: one thread, requests made beforehand. Does not know which server it talks to.

use std::{
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::events::{Requests, Shape};

/// Clients at the same time.
pub(crate) const CONNECTIONS: u64 = 32;
/// Not measured: connecting, first pages of memory, first blocks of files.
const WARM_UP: Duration = Duration::from_millis(500);
/// An answer that takes longer has failed, and the run with it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a run did.
pub(crate) struct Outcome {
    /// While it was measured.
    pub(crate) events_per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// From the first request to the last, measured or not: by connection, the events with a 200.
    pub(crate) acknowledged: Vec<usize>,
    /// Bytes of an event, on average, without what the batch says for all.
    pub(crate) event_bytes: usize,
}

/// Loads a server. Blocks for the warm-up and `measured`.
pub(crate) fn run(
    server: SocketAddr,
    write_key: &str,
    shape: Shape,
    measured: Duration,
) -> anyhow::Result<Outcome> {
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begin = Instant::now() + WARM_UP;
        let end = begin + measured;
        let mut connections = JoinSet::new();
        let mut event_bytes = Vec::new();
        for connection in 0..CONNECTIONS {
            let requests = Requests::new(connection, shape, write_key, now_ms);
            event_bytes.extend(requests.event_bytes());
            connections.spawn(tokio::time::timeout(
                WARM_UP + measured + PATIENCE,
                send(server, requests, begin, end),
            ));
        }
        let mut times = Vec::new();
        let mut acknowledged = vec![0; usize::try_from(CONNECTIONS)?];
        while let Some(sent) = connections.join_next().await {
            let sent = sent?.context("a server that does not answer any more")??;
            times.extend(sent.times);
            acknowledged[sent.connection] = sent.requests * usize::try_from(shape.events())?;
        }
        times.sort_unstable();
        if times.is_empty() {
            bail!("no answer came in {measured:?}");
        }
        let measured_events = times.len() as f64 * shape.events() as f64;
        Ok(Outcome {
            events_per_second: measured_events / measured.as_secs_f64(),
            p50: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
            acknowledged,
            event_bytes: event_bytes.iter().sum::<usize>() / event_bytes.len(),
        })
    })
}

/// What one connection did.
struct Sent {
    connection: usize,
    requests: usize,
    /// From the first byte of a request to the last of its answer, for answers within the measured time.
    times: Vec<Duration>,
}

async fn send(
    server: SocketAddr,
    mut requests: Requests,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Sent> {
    let mut stream = TcpStream::connect(server).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    let mut sent = Sent {
        connection: usize::try_from(requests.connection())?,
        requests: 0,
        times: Vec::new(),
    };
    let mut answer = vec![0; 4096];
    loop {
        let started = Instant::now();
        if started >= end {
            return Ok(sent);
        }
        stream.write_all(requests.next()).await.context("cannot send")?;
        read_answer(&mut stream, &mut answer).await?;
        sent.requests += 1;
        let now = Instant::now();
        if begin <= now && now < end {
            sent.times.push(now - started);
        }
    }
}

/// Reads one answer to its end, which has to be a 200 with a length.
pub(crate) async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.context("cannot read an answer")?;
        filled += read;
        if let Some(end) = answer_end(&buffer[..filled])? {
            if filled > end {
                bail!("more than was asked for: {}", String::from_utf8_lossy(&buffer[..filled]));
            }
            if filled == end {
                return Ok(());
            }
        }
        if read == 0 || filled == buffer.len() {
            bail!("not an answer: {:?}", String::from_utf8_lossy(&buffer[..filled]));
        }
    }
}

/// Where an answer ends, as soon as its head is there.
fn answer_end(answer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = memchr::memmem::find(answer, b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head])?;
    if !text.starts_with("HTTP/1.1 200 ") {
        bail!("a server that does not take events: {}", String::from_utf8_lossy(answer));
    }
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    Ok(Some(head + 4 + length.context("an answer without a length")??))
}
