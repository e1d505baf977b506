//! How far consumers have got, what operators order of them, and what becomes of parked events: pauses, replays, what is to be
//! delivered again. Promises that an order that was answered is on disk, and that a cursor and what is done above it change
//! together. Deliberately does not carry any order out: the consumer does.

use std::ops::RangeInclusive;

use rusqlite::{OptionalExtension as _, params};

use super::{Parked, State, StateError};
use crate::{
    config::Name,
    event_log::{Offset, Timestamp},
    limits::MAX_REPLAYS,
};

/// A consumer that delivers nothing until someone resumes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// `operator`, or `destination`, which said that it wants nothing more.
    pub by: String,
    /// What was said.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A range of the log that is delivered once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Names it.
    pub number: i64,
    /// Up to here it is done.
    pub after: Offset,
    /// The last record of it.
    pub upto: Offset,
}

/// How far a consumer has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Everything up to here is done.
    pub after: Offset,
    /// And so are these records above it, in order.
    pub done_above: Vec<RangeInclusive<Offset>>,
}

/// Tokens are canonical decimals, so the longer one is the later.
const IN_ORDER: &str = "ORDER BY length(record), record";

impl State {
    /// Up to where the consumer is done with everything; `None` before its first progress.
    pub fn cursor(&self, consumer: &Name) -> Result<Option<Offset>, StateError> {
        Ok(self.reached(consumer)?.map(|reached| reached.after))
    }

