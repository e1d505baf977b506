//! `headwater export`: stored events as lines of JSON, the ones that consumers read, with what an import needs beside them.
//! Promises the order of the log and one line an event; a server may go on writing, what it stores later is not in it.
//! Deliberately does not stop at damage: it says what is missing. Erased events are not missing, they are gone.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::event_log::{
    Check, Flags, Identity, Offset, ReadError, ReadOnly, Record, Sequence, Snapshot, SourceName,
};

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those after this one; all without it.
    pub after: Option<Offset>,
    /// Those of this source; all without it.
    pub source: Option<SourceName>,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines.
    pub events: u64,
    /// What could not be read, in words.
    pub unreadable: Vec<String>,
}

/// What a line says of a record besides what consumers are told: the member `log`, the line's first, where there is any.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Beside {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<Box<str>>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) seq: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) schema_version: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) test: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_actions: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) identity: Identity,
}

/// Records read, then written, at a time.
const CHUNK: usize = 1024;

/// Writes the events of a data folder, one a line.
pub fn export(data: &Path, selection: &Selection, out: &mut impl Write) -> io::Result<Exported> {
    let snapshot = Snapshot::take(Arc::new(ReadOnly), &data.join("log"), Check::Headers)?;
    let mut reader = snapshot.reader(selection.after);
    let (mut exported, mut lines) = (Exported::default(), Vec::new());
    loop {
        let records = match reader.next_chunk(CHUNK) {
            Ok(records) if records.is_empty() => break,
            Ok(records) => records,
            Err(ReadError::Io(error)) => return Err(error),
            Err(damaged @ ReadError::Damaged { .. }) => {
                exported.unreadable.push(damaged.to_string());
                continue;
            }
        };
        lines.clear();
        for record in &records {
            let wanted = selection.source.as_ref().is_none_or(|source| *source == record.source);
            if wanted {
                write_line(record, &mut lines)?;
                exported.events += 1;
            }
        }
        out.write_all(&lines)?;
    }
    out.flush()?;
    Ok(exported)
}

fn write_line(record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
    let Flags { test, no_actions, erased: _, identity } = record.flags;
    let sequence = record.sequence.as_ref();
    let is_marked = test || no_actions || identity != Identity::Unasked;
    if sequence.is_some() || is_marked || record.schema_version != 0 {
        let beside = Beside {
            queue: sequence.map(|sequence: &Sequence<'_>| sequence.queue.as_ref().into()),
            seq: sequence.map_or(0, |sequence| sequence.seq),
            schema_version: record.schema_version,
            test,
            no_actions,
            identity,
        };
        out.extend_from_slice(b"{\"log\":");
        serde_json::to_writer(&mut *out, &beside)?;
        let end = out.len();
        record.write_line(out);
        // The line's own brace becomes the comma between the two.
        out[end] = b',';
    } else {
        record.write_line(out);
    }
    out.push(b'\n');
    Ok(())
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}
