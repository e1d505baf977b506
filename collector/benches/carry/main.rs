//! How soon stored events reach those who wait for them, how much disk varied events take, how fast the log is read from its
//! beginning, and what a log that is full costs: latency to a server-sent event and to a webhook at a steady rate, replay in the process, and, if asked for,
//! restart and ingest with many events stored.
//! Promises that each figure stands beside one of the same run that it can be compared with, and that an event that does not
//! arrive is an error. Knows nothing of how the collector does it.
//!
//! `HEADWATER_BENCH_SECONDS` (10), `HEADWATER_BENCH_RATE` (10,000 events/s), `HEADWATER_BENCH_REPLAY` (1,000,000 events),
//! `HEADWATER_BENCH_STORED` (0; 50,000,000 takes some 5 GB and ten minutes).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../ingest/events.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod events;
mod figures;
mod filled;
#[path = "../ingest/floor.rs"]
mod floor;
mod listen;
#[path = "../ingest/load.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod load;
mod pace;
#[path = "../ingest/server.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod server;
mod varied;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

use figures::{at, setting};
use listen::{Listener, Sse, Webhook};
use server::{Program, Server};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, argument, folder] = &arguments[..]
        && argument == server::FLOOR
    {
        return floor::serve(Path::new(folder));
    }
    // The build's own folder is on a real disk; the system's temporary one is often in memory.
    let folder = tempfile::Builder::new()
        .prefix("bench-carry-")
        .tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR")))?;
    let folder = folder.path();
    let seconds = Duration::from_secs_f64(setting("HEADWATER_BENCH_SECONDS", 10.0)?);
    let rate: u64 = setting("HEADWATER_BENCH_RATE", 10_000)?;

    println!("steady {rate} events/s in batches of 20, {seconds:?}, 8 connections\n");
    println!(
        "| from the request's first byte to | p50 ms | p99 ms | most ms | p99 of the 200, ms | events |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, listener) in [
        ("a server-sent event's line", Listener::Sse),
        ("a webhook's receiver, up to 100 at once", Listener::Webhook { batch: 100 }),
        ("a webhook's receiver, one by one, a tenth of the rate", Listener::Webhook { batch: 1 }),
    ] {
        let rate =
            if matches!(listener, Listener::Webhook { batch: 1 }) { rate / 10 } else { rate };
        let seen = carry(listener, folder, rate, seconds).with_context(|| name.to_owned())?;
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {} |",
            ms(at(&seen.arrived, 0.5)),
            ms(at(&seen.arrived, 0.99)),
            ms(at(&seen.arrived, 1.0)),
            ms(at(&seen.answered, 0.99)),
            seen.arrived.len(),
        );
    }
    println!();
    varied::disk(folder)?;
    filled::replay(folder, setting("HEADWATER_BENCH_REPLAY", 1_000_000)?)?;
    match setting("HEADWATER_BENCH_STORED", 0)? {
        0 => println!("a full log: not measured; set HEADWATER_BENCH_STORED=50000000"),
        stored => filled::compare(folder, stored, seconds)?,
    }
    Ok(())
}

/// What a run saw, sorted.
struct Seen {
    /// From sending an event's request to the event's arrival.
    arrived: Vec<Duration>,
    /// From sending a request to its 200.
    answered: Vec<Duration>,
}

fn carry(listener: Listener, folder: &Path, rate: u64, time: Duration) -> anyhow::Result<Seen> {
    let (server, arrivals) = match listener {
        Listener::Sse => {
            let server = Server::start(Program::Ours, folder)?;
            let arrivals = Sse::open(server.get("/v1/live")?).arrivals;
            (server, arrivals)
        }
        Listener::Webhook { batch } => {
            let webhook = Webhook::open()?;
            let config = folder.join("webhook.toml");
            std::fs::write(&config, webhook.config(batch))?;
            let server = Server::start_with(Program::Ours, folder, Some(&config))?;
            (server, webhook.arrivals)
        }
    };
    let sent = pace::run(server.address, &server.write_key, rate, time)?;
    let mut arrived = Vec::with_capacity(sent.events());
    while arrived.len() < sent.events() {
        let missing = || format!("{} of {} events arrived", arrived.len(), sent.events());
        let (id, when) = arrivals.recv_timeout(Duration::from_secs(30)).with_context(missing)?;
        let left = sent.when(id).context("an event arrived that was not sent")?;
        arrived.push(when.saturating_duration_since(left));
    }
    arrived.sort_unstable();
    let mut answered = sent.answered;
    answered.sort_unstable();
    Ok(Seen { arrived, answered })
}