    /// How far the consumer has got; `None` before its first progress.
    pub fn reached(&self, consumer: &Name) -> Result<Option<Reached>, StateError> {
        let row: Option<(String, String)> = self.with(|database| {
            let query = "SELECT after, done_above FROM cursor WHERE consumer = ?1";
            let mut query = database.prepare_cached(query)?;
            query.query_row([consumer.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })?;
        let Some((after, done_above)) = row else { return Ok(None) };
        let ranges = done_above.split_ascii_whitespace().map(range);
        let done_above = ranges.collect::<Result<_, StateError>>()?;
        Ok(Some(Reached { after: offset(&after)?, done_above }))
    }

    /// Remembers that the consumer is done with everything up to `after`, and with nothing above it.
    pub fn save_cursor(&self, consumer: &Name, after: Offset) -> Result<(), StateError> {
        self.save_reached(consumer, &Reached { after, done_above: Vec::new() })
    }

    /// Remembers how far the consumer has got.
    pub fn save_reached(&self, consumer: &Name, reached: &Reached) -> Result<(), StateError> {
        let ranges = reached.done_above.iter();
        let ranges: Vec<_> =
            ranges.map(|range| format!("{}-{}", range.start(), range.end())).collect();
        self.with(|database| {
            database
                .prepare_cached(
                    "INSERT INTO cursor (consumer, after, done_above) VALUES (?1, ?2, ?3)
                     ON CONFLICT (consumer) DO UPDATE
                     SET after = excluded.after, done_above = excluded.done_above",
                )?
                .execute(params![consumer.as_str(), reached.after.to_string(), ranges.join(" ")])?;
            Ok(())
        })
    }

    /// Whether the consumer is paused, and why.
    pub fn paused(&self, consumer: &Name) -> Result<Option<Pause>, StateError> {
        self.with(|database| {
            let query = "SELECT by, reason, paused_at_ms FROM pause WHERE consumer = ?1";
            database
                .prepare_cached(query)?
                .query_row([consumer.as_str()], |row| {
                    let since = Timestamp::from_unix_ms(row.get(2)?);
                    Ok(Pause { by: row.get(0)?, reason: row.get(1)?, since })
                })
                .optional()
        })
    }

    /// Pauses the consumer, or lets it go on.
    pub fn set_paused(&self, consumer: &Name, pause: Option<&Pause>) -> Result<(), StateError> {
        self.with(|database| {
            let name = consumer.as_str();
            match pause {
                None => database.execute("DELETE FROM pause WHERE consumer = ?1", [name])?,
                Some(Pause { by, reason, since }) => database.execute(
                    "INSERT OR REPLACE INTO pause (consumer, by, reason, paused_at_ms)
                     VALUES (?1, ?2, ?3, ?4)",
                    params![name, by, reason, since.unix_ms()],
                )?,
            };
            Ok(())
        })
    }

    /// How many events the consumer has parked.
    pub fn parked_count(&self, consumer: &Name) -> Result<u64, StateError> {
        self.with(|database| {
            let count = "SELECT count(*) FROM parked WHERE consumer = ?1";
            let mut count = database.prepare_cached(count)?;
            count.query_row([consumer.as_str()], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
        })
    }

    /// Parked events behind `after`, at most `limit`, in the order of the log.
    pub fn parked_after(
        &self,
        consumer: &Name,
        after: Offset,
        limit: usize,
    ) -> Result<Vec<Parked>, StateError> {
        self.parked_where(
            &format!("AND (length(record), record) > (length(?2), ?2) {IN_ORDER} LIMIT {limit}"),
            params![consumer.as_str(), after.to_string()],
        )
    }

    /// Parked events that are to be delivered again, at most `limit`, in the order of the log.
    pub fn to_redrive(&self, consumer: &Name, limit: usize) -> Result<Vec<Parked>, StateError> {
        self.parked_where(
            &format!("AND redrive = 1 {IN_ORDER} LIMIT {limit}"),
            params![consumer.as_str()],
        )
    }

    /// Orders that these parked events, or all, are delivered again. How many they are.
    pub fn redrive(&self, consumer: &Name, which: Option<&[Offset]>) -> Result<usize, StateError> {
        self.for_each("UPDATE parked SET redrive = 1 WHERE consumer = ?1", consumer, which)
    }

    /// Forgets these parked events, or all. How many they were.
    pub fn drop_parked(
        &self,
        consumer: &Name,
        which: Option<&[Offset]>,
    ) -> Result<usize, StateError> {
        self.for_each("DELETE FROM parked WHERE consumer = ?1", consumer, which)
    }

    /// A parked event failed again: it stays, with the new reason. One that was dropped meanwhile stays dropped: false.
    pub fn stay_parked(
        &self,
        consumer: &Name,
        record: Offset,
        reason: &str,
        at: Timestamp,
    ) -> Result<bool, StateError> {
        self.with(|database| {
            let changed = database
                .prepare_cached(
                    "UPDATE parked SET redrive = 0, reason = ?3, parked_at_ms = ?4
                     WHERE consumer = ?1 AND record = ?2",
                )?
                .execute(params![consumer.as_str(), record.to_string(), reason, at.unix_ms()])?;
            Ok(changed > 0)
        })
    }

    /// Orders that the records after `after` up to `upto` are delivered once more. False if too many replays wait already.
    pub fn add_replay(
        &self,
        consumer: &Name,
        after: Offset,
        upto: Offset,
    ) -> Result<bool, StateError> {
        self.with(|database| {
            let added = database.execute(
                "INSERT INTO replay (consumer, after, upto) SELECT ?1, ?2, ?3
                 WHERE (SELECT count(*) FROM replay WHERE consumer = ?1) < ?4",
                params![consumer.as_str(), after.to_string(), upto.to_string(), MAX_REPLAYS],
            )?;
            Ok(added == 1)
        })
    }

    /// The replays that are not done, in the order in which they were asked for.
    pub fn replays(&self, consumer: &Name) -> Result<Vec<Replay>, StateError> {
        let rows = self.with(|database| {
            let query =
                "SELECT number, after, upto FROM replay WHERE consumer = ?1 ORDER BY number";
            let mut query = database.prepare_cached(query)?;
            let rows = query.query_map([consumer.as_str()], |row| {
                Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        rows.into_iter()
            .map(|(number, after, upto)| {
                Ok(Replay { number, after: offset(&after)?, upto: offset(&upto)? })
            })
            .collect()
    }

    /// The replay is done up to here; `None`: all of it.
    pub fn replayed(&self, number: i64, after: Option<Offset>) -> Result<(), StateError> {
        self.with(|database| {
            match after {
                None => database.execute("DELETE FROM replay WHERE number = ?1", [number])?,
                Some(after) => database.execute(
                    "UPDATE replay SET after = ?2 WHERE number = ?1",
                    params![number, after.to_string()],
                )?,
            };
            Ok(())
        })
    }

    fn for_each(
        &self,
        statement: &str,
        consumer: &Name,
        which: Option<&[Offset]>,
    ) -> Result<usize, StateError> {
        self.with(|database| {
            let Some(which) = which else {
                return database.execute(statement, [consumer.as_str()]);
            };
            let change = database.unchecked_transaction()?;
            let mut changed = 0;
            {
                let mut one = change.prepare_cached(&format!("{statement} AND record = ?2"))?;
                for record in which {
                    changed += one.execute(params![consumer.as_str(), record.to_string()])?;
                }
            }
            change.commit()?;
            Ok(changed)
        })
    }
}

fn range(text: &str) -> Result<RangeInclusive<Offset>, StateError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok(offset(first)?..=offset(last)?)
}

fn offset(token: &str) -> Result<Offset, StateError> {
    token.parse().map_err(|_| StateError::BadCursor(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(n: u64) -> Offset {
        n.to_string().parse().unwrap()
    }

    fn with_parked(folder: &std::path::Path, records: &[u64]) -> (State, Name) {
        let state = State::open(&folder.join("state.db")).unwrap();
        let crm: Name = "crm".to_owned().try_into().unwrap();
        for record in records {
            let parked = Parked {
                record: offset(*record),
                source: "web".into(),
                message_id: format!("m-{record}"),
                reason: "no".into(),
                parked_at: Timestamp::from_unix_ms(1),
                redrive: false,
            };
            assert!(state.park(&crm, &parked).unwrap());
            assert!(!state.park(&crm, &parked).unwrap(), "it is there already");
        }
        (state, crm)
    }

    fn records(parked: &[Parked]) -> Vec<u64> {
        parked.iter().map(|parked| parked.record.since(Offset::START)).collect()
    }

    #[test]
    fn parked_events_are_paged_in_the_order_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let (state, crm) = with_parked(folder.path(), &[100, 9, 10, 2]);
        let page = |after, limit| records(&state.parked_after(&crm, offset(after), limit).unwrap());
        assert_eq!(page(0, 3), [2, 9, 10]);
        assert_eq!(page(10, 3), [100]);
        assert_eq!(state.parked_count(&crm).unwrap(), 4);
    }

    #[test]
    fn what_fails_again_stays_and_what_was_dropped_stays_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (state, crm) = with_parked(folder.path(), &[1, 2, 3]);
        assert_eq!(state.redrive(&crm, Some(&[offset(3), offset(2), offset(77)])).unwrap(), 2);
        assert_eq!(records(&state.to_redrive(&crm, 9).unwrap()), [2, 3]);
        assert_eq!(state.drop_parked(&crm, Some(&[offset(2)])).unwrap(), 1);
        let later = Timestamp::from_unix_ms(2);
        assert!(!state.stay_parked(&crm, offset(2), "again", later).unwrap());
        assert!(state.stay_parked(&crm, offset(3), "again", later).unwrap());
        assert!(state.to_redrive(&crm, 9).unwrap().is_empty());
        let left = state.parked_after(&crm, Offset::START, 9).unwrap();
        let left: Vec<_> =
            left.iter().map(|parked| (&*parked.message_id, &*parked.reason)).collect();
        assert_eq!(left, [("m-1", "no"), ("m-3", "again")]);
        assert_eq!(state.redrive(&crm, None).unwrap(), 2);
        assert_eq!(state.drop_parked(&crm, None).unwrap(), 2);
        assert_eq!(state.parked_count(&crm).unwrap(), 0);
    }

    #[test]
    fn what_is_done_above_the_cursor_outlives_the_process_and_changes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (state, crm) = with_parked(folder.path(), &[]);
        assert_eq!(state.reached(&crm).unwrap(), None);
        let done_above = vec![offset(9)..=offset(9), offset(12)..=offset(104)];
        let reached = Reached { after: offset(7), done_above };
        state.save_reached(&crm, &reached).unwrap();
        drop(state);
        let state = State::open(&folder.path().join("state.db")).unwrap();
        assert_eq!(state.reached(&crm).unwrap(), Some(reached));
        assert_eq!(state.cursor(&crm).unwrap(), Some(offset(7)));
        state.save_cursor(&crm, offset(200)).unwrap();
        let reached = Reached { after: offset(200), done_above: Vec::new() };
        assert_eq!(state.reached(&crm).unwrap(), Some(reached));
    }

    #[test]
    fn pauses_and_replays_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (state, crm) = with_parked(folder.path(), &[]);
        let since = Timestamp::from_unix_ms(7);
        let pause = Pause { by: "operator".into(), reason: "release".into(), since };
        state.set_paused(&crm, Some(&pause)).unwrap();
        for n in 0..u64::from(MAX_REPLAYS) {
            assert!(state.add_replay(&crm, offset(n), offset(n + 9)).unwrap());
        }
        assert!(!state.add_replay(&crm, offset(1), offset(2)).unwrap(), "they are bounded");
        drop(state);
        let state = State::open(&folder.path().join("state.db")).unwrap();
        assert_eq!(state.paused(&crm).unwrap(), Some(pause));
        state.set_paused(&crm, None).unwrap();
        assert_eq!(state.paused(&crm).unwrap(), None);
        let replays = state.replays(&crm).unwrap();
        assert_eq!((replays.len(), replays[1].after, replays[1].upto), (16, offset(1), offset(10)));
        state.replayed(replays[0].number, None).unwrap();
        state.replayed(replays[1].number, Some(offset(5))).unwrap();
        assert_eq!(state.replays(&crm).unwrap()[0].after, offset(5));
    }
}
