//! People: how fast a log is folded into them, what they take on disk and in memory, how soon a start has them, and how quickly
//! one is read, and an event seen in one, while others pour in; and what storing costs while they are made anew.
//! Promises that all that was stored was folded before a figure is printed, and that folding stands beside reading alone in the
//! same run. Knows nothing of how the collector does it.
//!
//! `HEADWATER_BENCH_PEOPLE` (100,000; 1,000,000 takes some 3 GB and five minutes), `HEADWATER_BENCH_SECONDS` (10),
//! `HEADWATER_BENCH_RATE` (10,000 events/s).
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
#[path = "../ingest/load.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod load;
#[path = "../carry/pace.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod pace;
#[path = "../ingest/server.rs"]
#[allow(dead_code, reason = "each benchmark uses its own part of it")]
mod server;
mod standing;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use figures::{at, setting};
use server::{Program, Server};
use standing::{ask, busy, catch_up, memory};

/// Visits under way at a time, whose events come interleaved.
const VISITS_AT_ONCE: usize = 256;
/// Events of a visit.
const VISIT: u64 = 5;
/// Of ten people so many never say who they are.
const ANONYMOUS_OF_TEN: u64 = 3;
/// Every such user has a second device, which is merged when it signs in.
const SECOND_DEVICE_EVERY: u64 = 3;

