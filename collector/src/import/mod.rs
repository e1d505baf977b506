//! `headwater import`: lines of JSON become stored events: what `export` or `GET /v1/events` wrote, or plain Segment events; and
//! with a mapping, the rows of any table ([`mapped`]).
//! Promises that a bad line costs no other and is named by its number, and that the same file imported twice is stored once,
//! as far as the memory of ids reaches. Deliberately only for a folder that no server holds: one log has one writer.

pub mod mapped;

use std::{
    io::{self, BufRead, Read as _},
    path::Path,
    sync::Arc,
};

use serde::Deserialize as _;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::{
    decode::{Member, Shape, WireBatch},
    event_log::{
        AppendError, Appended, Clock, EventLog, FileSystem, Flags, NewEvent, OpenError, Options,
        Origin, Sequence, SourceName, Timestamp, Trust, system_clock,
    },
    event_time,
    export::Beside,
    limits::{MAX_BATCH_BYTES, MAX_BODY_BYTES},
    people,
    state::{State, StateError},
    suppressed::Suppressed,
    validate::{Memory, Sender, Validated, validate},
};

/// What became of the lines so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines read, empty ones included.
    pub lines: u64,
    /// Events stored.
    pub accepted: u64,
    /// Events that were there already, or stood twice.
    pub duplicate: u64,
    /// Lines that hold no event that can be taken.
    pub refused: u64,
    /// What a mapping wants nothing of.
    pub ignored: u64,
}

/// Why an import ended early. What was stored until then stays; importing the file again stores the rest.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Stop the server, or send the events to it.
    #[error(
        "a server holds this folder; stop it for the time of the import, or post the events to it (/v1/batch)"
    )]
    InUse,
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(OpenError),
    /// Who was erased cannot be told.
    #[error(transparent)]
    State(#[from] StateError),
    /// The lines cannot be read.
    #[error("line {line} cannot be read: {cause}")]
    Unreadable {
        /// Counted from 1.
        line: u64,
        /// What the system said.
        cause: io::Error,
    },
    /// The log does not take more.
    #[error("up to line {line} not everything is stored, run the import again: {cause}")]
    NotStored {
        /// The last line of those that were not stored, from 1.
        line: u64,
        /// Why.
        cause: AppendError,
    },
}

/// Tells of the import while it goes on.
pub trait Progress {
    /// A line is not taken; the number counts from 1.
    fn refused(&mut self, line: u64, why: &str);
    /// So much is done, and durable.
    fn reached(&mut self, imported: Imported);
}

/// Events in one commit, and bytes of their JSON: some ten commits of a busy server.
const BATCH_EVENTS: usize = 4096;
const BATCH_BYTES: usize = 2 << 20;
/// An event, and as much again for what stands beside it.
const MAX_LINE_BYTES: usize = 2 * MAX_BATCH_BYTES;

/// Stores the events of the lines. `source` is for lines that do not say theirs. Blocks on `lines` and on the disk.
pub async fn import(
    data: &Path,
    lines: &mut impl BufRead,
    source: Option<&SourceName>,
    progress: &mut impl Progress,
) -> Result<Imported, ImportError> {
    let mut importing = Importing::begin(data, progress)?;
    let mut line = Vec::new();
    while importing.next_line(lines, &mut line)? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match event(&line, source, &importing.clock, importing.suppressed.as_ref()) {
            Ok(event) => importing.add(event).await?,
            Err(why) => importing.refuse(&why),
        }
    }
    importing.finish().await
}

/// Events on their way from a file into a log.
struct Importing<'p, P> {
    log: EventLog,
    clock: Clock,
    suppressed: Option<Suppressed>,
    imported: Imported,
    batch: Vec<NewEvent<'static>>,
    bytes: usize,
    progress: &'p mut P,
}

