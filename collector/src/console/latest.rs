//! What came in last, over all people: the end of the log, each record with the person it is of.
//! Promises a bounded look at the log's end, whatever its size. Deliberately keeps nothing.

use std::collections::BTreeMap;

use tokio::task::spawn_blocking;

use super::{story, words::When};
use crate::{
    desk::{Desk, DeskError},
    event_log::{Offset, Record},
    people, rules,
};

/// Somebody who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// What came in.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) offset: String,
    pub(crate) at: When,
    pub(crate) what: String,
    pub(crate) source: String,
    /// Nobody, where the event names nobody.
    pub(crate) who: Option<Who>,
}

/// The records behind `after` up to `end`, at most the last `most`, the latest first.
pub(crate) async fn came(
    desk: &Desk,
    (after, end): (Offset, Offset),
    most: u32,
) -> Result<Vec<Came>, DeskError> {
    let (readers, log) = (desk.projection.readers.clone(), desk.log.clone());
    let came = spawn_blocking(move || {
        let first = Offset::from_number((end.to_number() - i64::from(most)).max(0)).max(after);
        let mut reader = log.reader(Some(first));
        let mut records = Vec::new();
        while let Ok(more) = reader.next_chunk(most as usize) {
            let more: Vec<_> = more.into_iter().take_while(|record| record.offset <= end).collect();
            if more.is_empty() {
                break;
            }
            records.extend(more);
        }
        readers.read(|db| {
            let mut known = BTreeMap::new();
            let mut came = Vec::new();
            for record in records.iter().rev() {
                came.push(tell(db, record, &mut known)?);
            }
            Ok(came)
        })
    });
    Ok(came.await??)
}

fn tell(
    db: &rusqlite::Connection,
    record: &Record,
    known: &mut BTreeMap<people::PersonId, Who>,
) -> rusqlite::Result<Came> {
    let event: serde_json::Value = serde_json::from_str(&record.json).unwrap_or_default();
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let call = text("type");
    let name = if call == "track" { text("event") } else { text("name") };
    let person = match people::person_of_record(db, record)? {
        None => rules::done_for(db, record)?,
        some => some,
    };
    let who = match person {
        None => None,
        Some(person) => match known.get(&person) {
            Some(who) => Some(who.clone()),
            None => {
                let profile = people::profile(db, person)?;
                let who = Who { id: profile.id.to_string(), name: profile.name };
                known.insert(person, who.clone());
                Some(who)
            }
        },
    };
    Ok(Came {
        offset: record.offset.to_string(),
        at: When::at(record.received_at),
        what: story::in_one(call, name, &event),
        source: record.source.to_string(),
        who,
    })
}

/// The people among them, each once.
pub(crate) fn people(came: &[Came]) -> Vec<(Who, &Came)> {
    let mut seen: Vec<(Who, &Came)> = Vec::new();
    for one in came {
        if let Some(who) = &one.who
            && !seen.iter().any(|(known, _)| known.id == who.id)
        {
            seen.push((who.clone(), one));
        }
    }
    seen
}
