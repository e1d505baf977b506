//! Those who were erased: what still arrives from them is refused before it is stored.
//! Promises that asking costs nothing while nobody was erased. Deliberately knows no names: hashes with a key.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use serde::Deserialize;

use crate::{
    current::Current,
    event_log::Timestamp,
    people::{Gone, Identifier, Kind},
    state::{Erasure, HASH_BYTES, State, StateError},
};

/// Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Suppressed {
    key: [u8; 32],
    hashes: Arc<Current<Hashes>>,
    /// Held by who asks until what comes of it is with the log.
    asking: Arc<RwLock<()>>,
}

type Hash = [u8; HASH_BYTES];
/// And since when.
type Hashes = HashMap<Hash, Timestamp>;

/// Who an event says it is of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Named<'a> {
    pub(crate) user_id: Option<&'a str>,
    pub(crate) anonymous_id: Option<&'a str>,
    pub(crate) previous_id: Option<&'a str>,
    /// The event's `context`, in which other systems' ids are.
    pub(crate) context: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    #[serde(rename = "externalIds")]
    external_ids: Vec<ExternalId>,
}

#[derive(Deserialize)]
struct ExternalId {
    #[serde(rename = "type")]
    kind: String,
    id: String,
}

impl Suppressed {
    /// As the state has them.
    pub fn read(state: &State) -> Result<Self, StateError> {
        let hashes = state.suppressed()?.into_iter().collect();
        let hashes = Arc::new(Current::new(hashes));
        Ok(Self { key: state.suppression_key()?, hashes, asking: Arc::default() })
    }

    /// To be held from asking until what comes of it is with the log: [`Suppressed::add`] waits for it.
    pub(crate) fn asking(&self) -> RwLockReadGuard<'_, ()> {
        self.asking.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event is of somebody who was erased. The user id decides where there is one: a device that an erased person
    /// has shared goes on for others.
    pub(crate) fn has(&self, named: Named<'_>) -> bool {
        let hashes = self.hashes.get();
        if hashes.is_empty() {
            return false;
        }
        let is_one = |kind: Kind, id: &str| {
            let identifier = Identifier::new(kind, id);
            identifier.is_some_and(|identifier| hashes.contains_key(&self.hash(&identifier)))
        };
        let of_a_user = |id: Option<&str>| id.is_some_and(|id| is_one(Kind::User, id));
        // What other systems' events bring has such an id in the device's place.
        let of_a_device = |id: Option<&str>| {
            id.is_some_and(|id| is_one(Kind::Anonymous, id) || is_one(Kind::External, id))
        };
        if of_a_user(named.user_id)
            || of_a_user(named.previous_id)
            || of_a_device(named.previous_id)
        {
            return true;
        }
        let context = named.context.and_then(|text| serde_json::from_str::<Context>(text).ok());
        let elsewhere = context.unwrap_or_default().external_ids;
        let is_elsewhere =
            |id: &ExternalId| is_one(Kind::External, &format!("{}:{}", id.kind, id.id));
        elsewhere.iter().any(is_elsewhere)
            || named.user_id.is_none() && of_a_device(named.anonymous_id)
    }

    /// Whether an identifier is of somebody who was erased.
    pub(crate) fn is_erased(&self, identifier: &Identifier<'_>) -> bool {
        self.hashes.get().contains_key(&self.hash(identifier))
    }

    /// Says of a record's time whether an identifier in it is of somebody who was erased since: as of now, but for the
    /// erasures under way, which need to find what they erase.
    pub(crate) fn gone(&self, under_way: &[Erasure]) -> Gone {
        let under_way = under_way.iter().flat_map(|erasure| &erasure.identifiers);
        let under_way: HashSet<Hash> = under_way
            .filter_map(|text| text.parse::<Identifier<'_>>().ok())
            .map(|identifier| self.hash(&identifier))
            .collect();
        let (this, hashes) = (self.clone(), self.hashes.get());
        Arc::new(move |identifier, received_at| {
            if hashes.is_empty() {
                return false;
            }
            let hash = this.hash(identifier);
            let since = hashes.get(&hash).filter(|_| !under_way.contains(&hash));
            since.is_some_and(|since| received_at <= *since)
        })
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
        let mut all = HashMap::clone(&self.hashes.get());
        for hash in new {
            // Again, of a device that was shared: of two that had it.
            let since = all.entry(hash).or_insert(now);
            *since = (*since).max(now);
        }
        self.hashes.set(all);
        // Whoever had asked before has the events with the log when this is free.
        drop(self.asking.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    fn hash(&self, identifier: &Identifier<'_>) -> Hash {
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
        let named = |user_id, anonymous_id| Named { user_id, anonymous_id, ..Named::default() };
        assert!(!suppressed.has(named(Some("u-1"), Some("d-1"))));
        let gone = ["user:u-1", "anonymous:d-1", "external:crm:7", "email:a@example.com"];
        let gone: Vec<_> = gone.iter().map(|text| text.parse().unwrap()).collect();
        suppressed.add(&state, &gone, Timestamp::from_unix_ms(1)).unwrap();
        for suppressed in [suppressed, Suppressed::read(&State::open(&path).unwrap()).unwrap()] {
            assert!(suppressed.has(named(Some(" u-1 "), None)));
            assert!(suppressed.has(named(Some("u-1"), Some("d-2"))));
            assert!(suppressed.has(named(None, Some("d-1"))));
            assert!(suppressed.has(named(None, Some("crm:7"))));
            assert!(!suppressed.has(named(Some("d-1"), Some("u-1"))));
            assert!(!suppressed.has(named(Some("u-2"), Some("d-2"))));
            // Somebody else's orders at the same till.
            assert!(!suppressed.has(named(Some("u-2"), Some("d-1"))));
            let context = r#"{"externalIds":[{"type":"crm","id":"7"}]}"#;
            assert!(suppressed.has(Named { context: Some(context), ..named(Some("u-2"), None) }));
            for previous_id in ["u-1", "d-1"] {
                let previous_id = Some(previous_id);
                assert!(suppressed.has(Named { previous_id, ..named(Some("u-2"), None) }));
            }
            // What others' records say of them counts for nothing, as far as it was said before.
            let [user, stranger] = ["user:u-1", "user:u-2"].map(|text| text.parse().unwrap());
            let gone = suppressed.gone(&[]);
            assert!(gone(&user, Timestamp::from_unix_ms(1)));
            assert!(!gone(&user, Timestamp::from_unix_ms(2)));
            assert!(!gone(&stranger, Timestamp::from_unix_ms(1)));
        }
        let kept = std::fs::read(&path).unwrap();
        assert!(!kept.windows(3).any(|bytes| bytes == b"u-1"));
    }
}