fn main() -> anyhow::Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("bench-people-")
        .tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR")))?;
    let folder = folder.path();
    let people: u64 = setting("HEADWATER_BENCH_PEOPLE", 100_000)?;
    let seconds = Duration::from_secs_f64(setting("HEADWATER_BENCH_SECONDS", 10.0)?);
    let rate: u64 = setting("HEADWATER_BENCH_RATE", 10_000)?;

    let data = folder.join(Program::Ours.name());
    std::fs::create_dir_all(&data)?;
    let stored = fill(&data, people)?;
    let reading = read_alone(&data, stored)?;

    let server = Server::start(Program::Ours, folder)?;
    let begun = Instant::now();
    catch_up(&server, stored)?;
    let folding = stored as f64 / begun.elapsed().as_secs_f64();
    let busy = busy(&server, "projection")?;
    println!(
        "people: {people}, events: {stored}, 30 % of the people anonymous, a third of the users on two devices\n"
    );
    println!("| | events/s | of reading alone |\n|---|---|---|");
    println!("| reading the log alone | {reading:.0} | 100 % |");
    println!(
        "| folding it into people, on one thread | {folding:.0} | {:.0} % |",
        folding / reading * 100.0
    );
    println!(
        "\nof its processor's time: {:.0} events/s ({:.1} us each)",
        stored as f64 / busy.as_secs_f64(),
        busy.as_secs_f64() * 1e6 / stored as f64
    );
    println!("\nmost memory while folding: {}", memory(&server)?);
    let token = server.admin_token.clone();
    server.leave()?;
    disk(&data, people)?;

    let begun = Instant::now();
    let mut server = Server::start(Program::Ours, folder)?;
    server.admin_token = token;
    catch_up(&server, stored)?;
    println!("a start with them: {:.2} s until they are up to date", begun.elapsed().as_secs_f64());

    let (address, key) = (server.address, server.write_key.clone());
    let load = std::thread::spawn(move || pace::run(address, &key, rate, seconds));
    let (mut reads, mut seen) = (Vec::new(), Vec::new());
    let until = Instant::now() + seconds.saturating_sub(Duration::from_millis(500));
    std::thread::sleep(Duration::from_millis(300));
    let mut n = 0;
    while Instant::now() < until {
        n += 1;
        let known = n * 7919 % people;
        let who = if known % 10 < ANONYMOUS_OF_TEN {
            format!("anonymous:{}", device(known))
        } else {
            format!("user:u-{known}")
        };
        let begun = Instant::now();
        ensure!(read(&server, &who)?, "{who} is not known");
        reads.push(begun.elapsed());
        if n % 4 == 0 {
            seen.push(visible(&server, n)?);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = match load.join() {
        Ok(sent) => sent?,
        Err(_) => bail!("the load panicked"),
    };
    reads.sort_unstable();
    seen.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("\nwhile {} events came at {rate}/s:\n", sent.events());
    println!("| | p50 ms | p99 ms | times |\n|---|---|---|---|");
    for (name, times) in
        [("reading a profile", &reads), ("from sending an event to a profile that has it", &seen)]
    {
        println!(
            "| {name} | {:.1} | {:.1} | {} |",
            ms(at(times, 0.5)),
            ms(at(times, 0.99)),
            times.len()
        );
    }
    println!("\nmost memory: {}", memory(&server)?);
    beside_a_rebuild(&server, rate, seconds)
}

/// What storing costs while people are made anew from the whole log, of what it costs while they only keep up.
fn beside_a_rebuild(server: &Server, rate: u64, time: Duration) -> anyhow::Result<()> {
    let store = || -> anyhow::Result<Vec<Duration>> {
        let mut answered = pace::run(server.address, &server.write_key, rate, time)?.answered;
        answered.sort_unstable();
        Ok(answered)
    };
    let alone = store()?;
    ensure!(ask(server, "POST", "/v1/projection/rebuild", "{}")?.0 < 300, "no rebuild");
    let beside = store()?;
    let standing: Value = serde_json::from_str(&ask(server, "GET", "/v1/projection", "")?.1)?;
    ensure!(standing["rebuild"].is_object(), "the rebuild ended before the load: {standing}");
    println!("\nstoring at {rate}/s, until the answer:\n");
    println!("| people | p50 ms | p99 ms | of the first p99 | events |\n|---|---|---|---|---|");
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    for (name, times) in [("keep up", &alone), ("are made anew from the log meanwhile", &beside)] {
        println!(
            "| {name} | {:.1} | {:.1} | {:.2} | {} |",
            ms(at(times, 0.5)),
            ms(at(times, 0.99)),
            ms(at(times, 0.99)) / ms(at(&alone, 0.99)),
            times.len() * 20
        );
    }
    Ok(())
}

/// The id of a person's first device: as long as those in life.
fn device(person: u64) -> String {
    format!("{:08x}-0000-4000-8000-{:012x}", person.wrapping_mul(0x9e37_79b9) & 0xffff_ffff, person)
}

/// The event of a visit.
fn event(person: u64, step: u64, n: u64) -> Value {
    let (is_anonymous, user) = (person % 10 < ANONYMOUS_OF_TEN, format!("u-{person}"));
    let other = person.is_multiple_of(SECOND_DEVICE_EVERY) && step >= 3;
    let device = if other { device(person + (1 << 40)) } else { device(person) };
    let mut event = match step {
        0 => json!({"type": "page", "name": "Pricing"}),
        1 if !is_anonymous => json!({"type": "identify", "userId": user,
            "traits": {"email": format!("{user}@example.com"), "plan": "pro", "name": format!("Shopper {person}")}}),
        _ => json!({"type": "track", "event": "Product Viewed",
            "properties": {"sku": "kettle-01", "price": 49.9, "currency": "EUR", "list": "home"}}),
    };
    if step > 1 && !is_anonymous {
        event["userId"] = json!(user);
    }
    event["anonymousId"] = json!(device);
    event["messageId"] = json!(format!("b-{n}"));
    event["context"] = json!({"locale": "de-DE", "timezone": "Europe/Berlin", "sessionId": person.to_string(),
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
        "page": {"url": "https://shop.example/pricing", "path": "/pricing", "title": "Pricing"},
        "library": {"name": "headwater", "version": "0.1.0"}});
    event
}

/// Stores a visit of each.
fn fill(data: &Path, people: u64) -> anyhow::Result<u64> {
    let log = filled::open(data)?;
    let (mut visits, mut next, mut n) = (Vec::new(), 0, 0);
    let mut random: u64 = 1;
    let begun = Instant::now();
    let bodies = std::iter::from_fn(|| {
        let mut batch = Vec::with_capacity(20);
        while batch.len() < 20 {
            while visits.len() < VISITS_AT_ONCE && next < people {
                // Neighbours in time are not neighbours in number.
                visits.push((next * 7919 % people, 0));
                next += 1;
            }
            if visits.is_empty() {
                break;
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(random >> 33).unwrap_or(0) % visits.len();
            let (person, step) = visits[at];
            batch.push(event(person, step, n));
            n += 1;
            match step + 1 {
                VISIT => drop(visits.swap_remove(at)),
                step => visits[at].1 = step,
            }
        }
        if n % 100_000 < 20 {
            eprint!("\rstored {n} events, {:.0}/s ", n as f64 / begun.elapsed().as_secs_f64());
        }
        (!batch.is_empty()).then(|| Ok(json!({ "batch": batch }).to_string().into_bytes()))
    });
    filled::store(&log, bodies, 100)?;
    eprintln!();
    let stored = log.end().borrow().since(headwater_collector::event_log::Offset::START);
    log.close();
    ensure!(
        stored == people * VISIT,
        "{stored} events were stored: {people} must have no factor of 7,919"
    );
    Ok(stored)
}

/// What folding cannot be faster than.
fn read_alone(data: &Path, stored: u64) -> anyhow::Result<f64> {
    let log = filled::open(data)?;
    let (mut reader, mut read, begun) = (log.reader(None), 0, Instant::now());
    loop {
        let records = reader.next_chunk(1024)?;
        if records.is_empty() {
            break;
        }
        read += records.len() as u64;
    }
    let rate = read as f64 / begun.elapsed().as_secs_f64();
    ensure!(read == stored, "{read} of {stored} events were read");
    Ok(rate)
}

/// Bytes that people take, without what they did.
fn disk(data: &Path, people: u64) -> anyhow::Result<()> {
    let copy = data.join("copy.db");
    std::fs::copy(data.join("people.db"), &copy)?;
    let db = rusqlite::Connection::open(&copy)?;
    let whole = std::fs::metadata(&copy)?.len();
    db.execute_batch("DROP TABLE moment; VACUUM;")?;
    drop(db);
    let bytes = std::fs::metadata(&copy)?.len();
    std::fs::remove_file(&copy)?;
    let of = |bytes: u64| bytes as f64 / people as f64;
    println!(
        "on disk: {:.0} bytes a person, and {:.0} for a timeline of {VISIT} events",
        of(bytes),
        of(whole - bytes)
    );
    Ok(())
}

fn read(server: &Server, who: &str) -> anyhow::Result<bool> {
    match ask(server, "GET", &format!("/v1/people/{who}"), "")? {
        (200, _) => Ok(true),
        (404, _) => Ok(false),
        (_, answer) => bail!("{answer}"),
    }
}

/// From sending an event of somebody new until the profile is there.
fn visible(server: &Server, n: u64) -> anyhow::Result<Duration> {
    let who = format!("new-{n}");
    let body = json!({"event": "Seen", "userId": who, "writeKey": server.write_key}).to_string();
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server.address)?;
    write!(stream, "POST /v1/track HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains(" 200 "), "{answer}");
    while !read(server, &format!("user:{who}"))? {
        ensure!(begun.elapsed() < Duration::from_secs(30), "{who} is not seen");
    }
    Ok(begun.elapsed())
}
