//! The tokens by which devices read what is meant for them.
//! Promises that a device's first token stays its only one, and that neither it nor its token can be read here: both are hashed.
//! Deliberately knows no person.

use rusqlite::{OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{State, StateError};

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl State {
    /// Whether this is the device's token, or becomes it now, because none came before.
    pub fn admit_device(&self, anonymous_id: &str, token: &str) -> Result<bool, StateError> {
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
        assert!(state.admit_device("a", "first").unwrap());
        assert!(state.admit_device("b", "second").unwrap());
        drop(state);
        let state = State::open(&path).unwrap();
        assert!(state.admit_device("a", "first").unwrap());
        assert!(!state.admit_device("a", "second").unwrap());
        assert!(!state.admit_device("a", "").unwrap());
        state.forget_devices(["a"].into_iter()).unwrap();
        assert!(state.admit_device("a", "third").unwrap());
        assert!(!state.admit_device("b", "third").unwrap(), "only the erased are forgotten");
        let bytes = std::fs::read(&path).unwrap();
        let wal = std::fs::read(folder.path().join("state.db-wal")).unwrap();
        for secret in [&b"first"[..], b"second"] {
            assert!(!bytes.windows(secret.len()).any(|it| it == secret));
            assert!(!wal.windows(secret.len()).any(|it| it == secret));
        }
    }
}
