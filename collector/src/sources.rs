//! Who may send: the sources by their write keys, as they are needed by the write path.
//! Promises that finding a source takes the same time whichever key is tried, right or wrong.
//! Deliberately knows nothing of HTTP: the key arrives as text, from wherever it stood.

mod rate;

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::{
    config::{EventFilter, IdentitySecret, Name, Origin, Secret, SourceConfig, WriteKey},
    current::Current,
    event_log::{Flags, SourceName, Trust},
    limits::{MAX_BATCH_BYTES, MAX_EVENT_BYTES},
};
use rate::Rate;

/// A producer known to the collector.
#[derive(Debug)]
pub struct Source {
    /// Its name, as records and metrics carry it.
    pub name: SourceName,
    /// How far its events are believed.
    pub trust: Trust,
    /// What it may send; `None` is anything.
    pub may_send: Option<EventFilter>,
    /// What its events are marked with.
    pub flags: Flags,
    /// Most bytes of one of its events.
    pub max_event_bytes: usize,
    /// Most bytes of one of its batches, inflated.
    pub max_batch_bytes: usize,
    /// What who a person is must be signed with; empty if nothing.
    pub identity_secrets: Vec<Secret<IdentitySecret>>,
    origins: Option<Vec<Origin>>,
    rate: Option<Limit>,
    key_hashes: Vec<[u8; 32]>,
}

/// A rate, and what it was made of: a reload that does not change it must not fill the bucket.
#[derive(Clone, Debug)]
struct Limit {
    configured: (NonZeroU32, NonZeroU32),
    rate: Arc<Rate>,
}

impl Source {
    /// A source as configured.
    pub fn new(name: &Name, config: &SourceConfig) -> Self {
        Self {
            name: name.to_source_name(),
            trust: config.trust,
            may_send: config.events.clone(),
            flags: Flags { test: config.test, ..Flags::default() },
            max_event_bytes: config.max_event_bytes,
            max_batch_bytes: config.max_batch_bytes,
            identity_secrets: config.identify_secrets.clone(),
            origins: config.origins.clone(),
            rate: config.events_per_second.map(|per_second| {
                let burst = config.burst.unwrap_or(per_second);
                let rate = Arc::new(Rate::new(per_second, burst, Instant::now()));
                Limit { configured: (per_second, burst), rate }
            }),
            key_hashes: config.write_keys.iter().map(hash).collect(),
        }
    }

    /// What comes in as webhooks: believed, since their signatures are checked, and without a key that anyone could send.
    pub(crate) fn posted(name: &Name, test: bool) -> Self {
        Self {
            name: name.to_source_name(),
            trust: Trust::Server,
            may_send: None,
            flags: Flags { test, ..Flags::default() },
            max_event_bytes: MAX_EVENT_BYTES,
            max_batch_bytes: MAX_BATCH_BYTES,
            identity_secrets: Vec::new(),
            origins: None,
            rate: None,
            key_hashes: Vec::new(),
        }
    }

    /// Whether a page of this origin may send. What is no page has none, and could claim any.
    pub fn admits_origin(&self, origin: Option<&str>) -> bool {
        match (&self.origins, origin) {
            (Some(admitted), Some(origin)) => admitted.iter().any(|one| one.is(origin)),
            _ => true,
        }
    }

    /// Counts this many events against the source's rate, or says how long to wait with them.
    pub fn take(&self, events: usize, now: Instant) -> Result<(), Duration> {
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        self.rate.as_ref().map_or(Ok(()), |limit| limit.rate.take(events, now))
    }
}

/// All of them, as configured now. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Sources(Arc<Current<Vec<Arc<Source>>>>);

impl Sources {
    /// At most `u32::MAX` sources, of which there are a handful.
    pub fn new(sources: Vec<Source>) -> Self {
        Self(Arc::new(Current::new(sources.into_iter().map(Arc::new).collect())))
    }

    /// The source with this key. Hashes are compared, all of them, so that neither a key's first
    /// bytes nor its place in the list can be measured from outside.
    pub fn with_key(&self, key: &str) -> Option<Arc<Source>> {
        let wanted: [u8; 32] = Sha256::digest(key).into();
        let sources = self.0.get();
        let (mut found, mut index) = (Choice::from(0), 0_u32);
        for (at, source) in (0_u32..).zip(&*sources) {
            for hash in &source.key_hashes {
                let same = hash.ct_eq(&wanted);
                index.conditional_assign(&at, same);
                found |= same;
            }
        }
        bool::from(found).then(|| Arc::clone(&sources[index as usize]))
    }

