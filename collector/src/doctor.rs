//! `headwater doctor`: whether everything that was stored can be read, and if not, what and where.
//! Promises to change nothing, so that it may look at a copy, or at the folder of a running server.
//! Deliberately repairs nothing: what is lost here must come from a backup.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use serde::Serialize;

use crate::event_log::{Check, Harm, ReadOnly, Snapshot};

/// What the doctor found, in the words and the order in which it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing that was stored is lost.
    pub sound: bool,
    /// A server holds the folder; `None` if that cannot be told.
    pub in_use: Option<bool>,
    /// Records that can be read.
    pub events: u64,
    /// Offsets between the first and the last that have no record which can be read.
    pub missing_offsets: u64,
    /// Offset of the first record; `None` in an empty log.
    pub first: Option<String>,
    /// Offset of the last record.
    pub last: Option<String>,
    /// Files of the log.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Records that cannot be read.
    pub damage: Vec<Lost>,
    /// Files whose header is damaged although their records can be read.
    pub damaged_headers: Vec<String>,
    /// What was being written when the power or the process went: it was never acknowledged, and the next start cuts it off.
    /// While a server runs, what it is writing now.
    pub torn: Option<Torn>,
    /// Device queues seen.
    pub queues: u64,
    /// What each source's devices numbered, and what of it has not come.
    pub sources: BTreeMap<String, Numbers>,
}

/// A run of records that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The file.
    pub segment: String,
    /// Byte in it.
    pub position: u64,
    /// `altered` or `absent`.
    pub harm: &'static str,
    /// Offset of the first such record.
    pub first: String,
    /// Offset of the last.
    pub last: String,
    /// How many.
    pub records: u64,
}

/// The end of the last file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Torn {
    /// The file.
    pub segment: String,
    /// Byte in it.
    pub position: u64,
    /// Bytes from there on.
    pub bytes: u64,
}

/// Sequence numbers of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Numbers {
    /// Runs of numbers that neither came nor were reported dropped.
    pub open_gaps: u64,
    /// Numbers in them.
    pub missing: u64,
    /// Numbers reported dropped.
    pub dropped: u64,
    /// Numbers that were not followed.
    pub untracked: u64,
}

/// Reads every byte of the log in the data folder. The error is why it could not.
pub fn examine(data: &Path) -> io::Result<Report> {
    let dir = data.join("log");
    let snapshot = Snapshot::take(Arc::new(ReadOnly), &dir, Check::Everything)?;
    let survey = snapshot.survey();
    let lost = |damage: &crate::event_log::Damage| {
        let (first, last) = damage.offsets;
        Lost {
            segment: damage.segment.clone(),
            position: damage.position,
            harm: match damage.harm {
                Harm::Altered => "altered",
                Harm::Absent => "absent",
            },
            first: first.to_string(),
            last: last.to_string(),
            records: last.since(first) + 1,
        }
    };
    let damage: Vec<Lost> = survey.damaged.iter().map(lost).collect();
    let not_empty = survey.end >= survey.first;
    Ok(Report {
        sound: damage.is_empty() && survey.headless.is_empty(),
        in_use: ReadOnly.is_held(&dir).ok(),
        events: survey.events,
        missing_offsets: damage.iter().map(|lost| lost.records).sum(),
        first: not_empty.then(|| survey.first.to_string()),
        last: not_empty.then(|| survey.end.to_string()),
        segments: survey.segments,
        bytes: survey.bytes,
        damage,
        damaged_headers: survey.headless.clone(),
        torn: survey.cut.as_ref().map(|cut| Torn {
            segment: cut.segment.clone(),
            position: cut.position,
            bytes: cut.bytes,
        }),
        queues: survey.queues,
        sources: survey
            .sequences
            .iter()
            .map(|(source, counts)| {
                let numbers = Numbers {
                    open_gaps: counts.open_gaps,
                    missing: counts.missing,
                    dropped: counts.dropped,
                    untracked: counts.untracked,
                };
                (source.to_string(), numbers)
            })
            .collect(),
    })
}

impl Report {
    /// For people.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        if self.in_use == Some(true) {
            writeln!(out, "a server holds this folder; this is what it had stored a moment ago")?;
        }
        match (&self.first, &self.last) {
            (Some(first), Some(last)) => {
                writeln!(out, "{} events, offsets {first} to {last}", self.events)?;
            }
            _ => writeln!(out, "no events")?,
        }
        writeln!(out, "{} bytes in {} segments, every checksum read", self.bytes, self.segments)?;
        for Lost { segment, position, harm, first, last, records } in &self.damage {
            let what = if *harm == "absent" { "missing" } else { "damaged" };
            writeln!(
                out,
                "{what}: {records} events, offsets {first} to {last}: {segment}, byte {position}"
            )?;
        }
        for segment in &self.damaged_headers {
            writeln!(out, "damaged header, its events can be read: {segment}")?;
        }
        if let Some(Torn { segment, position, bytes }) = &self.torn {
            let why = match self.in_use {
                Some(true) => "being written",
                _ => "torn by a crash, never acknowledged; the next start cuts it off",
            };
            writeln!(out, "{why}: {segment}, byte {position}, {bytes} bytes")?;
        }
        for (source, numbers) in &self.sources {
            writeln!(
                out,
                "source {source}: {} open gaps, {} events missing in them, {} reported dropped",
                numbers.open_gaps, numbers.missing, numbers.dropped
            )?;
        }
        writeln!(out, "{}", if self.sound { "sound" } else { "DAMAGED: restore from a backup" })
    }

    /// For programs: one JSON object.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        writeln!(out)
    }
}
