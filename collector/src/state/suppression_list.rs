//! The suppression list: e-mail addresses and phone numbers that no action sends to, why, and since when.
//! Promises that an address is found by its hash alone, so that it is still not sent to once its person was erased and it is kept in
//! the clear no more. Deliberately sends nothing, and knows nothing of people: who is erased is told to it.
//!
//! An address that is on the list stays in the clear for as long as its person is known: operators have to read what they answer for.
//! With the erasure of the person it becomes a hash (HMAC with the key of this database), which no import of an old list turns back.
//! Whoever has the file has the key, too, and can ask it of an address; they cannot read an address off it.

mod spelling;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use self::spelling::{spellings, without_last_dot};
use super::{HASH_BYTES, State, StateError, erased::key};
use crate::{
    event_log::{Offset, Timestamp},
    people::{Identifier, Kind},
};

/// Why nothing is sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SuppressionReason {
    /// An operator says so.
    Manual,
    /// There is no such mailbox.
    Bounced,
    /// Somebody has called a mail spam.
    Complained,
    /// Somebody has said that they want no more.
    Unsubscribed,
}

impl SuppressionReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Manual, Self::Bounced, Self::Complained, Self::Unsubscribed];

    /// The word in JSON, in files and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Bounced => "bounced",
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// An address on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSentTo {
    /// `None` since its person was erased.
    pub address: Option<Identifier<'static>>,
    /// Why.
    pub reason: SuppressionReason,
    /// Since when.
    pub since: Timestamp,
    /// The name of the token of who put it there, of the destination that did not take it, or of the source that reported it.
    pub by: String,
    /// Where it is in the list, for the page behind it.
    pub place: Place,
}

/// A place in the list, which begins with what came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    since_ms: i64,
    hash: Hash,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:032x}", self.since_ms, u128::from_be_bytes(self.hash))
    }
}

impl std::str::FromStr for Place {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (since, hash) = text.split_once('-').unwrap_or((text, ""));
        let hash = u128::from_str_radix(hash, 16)?.to_be_bytes();
        Ok(Self { since_ms: since.parse()?, hash })
    }
}

/// The text is no address that anything could be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// There is no `@` in it, and it is no number either, or what is around the `@` is no address.
    #[error("it is neither an e-mail address nor a phone number with its country, as +49301234567")]
    Neither,
    /// Texts go to numbers with their country only: without it nothing would be held back.
    #[error("a phone number is written with its country, as +49301234567")]
    NoCountry,
}

/// An e-mail address or a phone number, as people are known by it. `email:` or `phone:` may stand in front.
pub fn address(text: &str) -> Result<Identifier<'static>, NotAnAddress> {
    let text = text.trim();
    let (kind, value) = match text.split_once(':') {
        Some(("email", value)) => (Kind::Email, value),
        Some(("phone", value)) => (Kind::Phone, value),
        _ if text.contains('@') => (Kind::Email, text),
        _ => (Kind::Phone, text),
    };
    // No person's address has that dot.
    let value = if kind == Kind::Email { without_last_dot(value.trim_end()) } else { value };
    let found = Identifier::new(kind, value.to_owned()).ok_or(NotAnAddress::Neither)?;
    match kind == Kind::Phone && !found.value.starts_with('+') {
        true => Err(NotAnAddress::NoCountry),
        false => Ok(found),
    }
}

const COLUMNS: &str = "hash, address, reason, by, since_ms";

fn read(row: &Row<'_>) -> rusqlite::Result<NotSentTo> {
    let place = Place { hash: row.get(0)?, since_ms: row.get(4)? };
    let reason: String = row.get(2)?;
    let reason = SuppressionReason::ALL.into_iter().find(|known| known.as_str() == reason);
    Ok(NotSentTo {
        address: row.get::<_, Option<String>>(1)?.and_then(|text| text.parse().ok()),
        // A word of a later release says as much: nothing is sent.
        reason: reason.unwrap_or(SuppressionReason::Manual),
        by: row.get(3)?,
        since: Timestamp::from_unix_ms(place.since_ms),
        place,
    })
}

type Hash = [u8; HASH_BYTES];

fn hash(key: &[u8; 32], address: &Identifier<'_>) -> Hash {
    let mac = hmac_sha256::HMAC::mac(address.to_string(), key);
    let (hash, _) = mac.split_first_chunk().expect("32 bytes begin with 16");
    *hash
}

