//! The Rust caller of the fault suite: commands in, one JSON line each; what the client says out. Promises to answer each track as soon as
//! it has returned, so that whoever kills this process knows what was promised. The commands are described in `faults/README.md`.

use std::{
    collections::HashMap,
    io::{BufRead as _, Write as _, stdin, stdout},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use headwater_mobile::{
    Answer, Category, Core, EventOptions, Host, HostFailure, Message, Options, Report, Survives,
    Uploads,
};
use serde_json::{Value, json};

/// What the client said, until it is asked for.
#[derive(Default)]
struct Heard {
    reports: Mutex<Vec<Value>>,
    flushed: Mutex<HashMap<u64, u64>>,
    more: Condvar,
}

impl Host for Heard {
    fn upload_ready(&self) -> Result<(), HostFailure> {
        Ok(())
    }

    fn report(&self, report: Report) -> Result<(), HostFailure> {
        let said = match report {
            Report::Dropped { message_id, reason } => {
                json!({"kind": "dropped", "messageId": message_id, "reason": reason})
            }
            Report::Stopped { status } => json!({"kind": "stopped", "status": status}),
            Report::NotDurable { detail } => json!({"kind": "notDurable", "detail": detail}),
            Report::StateLost { detail } => json!({"kind": "stateLost", "detail": detail}),
            Report::NotSending { detail } => json!({"kind": "notSending", "detail": detail}),
            Report::NoMessages { detail } => json!({"kind": "noMessages", "detail": detail}),
        };
        self.reports.lock().map_err(|_| HostFailure::Threw)?.push(said);
        Ok(())
    }

    fn flushed(&self, token: u64, pending: u64) -> Result<(), HostFailure> {
        self.flushed.lock().map_err(|_| HostFailure::Threw)?.insert(token, pending);
        self.more.notify_all();
        Ok(())
    }

    fn message(&self, _message: Message) -> Result<(), HostFailure> {
        Ok(())
    }

    fn listen_ready(&self) -> Result<(), HostFailure> {
        Ok(())
    }
}

type Outcome = Result<Value, Box<dyn std::error::Error>>;

#[derive(Default)]
struct Caller {
    core: Option<Arc<Core>>,
    heard: Arc<Heard>,
    flushes: u64,
}

impl Caller {
    fn obey(&mut self, command: &Value, say: &mut impl FnMut(&Value)) -> Outcome {
        let text = |name: &str| command[name].as_str().map(str::to_owned);
        let object = |name: &str| command.get(name).map(Value::to_string);
        let number = |name: &str, default: u64| command[name].as_u64().unwrap_or(default);
        if command["do"] == "open" {
            let options = Options {
                write_key: text("writeKey").ok_or("writeKey?")?,
                endpoint: text("endpoint").ok_or("endpoint?")?,
                folder: text("folder").ok_or("folder?")?,
                survives: (command["survives"] == "power").then_some(Survives::Power),
                uploads: (command["uploads"] == "host").then_some(Uploads::Host),
                upload_timeout_ms: command["uploadTimeoutMs"].as_u64(),
                max_events: number("maxEvents", 100_000),
                max_bytes: number("maxBytes", 50 << 20),
                max_age_ms: command["maxAgeMs"].as_u64(),
                gather_ms: number("gatherMs", 100),
                max_batch_events: u32::try_from(number("maxBatchEvents", 100))?,
                consent: answers(&command["consent"])?,
            };
            let heard: Arc<dyn Host> = self.heard.clone();
            self.core = Some(Core::new(options, heard)?);
            return Ok(json!({"ok": true}));
        }
        let core = self.core.as_ref().ok_or("open first")?;
        let options = EventOptions {
            category: text("category").map(|name| category(&name)).transpose()?,
            ..EventOptions::default()
        };
        let recorded = match command["do"].as_str().unwrap_or_default() {
            "track" => {
                let count = number("count", 1);
                let first = command["properties"]["n"].as_u64().unwrap_or(0);
                for n in first..first + count {
                    let mut properties = command["properties"].clone();
                    if count > 1 {
                        properties["n"] = n.into();
                    }
                    let properties = (!properties.is_null()).then(|| properties.to_string());
                    let event = text("event").ok_or("event?")?;
                    let recorded = core.track(event, properties, options.clone())?;
                    say(&json!({"messageId": recorded.message_id, "durable": recorded.durable}));
                }
                return Ok(Value::Null);
            }
            "identify" => core.identify(text("userId"), object("traits"), options)?,
            "screen" => core.screen(text("name"), None, object("properties"), options)?,
            "group" => core.group(text("groupId").ok_or("groupId?")?, object("traits"), options)?,
            "alias" => core.alias(text("userId").ok_or("userId?")?, None, options)?,
            "flush" => {
                self.flushes += 1;
                core.flush(self.flushes, number("timeoutMs", 30_000))?;
                let waited = self.heard.more.wait_timeout_while(
                    self.heard.flushed.lock().map_err(|_| "poisoned")?,
                    Duration::from_secs(120),
                    |flushed| !flushed.contains_key(&self.flushes),
                );
                let flushed = waited.map_err(|_| "poisoned")?.0;
                return Ok(
                    json!({"flushed": flushed.get(&self.flushes).ok_or("no end of the flush")?}),
                );
            }
            "pending" => return Ok(json!({"pending": core.pending()?})),
            "user" => {
                return Ok(json!({"anonymousId": core.anonymous_id()?, "userId": core.user_id()?}));
            }
            "reports" => {
                let mut reports = self.heard.reports.lock().map_err(|_| "poisoned")?;
                return Ok(json!({"reports": std::mem::take(&mut *reports)}));
            }
            "memory" => {
                let status = std::fs::read_to_string("/proc/self/status")?;
                let line =
                    status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("VmRSS?")?;
                let kilobytes: u64 = line.split_whitespace().nth(1).ok_or("VmRSS?")?.parse()?;
                return Ok(json!({"residentBytes": kilobytes * 1024}));
            }
            plain => {
                match plain {
                    "consent" => core.set_consent(answers(&command["answers"])?)?,
                    "reset" => core.reset()?,
                    "background" => core.background()?,
                    "foreground" => core.foreground()?,
                    "online" => core.online()?,
                    "pass" => core.pass(u32::try_from(number("ms", 0))?),
                    "setClockBy" => core.set_clock_by(command["byMs"].as_i64().ok_or("byMs?")?),
                    "close" => core.close(),
                    _ => return Err("unknown command".into()),
                }
                return Ok(json!({"ok": true}));
            }
        };
        Ok(json!({"messageId": recorded.message_id, "durable": recorded.durable}))
    }
}

fn category(name: &str) -> Result<Category, String> {
    Ok(match name {
        "analytics" => Category::Analytics,
        "marketing" => Category::Marketing,
        "functional" => Category::Functional,
        "necessary" => Category::Necessary,
        _ => return Err(format!("no category: {name}")),
    })
}

fn answers(given: &Value) -> Result<HashMap<Category, Answer>, String> {
    let Some(given) = given.as_object() else { return Ok(HashMap::new()) };
    given
        .iter()
        .map(|(name, answer)| {
            let answer = match answer.as_str() {
                Some("pending") => Answer::Pending,
                Some("granted") => Answer::Granted,
                Some("denied") => Answer::Denied,
                _ => return Err(format!("no answer: {answer}")),
            };
            Ok((category(name)?, answer))
        })
        .collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut caller = Caller::default();
    let mut out = stdout().lock();
    let mut failed = None;
    for line in stdin().lock().lines() {
        let mut say = |said: &Value| {
            if let Err(error) = writeln!(out, "{said}").and_then(|()| out.flush()) {
                failed = Some(error);
            }
        };
        let command: Value = serde_json::from_str(&line?)?;
        match caller.obey(&command, &mut say) {
            Ok(Value::Null) => {}
            Ok(said) => say(&said),
            Err(error) => say(&json!({"error": error.to_string()})),
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    Ok(())
}
