//! Many timers that are due at the same moment: how long it takes until all have fired.
//! Promises that each has fired before a figure is printed. Knows nothing of how they wait.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use headwater_collector::event_log::Timestamp;
use serde_json::{Value, json};

use crate::{
    server::{Program, Server},
    standing::ask,
};

/// How many.
const TIMERS: u64 = 10_000;
/// How long before they are due they are set.
const BEFORE: Duration = Duration::from_secs(8);
const RULES: &str = "[rules.ring]\non = 'Trial Begun'\nat = 'event.properties.ends'\nthen = [{ set = { trial = 'over' }, expires = '1h' }]\n";

/// Prints it.
pub(crate) fn run(folder: &Path) -> anyhow::Result<()> {
    let (rules, config) = (folder.join("timers"), folder.join("timers.toml"));
    std::fs::create_dir_all(&rules)?;
    std::fs::write(rules.join("rules.toml"), RULES)?;
    std::fs::write(
        &config,
        format!("rules = '{}'\nactions_per_minute = 1000000\n", rules.display()),
    )?;
    let server = Server::start_with(Program::Ours, folder, Some(&config))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let (due, begun) = (now + BEFORE, Instant::now());
    let ends = Timestamp::from_unix_ms(i64::try_from(due.as_millis())?).to_string();
    for first in (0..TIMERS).step_by(100) {
        let event = |n: u64| {
            json!({"type": "track", "event": "Trial Begun", "userId": format!("u-{n}"),
                   "messageId": format!("t-{n}"), "properties": {"ends": ends}})
        };
        let batch: Vec<Value> = (first..first + 100).map(event).collect();
        let body = json!({"writeKey": server.write_key, "batch": batch}).to_string();
        ensure!(ask(&server, "POST", "/v1/batch", &body)?.0 == 200, "the events are not taken");
    }
    ensure!(begun.elapsed() < BEFORE, "setting the timers took longer than they wait");
    ensure!(fired(&server)? == 0, "a timer fired before it was due");
    let mut late = Duration::ZERO;
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        if now >= due {
            late = now - due;
            if fired(&server)? == TIMERS {
                break;
            }
        }
        ensure!(late < Duration::from_secs(60), "{} of {TIMERS} timers fired", fired(&server)?);
        std::thread::sleep(Duration::from_millis(10));
    }
    println!(
        "\n{TIMERS} timers due at the same moment: all have fired after {:.2} s (limit 1 s: {:.2} of it)",
        late.as_secs_f64(),
        late.as_secs_f64()
    );
    Ok(())
}

fn fired(server: &Server) -> anyhow::Result<u64> {
    let rules: Value = serde_json::from_str(&ask(server, "GET", "/v1/rules", "")?.1)?;
    rules["rules"][0]["fired"].as_u64().context("a rule says how often it has fired")
}
