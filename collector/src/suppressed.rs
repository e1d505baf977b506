//! Those who were erased: what still arrives from them is refused before it is stored.
//! Promises that asking costs nothing while nobody was erased. Deliberately knows no names: hashes with a key.

use std::{collections::HashSet, sync::Arc};

use crate::{
    current::Current,
    event_log::Timestamp,
    people::{Identifier, Kind},
    state::{HASH_BYTES, State, StateError},
};

/// Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Suppressed {
    key: [u8; 32],
    hashes: Arc<Current<HashSet<[u8; HASH_BYTES]>>>,
}

impl Suppressed {
    /// As the state has them.
    pub fn read(state: &State) -> Result<Self, StateError> {
        let hashes = state.suppressed()?.into_iter().collect();
        Ok(Self { key: state.suppression_key()?, hashes: Arc::new(Current::new(hashes)) })
    }

    /// Whether one of these ids is of somebody who was erased.
    pub(crate) fn has(&self, user_id: Option<&str>, anonymous_id: Option<&str>) -> bool {
        let hashes = self.hashes.get();
        if hashes.is_empty() {
            return false;
        }
        let is_one = |kind: Kind, id: Option<&str>| {
            let identifier = id.and_then(|id| Identifier::new(kind, id));
            identifier.is_some_and(|identifier| hashes.contains(&self.hash(&identifier)))
        };
        // What other systems' events bring has such an id in the device's place.
        is_one(Kind::User, user_id)
            || is_one(Kind::Anonymous, anonymous_id)
            || is_one(Kind::External, anonymous_id)
    }

    /// Refuses these from now on, for good: user ids, devices and ids at other systems. Addresses and phone numbers are not among
    /// them: who writes to support next year is somebody new.
    pub(crate) fn add(
        &self,
        state: &State,
        identifiers: &[Identifier<'_>],
        now: Timestamp,
    ) -> Result<(), StateError> {
        let lasting = |identifier: &&Identifier<'_>| {
            matches!(identifier.kind, Kind::User | Kind::Anonymous | Kind::External)
        };
        let new: Vec<_> =
            identifiers.iter().filter(lasting).map(|identifier| self.hash(identifier)).collect();
        state.suppress(&new, now)?;
        let mut all = HashSet::clone(&self.hashes.get());
        all.extend(new);
        self.hashes.set(all);
        Ok(())
    }

    fn hash(&self, identifier: &Identifier<'_>) -> [u8; HASH_BYTES] {
        let mac = hmac_sha256::HMAC::mac(identifier.to_string(), self.key);
        let (hash, _) = mac.split_first_chunk().expect("32 bytes begin with 16");
        *hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_added_is_refused_also_after_a_restart_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = State::open(&path).unwrap();
        let suppressed = Suppressed::read(&state).unwrap();
        assert!(!suppressed.has(Some("u-1"), Some("d-1")));
        let gone = ["user:u-1", "anonymous:d-1", "external:crm:7", "email:a@example.com"];
        let gone: Vec<_> = gone.iter().map(|text| text.parse().unwrap()).collect();
        suppressed.add(&state, &gone, Timestamp::from_unix_ms(1)).unwrap();
        for suppressed in [suppressed, Suppressed::read(&State::open(&path).unwrap()).unwrap()] {
            assert!(suppressed.has(Some(" u-1 "), None));
            assert!(suppressed.has(Some("u-2"), Some("d-1")));
            assert!(suppressed.has(None, Some("crm:7")));
            assert!(!suppressed.has(Some("d-1"), Some("u-1")));
            assert!(!suppressed.has(Some("u-2"), Some("d-2")));
        }
        let kept = std::fs::read(&path).unwrap();
        assert!(!kept.windows(3).any(|bytes| bytes == b"u-1"));
    }
}
