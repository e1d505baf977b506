//! The ingest benchmark: how many events a second the real `headwater` binary makes durable and acknowledges, beside a program
//! that does the least that could be called the same, in turns on the same machine.
//! Promises that every figure is the median of interleaved runs, and that a run whose acknowledged events are not all in the
//! log, once each, ends the benchmark with an error. Deliberately sets no thresholds: what must be reached is said elsewhere.
//!
//! `HEADWATER_BENCH_SECONDS` (3) is the time of a run, `HEADWATER_BENCH_RUNS` (3) how many there are of each kind.

mod events;
mod floor;
mod load;
mod noise;
mod server;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;

use crate::{
    events::Shape,
    load::CONNECTIONS,
    noise::Ticks,
    server::{FLOOR, Program, Server},
};

/// What one run measured.
struct Run {
    events_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    peak_mb: f64,
    disk_bytes_per_event: f64,
    cpu_us_per_event: f64,
    /// Share of the machine that others had.
    others: f64,
    event_bytes: usize,
}

/// The runs of one program with one shape of requests.
struct Row {
    program: Program,
    runs: Vec<Run>,
}

/// A clock tick in `/proc`: a hundredth of a second on every Linux that Rust runs on.
const TICK_US: u64 = 10_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, folder] = &arguments[..]
        && mode == FLOOR
    {
        return floor::serve(Path::new(folder));
    }
    let seconds: f64 = setting("HEADWATER_BENCH_SECONDS", 3.0)?;
    let runs: usize = setting("HEADWATER_BENCH_RUNS", 3)?;
    let measured = Duration::try_from_secs_f64(seconds)?;
    // The build's own folder is on a real disk; the system's temporary one is often in memory.
    let folder = tempfile::Builder::new()
        .prefix("bench-ingest-")
        .tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR")))?;

    let mut tables = Vec::new();
    for shape in [Shape::Batches, Shape::Single] {
        let row = |program| Row { program, runs: Vec::new() };
        let mut rows = [row(Program::Ours), row(Program::Floor)];
        for run in 1..=runs {
            for row in &mut rows {
                let name = row.program.name();
                progress(format_args!("{}, {run}/{runs}: {name} …", shape.name()));
                let done = measure(row.program, shape, measured, folder.path())
                    .with_context(|| format!("{name}, {}", shape.name()))?;
                progress(format_args!(" {:.0} events/s\n", done.events_per_second));
                row.runs.push(done);
            }
        }
        tables.push((shape, rows));
    }
    print(&tables, seconds, runs)
}

fn measure(
    program: Program,
    shape: Shape,
    measured: Duration,
    folder: &Path,
) -> anyhow::Result<Run> {
    let server = Server::start(program, folder)?;
    let before = Ticks::now(server.id())?;
    let load = load::run(server.address, &server.write_key, shape, measured)?;
    let acknowledged: usize = load.acknowledged.iter().sum();
    let peak = server.peak_memory()?;
    let after = Ticks::now(server.id())?;
    if program == Program::Ours {
        server.check_log(&load.acknowledged)?;
    }
    let disk = server.stop()?;
    let each = |total: u64| total as f64 / acknowledged as f64;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok(Run {
        events_per_second: load.events_per_second,
        p50_ms: ms(load.p50),
        p99_ms: ms(load.p99),
        peak_mb: peak as f64 / 1e6,
        disk_bytes_per_event: each(disk),
        cpu_us_per_event: each((after.server - before.server) * TICK_US),
        others: after.others_since(before),
        event_bytes: load.event_bytes,
    })
}

impl Row {
    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        f64::midpoint(low, high)
    }

    /// The least and the most.
    fn range(&self) -> (f64, f64) {
        let rates = self.runs.iter().map(|run| run.events_per_second);
        rates.fold((f64::MAX, 0.0), |(least, most), rate| (rate.min(least), rate.max(most)))
    }
}

/// A table for people, and a line of JSON for programs.
fn print(tables: &[(Shape, [Row; 2])], seconds: f64, runs: usize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut results = Vec::new();
    writeln!(out, "{CONNECTIONS} connections, median of {runs} runs of {seconds} s each\n")?;
    writeln!(
        out,
        "| requests | program | events/s | range | p50 ms | p99 ms | peak MB | disk B/event | CPU us/event | others had |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|")?;
    for (shape, rows) in tables {
        for row in rows {
            let (least, most) = row.range();
            let rate = row.median(|run| run.events_per_second);
            let (p50, p99) = (row.median(|run| run.p50_ms), row.median(|run| run.p99_ms));
            let (peak, disk) =
                (row.median(|run| run.peak_mb), row.median(|run| run.disk_bytes_per_event));
            let cpu = row.median(|run| run.cpu_us_per_event);
            let others = row.median(|run| run.others);
            writeln!(
                out,
                "| {} | {} | {rate:.0} | {least:.0}–{most:.0} | {p50:.2} | {p99:.2} | {peak:.0} | {disk:.0} | {cpu:.2} | {:.0} % |",
                shape.name(),
                row.program.name(),
                others * 100.0,
            )?;
            results.push(json!({
                "requests": shape.name(), "program": row.program.name(), "events_per_second": rate.round(),
                "least": least.round(), "most": most.round(), "p50_ms": p50, "p99_ms": p99,
                "peak_mb": peak, "disk_bytes_per_event": disk, "cpu_us_per_event": cpu, "others": others,
                "event_bytes": row.runs.first().map(|run| run.event_bytes),
            }));
        }
    }
    writeln!(out)?;
    let mut ratios = serde_json::Map::new();
    for (shape, [ours, floor]) in tables {
        let rate = |row: &Row| row.median(|run| run.events_per_second);
        let ratio = rate(ours) / rate(floor);
        writeln!(out, "{}: {:.0} % of the floor", shape.name(), ratio * 100.0)?;
        ratios.insert(shape.name().to_owned(), json!(ratio));
    }
    let line = json!({
        "benchmark": "ingest", "connections": CONNECTIONS, "seconds": seconds, "runs": runs,
        "ratio_to_floor": ratios, "results": results,
    });
    writeln!(out, "{line}")?;
    Ok(())
}

fn setting<T>(name: &str, default: T) -> anyhow::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(default),
    }
}

/// Says on standard error how far it is.
fn progress(text: std::fmt::Arguments<'_>) {
    // Nobody is there to tell if that is closed.
    drop(std::io::stderr().write_fmt(text));
}
