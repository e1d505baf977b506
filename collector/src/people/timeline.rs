//! What a person, or an account's people, did: every event in the order in which it happened, across channels, in chapters.
//! Promises a page in steps that grow with the page, not with the history. Deliberately keeps no event: the log has them.

use rusqlite::{Connection, Result, params};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    account, graph,
    profile::{PersonId, moment},
    seen::SESSION_GAP_MS,
};
use crate::event_log::{EventLog, Offset, ReadError, Record};

/// Events that are looked at for one page, where most are not wanted.
const LOOKED_AT: usize = 2_000;

/// What to read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only what is before this one, by [`Page::next`].
    pub before: Option<(i64, Offset)>,
    /// Only events or pages of this name.
    pub name: Option<String>,
    /// Only calls of this kind: `track`, `page`, …
    pub call: Option<String>,
    /// Only what came through this source.
    pub source: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Part of a timeline, the latest first.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// What belongs together: without half an hour's pause in it.
    pub chapters: Vec<Chapter>,
    /// Where to go on, if there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Events that belong here and cannot be read: the log is damaged where they are.
    #[serde(skip_serializing_if = "is_none")]
    pub unreadable: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A visit, a call, a morning of mails.
#[derive(Clone, Debug, Serialize)]
pub struct Chapter {
    /// Its earliest event on this page.
    pub from: String,
    /// Its latest.
    pub to: String,
    /// Through which sources.
    pub sources: Vec<String>,
    /// Its events, the latest first.
    pub moments: Vec<Moment>,
}

/// One event of a timeline.
#[derive(Clone, Debug, Serialize)]
pub struct Moment {
    /// When it happened.
    pub at: String,
    /// In which record.
    pub offset: String,
    /// Who did it.
    pub person: PersonId,
    /// Who told.
    pub source: String,
    /// `track`, `page`, …
    #[serde(rename = "type")]
    pub call: String,
    /// Of the event, page or screen.
    pub name: String,
    /// The record, as readers of the log get it.
    pub event: Box<RawValue>,
    #[serde(skip)]
    time_ms: i64,
}

/// Whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Person(PersonId),
    Account(String),
}

struct Row {
    time_ms: i64,
    record: Offset,
    person: PersonId,
    call: String,
    name: String,
}

/// A page of a timeline; `None` if there is no such account. Blocks: reads the log.
pub(crate) fn timeline(
    db: &Connection,
    log: &EventLog,
    of: &Of,
    wanted: &Wanted,
) -> Result<Option<Page>> {
    let persons: Vec<PersonId> = match of {
        Of::Person(person) => vec![*person],
        Of::Account(id) => match account::people_of(db, id)? {
            Some(people) => people.into_iter().collect(),
            None => return Ok(None),
        },
    };
    let mut nodes = Vec::new();
    for person in persons {
        let members = graph::members(db, person.0)?;
        nodes.extend(members.into_iter().map(|(node, _)| (node, person)));
    }
    let (mut moments, mut before, mut looked_at) = (Vec::new(), wanted.before, 0);
    let mut unreadable = 0;
    let next = loop {
        let at_once = (wanted.limit - moments.len()).max(1) + 1;
        let mut rows = rows(db, &nodes, before, wanted, at_once)?;
        let more = rows.len() == at_once;
        rows.truncate(at_once - 1);
        looked_at += rows.len();
        let last = rows.last().map(|row| (row.time_ms, row.record));
        let (found, lost) = read(log, rows, wanted.source.as_deref());
        moments.extend(found);
        unreadable += lost;
        match (more, last) {
            (false, _) | (true, None) => break None,
            (true, Some(last)) if moments.len() >= wanted.limit || looked_at >= LOOKED_AT => {
                break Some(format!("{}-{}", last.0, last.1));
            }
            (true, last) => before = last,
        }
    };
    Ok(Some(Page { chapters: chapters(moments), next, unreadable }))
}

