//! Rules: what they add to folding a log, how soon an action follows its event and a decision its question while events pour in,
//! how soon timers fire that are due together, and what people and timers take in memory and at a start.
//! Promises that all that was stored was folded, and all that was to be done was done, before a figure is printed, and that
//! folding with rules stands beside folding without in the same run. Knows nothing of how the collector does it.
//!
//! 20 features and 20 rules (`rules.toml`), 30 % of the people anonymous, a third of the users on two devices, which are merged.
//!
//! `HEADWATER_BENCH_PEOPLE` (100,000; 1,000,000 takes some 4 GB and ten minutes, and is what memory and start are promised for),
//! `HEADWATER_BENCH_SECONDS` (10), `HEADWATER_BENCH_RATE` (10,000 events/s), `HEADWATER_BENCH_DECISIONS` (a tenth of the rate, each
//! second), `HEADWATER_BENCH_ONLY` (all; `fold`, `live` or `timers`).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../ingest/events.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod events;
#[path = "../carry/figures.rs"]
mod figures;
#[path = "../carry/filled.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod filled;
#[path = "../carry/listen.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod listen;
mod live;
#[path = "../ingest/load.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod load;
#[path = "../ingest/server.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod server;
#[path = "../people/standing.rs"]
mod standing;
mod timers;
mod visits;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use figures::{at, setting};
use listen::Webhook;
use server::{Program, Server};
use standing::{ask, busy, busy_and_waiting, catch_up, memory};
use visits::{VISIT, Visits};

const RULES: &str = include_str!("rules.toml");

fn main() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("bench-rules-")
        .tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR")))?;
    let folder = folder.path();
    let people: u64 = setting("HEADWATER_BENCH_PEOPLE", 100_000)?;
    let seconds = Duration::from_secs_f64(setting("HEADWATER_BENCH_SECONDS", 10.0)?);
    let rate: u64 = setting("HEADWATER_BENCH_RATE", 10_000)?;
    let decisions: u64 = setting("HEADWATER_BENCH_DECISIONS", rate / 10)?;
    let only: String = setting("HEADWATER_BENCH_ONLY", "all".to_owned())?;
    let rules = folder.join("rules");
    std::fs::create_dir_all(&rules)?;
    std::fs::write(rules.join("rules.toml"), RULES)?;

    println!("20 features, 20 rules; people: {people}, a visit of {VISIT} events each\n");
    if ["all", "fold"].contains(&only.as_str()) {
        fold(folder, &rules, people)?;
    }
    if ["all", "live"].contains(&only.as_str()) {
        let folder = folder.join("live");
        std::fs::create_dir_all(&folder)?;
        answer_at_once(&folder, &rules, (rate, decisions), people, seconds)?;
    }
    if ["all", "timers"].contains(&only.as_str()) {
        let folder = folder.join("ringing");
        std::fs::create_dir_all(&folder)?;
        timers::run(&folder)?;
    }
    Ok(())
}

