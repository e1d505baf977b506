//! Who may send: the sources by their write keys, as they are needed by the write path.
//! Promises that finding a source takes the same time whichever key is tried, right or wrong.
//! Deliberately knows nothing of HTTP: the key arrives as text, from wherever it stood.

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::{
    config::{EventFilter, Name, SourceConfig},
    event_log::{SourceName, Trust},
};

/// A producer known to the collector.
#[derive(Debug)]
pub struct Source {
    /// Its name, as records and metrics carry it.
    pub name: SourceName,
    /// How far its events are believed.
    pub trust: Trust,
    /// What it may send; `None` is anything.
    pub may_send: Option<EventFilter>,
    key_hash: [u8; 32],
}

impl Source {
    /// A source as configured.
    pub fn new(name: &Name, config: &SourceConfig) -> Self {
        Self {
            name: name.to_source_name(),
            trust: config.trust,
            may_send: config.events.clone(),
            key_hash: Sha256::digest(config.write_key.expose().as_str()).into(),
        }
    }
}

/// All of them.
#[derive(Debug)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// At most `u32::MAX` sources, of which there are a handful.
    pub fn new(sources: Vec<Source>) -> Self {
        Self(sources)
    }

    /// The source with this key. Hashes are compared, all of them, so that neither a key's first
    /// bytes nor its place in the list can be measured from outside.
    pub fn with_key(&self, key: &str) -> Option<&Source> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let (mut found, mut index) = (Choice::from(0), 0_u32);
        for (at, source) in (0_u32..).zip(&self.0) {
            let same = source.key_hash.ct_eq(&hash);
            index.conditional_assign(&at, same);
            found |= same;
        }
        bool::from(found).then(|| &self.0[index as usize])
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, WriteKey};

    #[test]
    fn a_key_finds_its_source_and_no_other() {
        let source = |name: &str, key: &str| {
            let name = Name::try_from(name.to_owned()).unwrap();
            let write_key = Secret::new(WriteKey::try_from(key.to_owned()).unwrap());
            Source::new(&name, &SourceConfig { write_key, trust: Trust::Client, events: None })
        };
        let sources = Sources::new(vec![source("a", "key-a"), source("b", "key-b")]);
        assert_eq!(&*sources.with_key("key-b").unwrap().name, "b");
        assert_eq!(&*sources.with_key("key-a").unwrap().name, "a");
        for wrong in ["", "key-", "key-a ", "KEY-A"] {
            assert!(sources.with_key(wrong).is_none());
        }
    }
}