/// The latest of several timelines before a point.
fn rows(
    db: &Connection,
    nodes: &[(graph::Node, PersonId)],
    before: Option<(i64, Offset)>,
    wanted: &Wanted,
    limit: usize,
) -> Result<Vec<Row>> {
    let (time, record) =
        before.map_or((i64::MAX, i64::MAX), |(time, record)| (time, record.to_number()));
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(
        "SELECT m.time, m.record, m.call, n.text FROM moment m JOIN name n ON n.id = m.name
         WHERE m.identifier = ?1 AND (m.time, m.record) < (?2, ?3)
           AND (?4 IS NULL OR n.text = ?4) AND (?5 IS NULL OR m.call = ?5)
         ORDER BY m.time DESC, m.record DESC LIMIT ?6",
    )?;
    let mut all = Vec::new();
    for (node, person) in nodes {
        let parameters = params![node, time, record, wanted.name, wanted.call, most];
        let rows = query.query_map(parameters, |row| {
            Ok(Row {
                time_ms: row.get(0)?,
                record: Offset::from_number(row.get(1)?),
                person: *person,
                call: row.get(2)?,
                name: row.get(3)?,
            })
        })?;
        for row in rows {
            all.push(row?);
        }
    }
    all.sort_by_key(|row| std::cmp::Reverse((row.time_ms, row.record)));
    all.truncate(limit);
    Ok(all)
}

/// The events themselves, and how many cannot be read. Those that are gone, by erasure or retention, are left out.
fn read(log: &EventLog, rows: Vec<Row>, source: Option<&str>) -> (Vec<Moment>, u64) {
    let offsets: Vec<Offset> = rows.iter().map(|row| row.record).collect();
    let (found, unreadable) = read_records(log, &offsets);
    let read = rows.into_iter().zip(found).filter_map(|(row, record)| {
        let record = record?;
        if source.is_some_and(|source| *record.source != *source) {
            return None;
        }
        let event = as_read(&record)?;
        Some(Moment {
            at: moment(row.time_ms),
            offset: row.record.to_string(),
            person: row.person,
            source: record.source.to_string(),
            call: row.call,
            name: row.name,
            event,
            time_ms: row.time_ms,
        })
    });
    (read.collect(), unreadable)
}

/// A record as readers of the log get it.
pub(super) fn as_read(record: &Record) -> Option<Box<RawValue>> {
    let mut line = Vec::new();
    record.write_line(&mut line);
    RawValue::from_string(String::from_utf8(line).ok()?).ok()
}

/// The records at these offsets, in their order, and how many cannot be read.
pub(super) fn read_records(log: &EventLog, offsets: &[Offset]) -> (Vec<Option<Record>>, u64) {
    let (mut reader, mut unreadable) = (log.reader(None), 0);
    // In the log's order, in which what was written together is read once.
    let mut order: Vec<usize> = (0..offsets.len()).collect();
    order.sort_by_key(|index| offsets[*index]);
    let mut found: Vec<Option<Record>> = offsets.iter().map(|_| None).collect();
    for index in order {
        let wanted = offsets[index];
        reader.seek(wanted.before());
        match reader.next_chunk(1) {
            Ok(records) => {
                found[index] = records.into_iter().next().filter(|record| record.offset == wanted);
            }
            Err(ReadError::Damaged { .. }) => unreadable += 1,
            Err(ReadError::Io(error)) => {
                unreadable += 1;
                tracing::warn!(%error, "an event of somebody's cannot be read");
            }
        }
    }
    (found, unreadable)
}

fn chapters(moments: Vec<Moment>) -> Vec<Chapter> {
    let mut chapters: Vec<Chapter> = Vec::new();
    let mut earliest = i64::MIN;
    for moment in moments {
        let goes_on = earliest != i64::MIN && earliest - moment.time_ms <= SESSION_GAP_MS;
        earliest = moment.time_ms;
        if !goes_on {
            chapters.push(Chapter {
                from: moment.at.clone(),
                to: moment.at.clone(),
                sources: Vec::new(),
                moments: Vec::new(),
            });
        }
        let Some(chapter) = chapters.last_mut() else { continue };
        chapter.from.clone_from(&moment.at);
        if !chapter.sources.contains(&moment.source) {
            chapter.sources.push(moment.source.clone());
        }
        chapter.moments.push(moment);
    }
    chapters
}