/// A log folded without rules and with them; then what they take in memory, and how soon a start has them.
fn fold(folder: &Path, rules: &Path, people: u64) -> anyhow::Result<()> {
    let data = folder.join(Program::Ours.name());
    std::fs::create_dir_all(&data)?;
    let stored = fill(&data, people)?;
    let config = folder.join("fold.toml");
    // Who would be told is not there: what was before the rules came into force sets nothing off.
    std::fs::write(&config, configured(rules, "127.0.0.1:9", ""))?;

    let server = Server::start(Program::Ours, folder)?;
    let token = server.admin_token.clone();
    catch_up(&server, stored)?;
    let alone = stored as f64 / busy(&server, "projection")?.as_secs_f64();
    server.leave()?;
    for file in ["people.db", "people.db-wal", "people.db-shm"] {
        match std::fs::remove_file(data.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let mut server = Server::start_with(Program::Ours, folder, Some(&config))?;
    server.admin_token.clone_from(&token);
    let begun = Instant::now();
    catch_up(&server, stored)?;
    let wall = stored as f64 / begun.elapsed().as_secs_f64();
    let with = stored as f64 / busy(&server, "projection")?.as_secs_f64();
    println!(
        "| {stored} events, folded by one thread | events/s of its processor's time | us each | of 20,000/s |"
    );
    println!("|---|---|---|---|");
    for (name, rate) in [("without rules", alone), ("with rules", with)] {
        println!("| {name} | {rate:.0} | {:.1} | {:.2} |", 1e6 / rate, rate / 20_000.0);
    }
    println!(
        "\nby the clock: {wall:.0} events/s; rules take {:.1} us of each",
        1e6 / with - 1e6 / alone
    );
    let fired: u64 = counted(&server)?.values().sum();
    println!("fired: {fired} ({:.2} % of the events)", 100.0 * fired as f64 / stored as f64);
    println!("most memory while folding: {}", memory(&server)?);
    server.leave()?;

    let begun = Instant::now();
    let mut server = Server::start_with(Program::Ours, folder, Some(&config))?;
    server.admin_token = token;
    catch_up(&server, stored)?;
    let start = begun.elapsed().as_secs_f64();
    let waiting = {
        let db = rusqlite::Connection::open(data.join("people.db"))?;
        db.query_row("SELECT count(*) FROM timer", [], |row| row.get::<_, i64>(0))?
    };
    println!(
        "\nwith {people} people and {waiting} pending timers: a start takes {start:.2} s (limit 10 s: {:.2} of it), \
         most memory then: {} (limit 150 MB with a million of each)",
        start / 10.0,
        memory(&server)?
    );
    Ok(())
}

/// From an event to its action, and from a question to its decision, at a steady rate.
fn answer_at_once(
    folder: &Path,
    rules: &Path,
    (rate, decisions): (u64, u64),
    people: u64,
    time: Duration,
) -> anyhow::Result<()> {
    let webhook = Webhook::open()?;
    let config = folder.join("live.toml");
    let sources = "[sources.web]\nwrite_key = 'wk_web'\n[sources.bank]\nwrite_key = 'wk_bank'\ntrust = 'server'\n";
    std::fs::write(&config, configured(rules, &webhook.address().to_string(), sources))?;
    let server = Server::start_with(Program::Ours, folder, Some(&config))?;
    let keys = ("wk_web", "wk_bank");
    let load = live::Load { server: server.address, keys, rate, decisions, people, time };
    let sent = live::run(load)?;
    let mut arrived: HashMap<(usize, usize), Duration> = HashMap::new();
    while arrived.len() < sent.chosen {
        let missing = || format!("{} of {} actions arrived", arrived.len(), sent.chosen);
        let found = webhook.arrivals.recv_timeout(Duration::from_secs(60));
        let (id, when) = found.with_context(missing)?;
        let left = sent.when(id).context("an action of an event that was not sent")?;
        arrived.entry(id).or_insert(when.saturating_duration_since(left));
    }
    let mut arrived: Vec<Duration> = arrived.into_values().collect();
    let mut decided = sent.decided;
    arrived.sort_unstable();
    decided.sort_unstable();
    println!(
        "\n{} events at {rate}/s in batches of 20, and {decisions} decisions/s, {time:?}:\n",
        sent.events
    );
    println!(
        "| from the request's first byte to | p50 ms | p99 ms | most ms | limit ms | p99 of it | times |"
    );
    println!("|---|---|---|---|---|---|---|");
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    for (name, limit, times) in [
        ("the action's arrival at its receiver", 50.0, &arrived),
        ("a decision's answer", 20.0, &decided),
    ] {
        let p99 = ms(at(times, 0.99));
        println!(
            "| {name} | {:.1} | {p99:.1} | {:.1} | {limit} | {:.2} | {} |",
            ms(at(times, 0.5)),
            ms(at(times, 1.0)),
            p99 / limit,
            times.len()
        );
    }
    let (folding, waited) = busy_and_waiting(&server, "projection")?;
    println!(
        "\nprocessor time of the folding thread: {:.2} s, and {:.2} s it waited for a processor; most memory: {}",
        folding.as_secs_f64(),
        waited.as_secs_f64(),
        memory(&server)?
    );
    Ok(())
}

fn configured(rules: &Path, receiver: &str, sources: &str) -> String {
    format!(
        "rules = '{}'\nactions_per_minute = 1000000\n{sources}\
         [destinations.bench]\nkind = 'webhook'\nurl = 'http://{receiver}/'\nallow_private = true\n\
         secret = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs='\n",
        rules.display()
    )
}

/// How often each rule has fired.
fn counted(server: &Server) -> anyhow::Result<HashMap<String, u64>> {
    let rules: Value = serde_json::from_str(&ask(server, "GET", "/v1/rules", "")?.1)?;
    let rules = rules["rules"].as_array().context("there are rules")?.iter();
    let read = |rule: &Value| Some((rule["name"].as_str()?.to_owned(), rule["fired"].as_u64()?));
    rules.map(|rule| read(rule).context("a rule says how often it has fired")).collect()
}

/// Stores a visit of each.
fn fill(data: &Path, people: u64) -> anyhow::Result<u64> {
    let log = filled::open(data)?;
    let mut visits = Visits::new(people);
    let bodies = std::iter::from_fn(|| {
        let next = |_| visits.next(true, (0, visits.made()));
        let batch: Vec<String> = (0..20).map_while(next).collect();
        let body = format!("{{\"batch\":[{}]}}", batch.join(","));
        (!batch.is_empty()).then(|| Ok(body.into_bytes()))
    });
    filled::store(&log, bodies, 100)?;
    let stored = log.end().borrow().since(headwater_collector::event_log::Offset::START);
    log.close();
    ensure!(
        stored == people * VISIT,
        "{stored} events were stored: {people} must have no factor of 7,919"
    );
    Ok(stored)
}