/// Under which an address may stand on the list; one, but for international domains. All that is done with the list goes through here.
fn hashes(key: &[u8; 32], address: &Identifier<'_>) -> Vec<Hash> {
    spellings(address).iter().map(|spelled| hash(key, spelled)).collect()
}

impl State {
    /// Whether nothing is sent to this address, and why. One look at an index.
    pub fn not_sent_to(&self, address: &Identifier<'_>) -> Result<Option<NotSentTo>, StateError> {
        self.with_key(|database, key| {
            let sql = format!("SELECT {COLUMNS} FROM suppression_list WHERE hash = ?1");
            let mut query = database.prepare_cached(&sql)?;
            for hash in hashes(key, address) {
                if let Some(found) = query.query_row([hash], read).optional()? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// Puts these on the list, all or none; how many were not there yet. One that is there stays as it is: since when, why, and without
    /// its name if its person was erased.
    pub fn add_to_suppression_list<'a>(
        &self,
        addresses: impl IntoIterator<Item = (&'a Identifier<'a>, SuppressionReason)>,
        by: &str,
        now: Timestamp,
    ) -> Result<usize, StateError> {
        self.with_key(|database, key| {
            let change = database.unchecked_transaction()?;
            let mut added = 0;
            for (address, reason) in addresses {
                let spelled = spellings(address);
                let mut there =
                    change.prepare_cached("SELECT 1 FROM suppression_list WHERE hash = ?1")?;
                let is_there = spelled
                    .iter()
                    .map(|it| there.exists([hash(key, it)]))
                    .collect::<Result<Vec<_>, _>>()?;
                let (false, Some(first)) = (is_there.contains(&true), spelled.first()) else {
                    continue;
                };
                let sql = "INSERT INTO suppression_list (hash, address, reason, by, since_ms)
                           VALUES (?1, ?2, ?3, ?4, ?5)";
                let (hash, text) = (hash(key, first), first.to_string());
                added += change.prepare_cached(sql)?.execute(params![
                    hash,
                    text,
                    reason.as_str(),
                    by,
                    now.unix_ms()
                ])?;
            }
            change.commit()?;
            Ok(added)
        })
    }

    /// Takes these off the list, all or none; how many were on it.
    pub fn remove_from_suppression_list<'a>(
        &self,
        addresses: impl IntoIterator<Item = &'a Identifier<'a>>,
    ) -> Result<usize, StateError> {
        self.with_key(|database, key| {
            let change = database.unchecked_transaction()?;
            let mut removed = 0;
            for address in addresses {
                let sql = "DELETE FROM suppression_list WHERE hash = ?1";
                let mut was_there = false;
                for hash in hashes(key, address) {
                    was_there |= change.prepare_cached(sql)?.execute([hash])? > 0;
                }
                removed += usize::from(was_there);
            }
            change.commit()?;
            Ok(removed)
        })
    }

    /// A page of the list, what came last first: before a place, and only for this reason, where they are given.
    pub fn suppression_list(
        &self,
        before: Option<Place>,
        reason: Option<SuppressionReason>,
        limit: usize,
    ) -> Result<Vec<NotSentTo>, StateError> {
        let before = before.unwrap_or(Place { since_ms: i64::MAX, hash: [0xff; HASH_BYTES] });
        // Each of the two forms has its index.
        let only = if reason.is_some() { "reason = ?4 AND" } else { "?4 IS NULL AND" };
        let sql = format!(
            "SELECT {COLUMNS} FROM suppression_list WHERE {only} (since_ms, hash) < (?1, ?2)
             ORDER BY since_ms DESC, hash DESC LIMIT ?3"
        );
        self.with(|database| {
            let mut query = database.prepare_cached(&sql)?;
            let (limit, reason) = (limit.cast_signed(), reason.map(SuppressionReason::as_str));
            query.query_map(params![before.since_ms, before.hash, limit, reason], read)?.collect()
        })
    }

    /// How many addresses are on the list.
    pub fn suppression_list_length(&self) -> Result<u64, StateError> {
        self.with(|database| {
            let mut query = database.prepare_cached("SELECT count(*) FROM suppression_list")?;
            query.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        })
    }

    /// The person whose these were is erased: from now on the list has their hashes alone, and the disk nothing else.
    pub fn forget_names_on_suppression_list<'a>(
        &self,
        addresses: impl IntoIterator<Item = &'a Identifier<'a>>,
    ) -> Result<(), StateError> {
        self.with_key(|database, key| {
            let change = database.unchecked_transaction()?;
            let mut forgotten = 0;
            for address in addresses {
                let sql = "UPDATE suppression_list SET address = NULL WHERE hash = ?1 AND address IS NOT NULL";
                for hash in hashes(key, address) {
                    forgotten += change.prepare_cached(sql)?.execute([hash])?;
                }
            }
            change.commit()?;
            if forgotten == 0 {
                return Ok(());
            }
            // They stand in the log of changes until that is moved into the file.
            database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        })
    }

    /// How far the log was listened to for what goes on the list; noted as this place if it never was.
    pub fn heard_up_to(&self, else_from: Offset) -> Result<Offset, StateError> {
        self.with(|database| {
            let sql = "INSERT INTO heard VALUES (1, ?1) ON CONFLICT DO NOTHING";
            database.execute(sql, [else_from.to_number()])?;
            database.query_row("SELECT up_to FROM heard", [], |row| row.get(0))
        })
        .map(Offset::from_number)
    }

    /// It was listened to up to here.
    pub fn note_heard(&self, up_to: Offset) -> Result<(), StateError> {
        self.with(|database| {
            database.prepare_cached("UPDATE heard SET up_to = ?1")?.execute([up_to.to_number()])?;
            Ok(())
        })
    }

    fn with_key<T>(
        &self,
        work: impl FnOnce(&Connection, &[u8; 32]) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StateError> {
        let made = self.with(|database| key(database).optional())?;
        let key = match made {
            Some(key) => key,
            None => self.suppression_key()?,
        };
        self.with(|database| work(database, &key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_000)
    }

    fn of(text: &str) -> Identifier<'static> {
        address(text).unwrap()
    }

    #[test]
    fn an_address_is_one_that_something_is_sent_to_in_its_one_spelling() {
        for (given, text) in [
            (" Ann@B.Example ", "email:ann@b.example"),
            ("email:ann@b.example", "email:ann@b.example"),
            ("mailto:ann@b.example", "email:ann@b.example"),
            ("+49 (0)30 1234567", "phone:+49301234567"),
            ("0049 30 1234567", "phone:+49301234567"),
            ("phone:+49301234567", "phone:+49301234567"),
            ("ann@b.example.", "email:ann@b.example"),
        ] {
            assert_eq!(address(given).map(|it| it.to_string()).as_deref(), Ok(text), "{given}");
        }
        for given in
            ["", "ann", "@b.example", "user:u-1", "a b@c.example", "+12", "email:+4930123456"]
        {
            assert_eq!(address(given), Err(NotAnAddress::Neither), "{given}");
        }
        assert_eq!(address("030 1234567"), Err(NotAnAddress::NoCountry));
    }

    #[test]
    fn what_is_on_the_list_stays_there_as_it_was_through_a_restart() {
        use SuppressionReason::{Bounced, Manual, Unsubscribed};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = State::open(&path).unwrap();
        let (ann, bob, tel) = (of("ann@b.example"), of("bob@b.example"), of("+49301234567"));
        assert_eq!(state.not_sent_to(&ann).unwrap(), None);
        let add = |address: &Identifier<'static>, reason, at: i64| {
            let now = Timestamp::from_unix_ms(at);
            state.add_to_suppression_list([(address, reason)], "first", now).unwrap()
        };
        assert_eq!(
            (add(&ann, Manual, 1), add(&bob, Bounced, 2), add(&tel, Unsubscribed, 3)),
            (1, 1, 1)
        );
        assert_eq!(add(&ann, Bounced, 9), 0, "it is there");
        let state = State::open(&path).unwrap();
        let found = state.not_sent_to(&ann).unwrap().unwrap();
        assert_eq!(
            (found.reason, found.since, &*found.by),
            (Manual, Timestamp::from_unix_ms(1), "first")
        );
        assert_eq!(found.address.as_ref(), Some(&ann));
        // The number is nobody's address.
        let mistaken = Identifier { kind: Kind::Email, value: tel.value.clone() };
        assert_eq!(state.not_sent_to(&mistaken).unwrap(), None);

        let pages = |reason, limit| -> Vec<Vec<String>> {
            let (mut pages, mut before) = (Vec::new(), None);
            loop {
                let page = state.suppression_list(before, reason, limit).unwrap();
                let Some(last) = page.last() else { return pages };
                before = Some(last.place.to_string().parse().unwrap());
                pages
                    .push(page.iter().map(|it| it.address.as_ref().unwrap().to_string()).collect());
            }
        };
        let all = ["phone:+49301234567", "email:bob@b.example", "email:ann@b.example"];
        assert_eq!(pages(None, 2), [&all[..2], &all[2..]]);
        assert_eq!(pages(Some(Bounced), 2), [&all[1..2]]);
        assert_eq!(state.suppression_list_length().unwrap(), 3);
        assert_eq!(state.remove_from_suppression_list([&ann, &of("eve@b.example")]).unwrap(), 1);
        assert_eq!(state.not_sent_to(&ann).unwrap(), None);
        assert!(state.not_sent_to(&bob).unwrap().is_some());
    }

    #[test]
    fn a_page_ends_and_the_next_begins_among_what_came_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state.db")).unwrap();
        let all: Vec<_> = (0..50).map(|n| of(&format!("{n}@b.example"))).collect();
        let added = all.iter().map(|it| (it, SuppressionReason::Manual));
        assert_eq!(state.add_to_suppression_list(added, "first", now()).unwrap(), 50);
        let (mut seen, mut before) = (std::collections::BTreeSet::new(), None);
        loop {
            let page = state.suppression_list(before, None, 7).unwrap();
            let Some(last) = page.last() else { break };
            before = Some(last.place);
            for it in page {
                assert!(seen.insert(it.address.unwrap().to_string()), "it came twice");
            }
        }
        assert_eq!(seen.len(), 50);
    }