impl<'p, P: Progress> Importing<'p, P> {
    fn begin(data: &Path, progress: &'p mut P) -> Result<Self, ImportError> {
        let folder = |cause| ImportError::Folder(OpenError::Io(cause));
        crate::create_private(data).map_err(folder)?;
        let (disk, clock) = (Arc::new(FileSystem), system_clock());
        let opened =
            EventLog::open(&data.join("log"), Options::default(), disk, Arc::clone(&clock));
        let (log, _) = opened.map_err(|error| match error {
            OpenError::InUse(_) => ImportError::InUse,
            other => ImportError::Folder(other),
        })?;
        let state = data.join("state.db");
        let suppressed = match state.exists() {
            true => Some(State::open(&state).and_then(|state| Suppressed::read(&state))?),
            // Nobody was erased from a new folder.
            false => None,
        };
        let imported = Imported::default();
        Ok(Self { log, clock, suppressed, imported, batch: Vec::new(), bytes: 0, progress })
    }

    /// Counts it too. False at the end.
    fn next_line(
        &mut self,
        lines: &mut impl BufRead,
        line: &mut Vec<u8>,
    ) -> Result<bool, ImportError> {
        let unreadable = |cause| ImportError::Unreadable { line: self.imported.lines + 1, cause };
        let more = next_line(lines, line).map_err(unreadable)?;
        self.imported.lines += u64::from(more);
        Ok(more)
    }

    /// Of the line that was read last.
    fn refuse(&mut self, why: &str) {
        self.imported.refused += 1;
        self.progress.refused(self.imported.lines, why);
    }

    async fn add(&mut self, event: NewEvent<'static>) -> Result<(), ImportError> {
        self.bytes += event.json.len();
        self.batch.push(event);
        if self.batch.len() >= BATCH_EVENTS || self.bytes >= BATCH_BYTES {
            self.store().await?;
        }
        Ok(())
    }

    async fn store(&mut self) -> Result<(), ImportError> {
        let appended = self.log.append(std::mem::take(&mut self.batch)).await;
        self.bytes = 0;
        let line = self.imported.lines;
        for outcome in appended.map_err(|cause| ImportError::NotStored { line, cause })? {
            match outcome {
                Appended::Accepted => self.imported.accepted += 1,
                Appended::Duplicate => self.imported.duplicate += 1,
            }
        }
        self.progress.reached(self.imported);
        Ok(())
    }

    async fn finish(mut self) -> Result<Imported, ImportError> {
        self.store().await?;
        self.log.close();
        Ok(self.imported)
    }
}

/// Reads a line without its end; of one that is too long, only enough to see that. False at the end.
fn next_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let most = MAX_LINE_BYTES as u64 + 1;
    if lines.take(most).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.len() > MAX_LINE_BYTES && !line.ends_with(b"\n") {
        let mut rest = Vec::new();
        while lines.take(most).read_until(b'\n', &mut rest)? > 0 && !rest.ends_with(b"\n") {
            rest.clear();
        }
    }
    Ok(true)
}

/// The members that the log itself writes, in its order, before those of the event.
const OWN: [&str; 12] = [
    "log",
    "offset",
    "receivedAt",
    "source",
    "trust",
    "origin",
    "derivedBy",
    "derivedDepth",
    "orderKey",
    "timestamp",
    "originalTimestamp",
    "test",
];

/// What a line says of its event, apart from the event itself.
#[derive(Default)]
struct Told {
    source: Option<SourceName>,
    trust: Option<Trust>,
    derived_by: Option<String>,
    order_key: Option<String>,
    time: Option<Timestamp>,
    claimed: Option<Timestamp>,
    beside: Beside,
}

