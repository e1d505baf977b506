//! The tokens by which devices read what is meant for them.
//! Promises that a device's first token stays its only one, and that neither it nor its token can be read here: both are hashed.
//! Deliberately knows no person, nor whether a device exists: whoever asks has looked.

use rusqlite::{OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{State, StateError};
use crate::event_log::Offset;

/// Up to where in the log devices came up whose tokens are lost.
const LOST_BEFORE: &str = "device_tokens_lost_before";

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl State {
    /// Notes that the tokens are lost of devices that the log knows by then: this database is new, and the log is not. Said again
    /// it changes nothing.
    pub(crate) fn lose_devices(&self, before: Offset) -> Result<(), StateError> {
        let insert = "INSERT INTO secret VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.with(|database| {
            database.execute(insert, params![LOST_BEFORE, before.to_string().as_bytes()])
        })?;
        Ok(())
    }

    /// See [`State::lose_devices`]; none is lost without it.
    pub(crate) fn lost_devices(&self) -> Result<Offset, StateError> {
        let query = "SELECT value FROM secret WHERE name = ?1";
        let found: Option<Vec<u8>> = self.with(|database| {
            database.prepare_cached(query)?.query_row([LOST_BEFORE], |row| row.get(0)).optional()
        })?;
        let Some(text) = found else { return Ok(Offset::START) };
        let text = String::from_utf8_lossy(&text).into_owned();
        text.parse().map_err(|_| StateError::BadCursor(text))
    }

    /// Whether this is the device's token, or becomes it now, because none came before and it `may_begin`.
    pub fn admit_device(
        &self,
        anonymous_id: &str,
        token: &str,
        may_begin: bool,
    ) -> Result<bool, StateError> {
        let (device, token) = (hash(anonymous_id), hash(token));
        self.with(|database| {
            let known = |database: &rusqlite::Connection| {
                database
                    .prepare_cached("SELECT token FROM device WHERE id = ?1")?
                    .query_row([&device[..]], |row| row.get::<_, [u8; 32]>(0))
                    .optional()
            };
            let first = match known(database)? {
                Some(first) => first,
                None if !may_begin => return Ok(false),
                None => {
                    database
                        .prepare_cached("INSERT INTO device VALUES (?1, ?2)")?
                        .execute(params![&device[..], &token[..]])?;
                    token
                }
            };
            Ok(first.ct_eq(&token).into())
        })
    }

    /// Forgets the tokens of devices that were erased.
    pub fn forget_devices<'a>(
        &self,
        anonymous_ids: impl Iterator<Item = &'a str>,
    ) -> Result<(), StateError> {
        self.with(|database| {
            for id in anonymous_ids {
                database
                    .prepare_cached("DELETE FROM device WHERE id = ?1")?
                    .execute([&hash(id)[..]])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_of_a_device_is_its_only_one_until_it_is_erased() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = State::open(&path).unwrap();
        assert!(state.admit_device("a", "first", true).unwrap());
        assert!(state.admit_device("b", "second", true).unwrap());
        drop(state);
        let state = State::open(&path).unwrap();
        assert!(state.admit_device("a", "first", true).unwrap());
        assert!(!state.admit_device("a", "second", true).unwrap());
        assert!(!state.admit_device("a", "", true).unwrap());
        state.forget_devices(["a"].into_iter()).unwrap();
        assert!(state.admit_device("a", "third", true).unwrap());
        assert!(!state.admit_device("b", "third", true).unwrap(), "only the erased are forgotten");
        assert!(!state.admit_device("c", "first", false).unwrap());
        assert!(
            state.admit_device("c", "second", true).unwrap(),
            "what was not admitted is not kept"
        );
        assert!(state.admit_device("c", "second", false).unwrap(), "it has begun");
        let bytes = std::fs::read(&path).unwrap();
        let wal = std::fs::read(folder.path().join("state.db-wal")).unwrap();
        for secret in [&b"first"[..], b"second"] {
            assert!(!bytes.windows(secret.len()).any(|it| it == secret));
            assert!(!wal.windows(secret.len()).any(|it| it == secret));
        }
    }

    #[test]
    fn what_was_lost_once_stays_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = State::open(&path).unwrap();
        assert!(state.is_new().unwrap());
        assert_eq!(state.lost_devices().unwrap(), Offset::START);
        let at = |text: &str| text.parse::<Offset>().unwrap();
        state.lose_devices(at("7")).unwrap();
        state.lose_devices(at("9")).unwrap();
        drop(state);
        let state = State::open(&path).unwrap();
        assert_eq!(state.lost_devices().unwrap(), at("7"));
        state.first_admin_token().unwrap().unwrap();
        assert!(!state.is_new().unwrap());
    }
}
