//! A log with many events in it: how fast it is read from its beginning, how soon a server on it is ready, and how fast that
//! takes more. Promises that all that was stored is read. Knows nothing of latencies.

use std::{
    collections::VecDeque,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use headwater_collector::{
    decode::{Shape as Body, WireBatch},
    event_log::{EventLog, FileSystem, Options, system_clock},
    validate::{Memory, Sender, validate},
};

use crate::{
    events::{Requests, Shape},
    load,
    server::{Program, Server, size},
};

/// Batches of the load that are under way while a log is filled.
const BATCHES_AT_ONCE: usize = 100;
/// Records of one read.
const READ_AT_ONCE: usize = 1024;

pub(crate) fn open(data: &Path) -> anyhow::Result<EventLog> {
    let (dir, disk) = (data.join("log"), Arc::new(FileSystem));
    Ok(EventLog::open(&dir, Options::default(), disk, system_clock())?.0)
}

/// Stores so many events as requests would.
fn fill(data: &Path, events: u64) -> anyhow::Result<()> {
    let log = open(data)?;
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    // A connection that the load itself does not have: its ids are others.
    let mut requests = Requests::new(1000, Shape::Batches, "key", now_ms);
    let begun = Instant::now();
    let bodies = (0..events.div_ceil(20)).map(|n| {
        if n % 50_000 == 0 {
            let rate = (n * 20) as f64 / begun.elapsed().as_secs_f64();
            eprint!("\rstored {} of {events}, {rate:.0} events/s ", n * 20);
        }
        let request = requests.next();
        let body = memchr::memmem::find(request, b"\r\n\r\n").context("a request has a body")?;
        Ok(request[body + 4..].to_vec())
    });
    store(&log, bodies, BATCHES_AT_ONCE)?;
    eprintln!();
    log.close();
    Ok(())
}

/// Stores batches' bodies, so many of them under way at a time.
pub(crate) fn store(
    log: &EventLog,
    bodies: impl Iterator<Item = anyhow::Result<Vec<u8>>>,
    at_once: usize,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let clock = system_clock();
    let mut under_way = VecDeque::with_capacity(at_once);
    for body in bodies {
        let body = body?;
        let batch =
            WireBatch::parse(&body, Body::Batch).map_err(|why| anyhow::anyhow!("{why:?}"))?;
        let sender = Sender::new("web".parse()?, clock());
        let memory = Memory::new();
        let sorted = validate(&batch, Body::Batch, &sender, &memory, || "never".into());
        ensure!(sorted.refused.is_empty(), "refused: {:?}", sorted.refused);
        under_way.push_back(log.append(&sorted.events));
        if under_way.len() == at_once {
            under_way.pop_front().map(|first| runtime.block_on(first)).transpose()?;
        }
    }
    for last in under_way {
        runtime.block_on(last)?;
    }
    Ok(())
}

/// Reads a log from its beginning, in this process.
pub(crate) fn replay(folder: &Path, events: u64) -> anyhow::Result<()> {
    let data = folder.join("replay");
    std::fs::create_dir_all(&data)?;
    fill(&data, events)?;
    let disk = size(&data)? as f64 / events as f64;
    let log = open(&data)?;
    let (mut reader, mut read, begun) = (log.reader(None), 0, Instant::now());
    loop {
        let records = reader.next_chunk(READ_AT_ONCE)?;
        if records.is_empty() {
            break;
        }
        read += records.len() as u64;
    }
    let rate = read as f64 / begun.elapsed().as_secs_f64();
    ensure!(read >= events, "{read} of {events} events were read");
    println!(
        "replay to a reader in the process: {rate:.0} events/s, of {disk:.0} bytes on disk each"
    );
    drop(log);
    std::fs::remove_dir_all(&data)?;
    Ok(())
}

/// A server on a log with so many events, beside one on an empty log.
pub(crate) fn compare(folder: &Path, stored: u64, time: Duration) -> anyhow::Result<()> {
    let (full, empty) = (folder.join("full"), folder.join("empty"));
    let data = full.join(Program::Ours.name());
    std::fs::create_dir_all(&data)?;
    fill(&data, stored)?;
    println!(
        "\n{stored} events stored, {:.0} bytes on disk each",
        size(&data)? as f64 / stored as f64
    );
    println!(
        "\n| log | ready after s | events/s in batches of 20 | p99 ms | peak MB |\n|---|---|---|---|---|"
    );
    let mut rates = Vec::new();
    for (name, folder) in [("full", &full), ("empty", &empty), ("full", &full), ("empty", &empty)] {
        let begun = Instant::now();
        let server = Server::start(Program::Ours, folder)?;
        let ready = begun.elapsed();
        let done = load::run(server.address, &server.write_key, Shape::Batches, time)?;
        println!(
            "| {name} | {:.2} | {:.0} | {:.1} | {:.0} |",
            ready.as_secs_f64(),
            done.events_per_second,
            done.p99.as_secs_f64() * 1000.0,
            server.peak_memory()? as f64 / 1e6,
        );
        rates.push(done.events_per_second);
        server.leave()?;
    }
    let ratio = (rates[0] + rates[2]) / (rates[1] + rates[3]);
    println!("\na full log takes {:.0} % of what an empty one takes", ratio * 100.0);
    Ok(())
}