fn event(
    line: &[u8],
    source: Option<&SourceName>,
    clock: &Clock,
    suppressed: Option<&Suppressed>,
) -> Result<NewEvent<'static>, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("too_large: a line has at most {MAX_LINE_BYTES} bytes"));
    }
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
    // Also that nothing stands behind the object.
    let whole: &RawValue =
        serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let members = WireBatch::members_of(whole.get()).ok_or("not a JSON object")?;
    let written_by_a_log =
        members.iter().find(|(name, _)| name != "log").is_some_and(|(name, _)| name == "offset");
    let (own, told) =
        if written_by_a_log { told_by_a_log(&members)? } else { (0, times(&members)) };

    let source = told.source.as_ref().or(source);
    let source = source.ok_or("no `source`: name one for such lines with --source")?;
    let received_at = clock();
    let sender = Sender {
        trust: told.trust.unwrap_or(Trust::Client),
        // What a source's own limit let in, and the collector added to it, is let in again.
        max_event_bytes: MAX_BODY_BYTES,
        is_ours: written_by_a_log,
        suppressed,
        ..Sender::new(source.clone(), received_at)
    };
    let mut body = String::with_capacity(text.len() + 16);
    body.push_str("{\"batch\":[{");
    for (at, (name, value)) in members[own..].iter().enumerate() {
        let name = serde_json::to_string(name).map_err(|error| error.to_string())?;
        body.extend([if at == 0 { "" } else { "," }, &name, ":", value.get()]);
    }
    body.push_str("}]}");
    let batch =
        WireBatch::parse(body.as_bytes(), Shape::Batch).map_err(|why| format!("{why:?}"))?;
    // Made of what the line says, so that the same line is the same event the next time.
    let id = || format!("import-{}", hex(&Sha256::digest(line.trim_ascii())[..16]));
    let memory = Memory::new();
    let Validated { mut events, refused, .. } =
        validate(&batch, Shape::Batch, &sender, &memory, id);
    let Some(event) = events.pop().map(NewEvent::into_owned) else {
        let why = refused.first().map(|it| format!("{}: {}", it.reason.as_str(), it.detail));
        return Err(why.unwrap_or_default());
    };
    let Beside { queue, seq, schema_version, test, no_actions, identity } = told.beside;
    // What it was sent at, long ago, says nothing about a clock now: the time told is the time meant.
    let event_time = told.time.map(|time| event_time::corrected(Some(time), None, received_at));
    // What operators decided about people counts in the new log as it did in the old one.
    let decided = told.derived_by.filter(|by| people::said_by_us(source, by));
    Ok(NewEvent {
        origin: decided.map_or(Origin::Import, |by| Origin::Derived { by: by.into(), depth: 1 }),
        order_key: told.order_key.map_or(event.order_key, Into::into),
        sequence: queue
            .map(|queue| Sequence { queue: String::from(queue).into(), seq })
            .or(event.sequence),
        event_time,
        claimed_time: told.claimed,
        schema_version,
        flags: Flags { test, no_actions, erased: false, identity },
        ..event
    })
}

/// How many of the first members are the log's, and what they say.
fn told_by_a_log(members: &[Member<'_>]) -> Result<(usize, Told), String> {
    let (mut told, mut own) = (Told::default(), 0);
    let mut names = OWN.iter();
    for (name, value) in members {
        // In their order, each once: an event may have members of the same names behind them.
        if !names.any(|known| known == name) {
            break;
        }
        own += 1;
        let wrong = |error: serde_json::Error| format!("`{name}`: {error}");
        let text = || String::deserialize(*value).map_err(wrong);
        match &**name {
            "log" => told.beside = serde_json::from_str(value.get()).map_err(wrong)?,
            "source" => {
                let source = text()?.parse().map_err(|error| format!("`source`: {error}"))?;
                told.source = Some(source);
            }
            "trust" => {
                told.trust = Some(match text()?.as_str() {
                    "client" => Trust::Client,
                    "server" => Trust::Server,
                    other => return Err(format!("`trust` is client or server, not `{other}`")),
                });
            }
            "derivedBy" => told.derived_by = Some(text()?),
            "orderKey" => told.order_key = Some(text()?),
            "timestamp" => told.time = event_time::parse(&text()?),
            "originalTimestamp" => told.claimed = event_time::parse(&text()?),
            _ => {}
        }
    }
    Ok((own, told))
}

/// The times of an event that another product wrote.
fn times(members: &[Member<'_>]) -> Told {
    let time = |wanted: &str| {
        let (_, value) = members.iter().rev().find(|(name, _)| name == wanted)?;
        event_time::parse(&String::deserialize(*value).ok()?)
    };
    Told { time: time("timestamp"), claimed: time("originalTimestamp"), ..Told::default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