    #[test]
    fn who_was_erased_is_not_sent_to_and_named_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = State::open(&path).unwrap();
        let others: Vec<_> = (0..500).map(|n| of(&format!("stays-{n}@b.example"))).collect();
        let add = |all: &[Identifier<'static>]| {
            let all = all.iter().map(|it| (it, SuppressionReason::Complained));
            state.add_to_suppression_list(all, "first", now()).unwrap()
        };
        let (goes, tel) = (of("goes@b.example"), of("+49301234567"));
        assert_eq!((add(&others), add(&[goes.clone(), tel.clone()])), (500, 2));
        let is_found = |text: &str| {
            ["state.db", "state.db-wal"].iter().any(|file| {
                let bytes = std::fs::read(folder.path().join(file)).unwrap();
                bytes.windows(text.len()).any(|part| part == text.as_bytes())
            })
        };
        assert!(is_found("goes@b.example") && is_found("+49301234567"), "this test sees the disk");
        // Of somebody who is on no list it says nothing.
        state.forget_names_on_suppression_list([&goes, &tel, &of("eve@b.example")]).unwrap();
        for text in ["goes@b.example", "+49301234567"] {
            assert!(!is_found(text), "{text} is left");
        }
        assert!(is_found("stays-7@b.example"));
        // An old list that is imported again does not bring it back.
        assert_eq!(add(std::slice::from_ref(&goes)), 0);
        assert!(!is_found("goes@b.example"));
        let found = state.not_sent_to(&goes).unwrap().unwrap();
        assert_eq!((found.address, found.reason), (None, SuppressionReason::Complained));
        assert_eq!(state.suppression_list_length().unwrap(), 502);
        assert_eq!(state.remove_from_suppression_list([&goes]).unwrap(), 1);
    }

    #[test]
    fn a_look_and_a_page_read_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        drop(State::open(&path).unwrap());
        let database = Connection::open(&path).unwrap();
        for (sql, part) in [
            ("WHERE hash = x''", "SEARCH suppression_list USING PRIMARY KEY"),
            (
                "WHERE NULL IS NULL AND (since_ms, hash) < (1, x'') ORDER BY since_ms DESC, hash DESC",
                "SEARCH suppression_list USING INDEX suppression_list_latest",
            ),
            (
                "WHERE reason = '' AND (since_ms, hash) < (1, x'') ORDER BY since_ms DESC, hash DESC",
                "SEARCH suppression_list USING INDEX suppression_list_reason",
            ),
        ] {
            let sql = format!("EXPLAIN QUERY PLAN SELECT {COLUMNS} FROM suppression_list {sql}");
            let mut query = database.prepare(&sql).unwrap();
            let plan = query.query_map([], |row| row.get::<_, String>(3)).unwrap();
            let plan = plan.collect::<Result<Vec<_>, _>>().unwrap().join("; ");
            assert!(plan.starts_with(part) && !plan.contains("SORT"), "{plan}");
        }
    }
}