    /// Whether pages of this origin may send to any of them: what a browser asks before anyone knows the key.
    pub fn admit_origin(&self, origin: &str) -> bool {
        self.0.get().iter().any(|source| source.admits_origin(Some(origin)))
    }

    /// Whether any of them is a server's.
    pub(crate) fn any_trusted(&self) -> bool {
        self.0.get().iter().any(|source| source.trust == Trust::Server)
    }

    /// Whether it counts only with a proof who somebody is: one source demands it, and another's key must not be the way around.
    pub fn ask_proof(&self) -> bool {
        self.0.get().iter().any(|source| !source.identity_secrets.is_empty())
    }

    /// From now on these. One that keeps its name and its rate keeps what it has used of it.
    pub fn replace(&self, mut sources: Vec<Source>) {
        let old = self.0.get();
        for source in &mut sources {
            let before = old.iter().find(|old| old.name == source.name);
            if let (Some(Limit { configured, rate }), Some(limit)) =
                (before.and_then(|before| before.rate.as_ref()), &mut source.rate)
                && *configured == limit.configured
            {
                limit.rate = Arc::clone(rate);
            }
        }
        self.0.set(sources.into_iter().map(Arc::new).collect());
    }
}

/// Those whose events are claims alone, because others demand a proof and they have nothing that it could be looked at by.
pub(crate) fn without_proof(sources: &[Source]) -> impl Iterator<Item = &Source> {
    let asks = sources.iter().any(|source| !source.identity_secrets.is_empty());
    let is_public = |source: &&Source| source.trust == Trust::Client && !source.flags.test;
    sources.iter().filter(is_public).filter(move |it| asks && it.identity_secrets.is_empty())
}

fn hash(key: &Secret<WriteKey>) -> [u8; 32] {
    Sha256::digest(key.expose().as_str()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, toml: &str) -> Source {
        Source::new(&Name::try_from(name.to_owned()).unwrap(), &toml::from_str(toml).unwrap())
    }

    #[test]
    fn a_key_finds_its_source_and_no_other() {
        let sources = Sources::new(vec![
            source("a", "write_key = 'key-a'"),
            source("b", "write_keys = ['key-b', 'old-b']"),
        ]);
        for (key, name) in [("key-a", "a"), ("key-b", "b"), ("old-b", "b")] {
            assert_eq!(&*sources.with_key(key).unwrap().name, name);
        }
        for wrong in ["", "key-", "key-a ", "KEY-A"] {
            assert!(sources.with_key(wrong).is_none());
        }
    }

    #[test]
    fn a_page_of_another_origin_may_not_send() {
        let any = source("a", "write_key = 'k'");
        assert!(any.admits_origin(Some("https://x.example")) && any.admits_origin(None));
        let listed = "write_key = 'k'\norigins = ['https://shop.example', 'http://localhost:3000']";
        let listed = source("a", listed);
        assert!(listed.admits_origin(None), "an app, a server or an image");
        for (origin, admitted) in [
            ("https://shop.example", true),
            ("HTTPS://Shop.Example", true),
            ("http://localhost:3000", true),
            ("http://shop.example", false),
            ("https://shop.example:444", false),
            ("https://shop.example.evil.example", false),
            ("null", false),
        ] {
            assert_eq!(listed.admits_origin(Some(origin)), admitted, "{origin}");
        }
    }

    #[test]
    fn a_reload_changes_keys_and_keeps_what_is_used_of_a_rate() {
        let toml = "write_key = 'k'\nevents_per_second = 1\nburst = 2";
        let sources = Sources::new(vec![source("a", toml), source("b", "write_key = 'gone'")]);
        let now = Instant::now();
        let in_flight = sources.with_key("k").unwrap();
        in_flight.take(2, now).unwrap();
        sources.replace(vec![source("a", &toml.replace("'k'", "'new'"))]);
        assert!(sources.with_key("k").is_none() && sources.with_key("gone").is_none());
        sources.with_key("new").unwrap().take(1, now).unwrap_err();
        sources.replace(vec![source("a", "write_key = 'k'\nevents_per_second = 2\nburst = 2")]);
        sources.with_key("k").unwrap().take(1, now).unwrap();
    }

    #[test]
    fn only_a_source_with_a_rate_is_slowed() {
        let now = Instant::now();
        let free = source("a", "write_key = 'k'");
        assert!((0..9).all(|_| free.take(1_000_000, now).is_ok()));
        let slow = source("a", "write_key = 'k'\nevents_per_second = 10\nburst = 20");
        slow.take(20, now).unwrap();
        slow.take(1, now).unwrap_err();
    }
}
