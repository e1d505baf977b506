//! Words that every part of the configuration uses: names, and values that must not be seen.
//! Promises that a name can stand in a record, a metric label and a path as it is, and that no secret shows up in a log.
//! Deliberately does not know what is named or hidden.

use std::fmt;

use serde::Deserialize;

use crate::event_log::SourceName;

/// The name of a source or a consumer: 1–64 of `a-z 0-9 _ -`, starting with a letter or digit. It is
/// written into every record and every metric label, so it is plain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Box<str>);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the log has it.
    pub fn to_source_name(&self) -> SourceName {
        self.0.parse().expect("a name's characters and length are within a source name's")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let starts_well = name.bytes().next().is_some_and(plain);
        if starts_well && name.len() <= 64 && name.bytes().all(|b| plain(b) || b"_-".contains(&b)) {
            Ok(Self(name.into()))
        } else {
            Err(format!(
                "`{name}` is not a name: expected 1 to 64 of a-z, 0-9, `_` and `-`, \
                 starting with a letter or digit"
            ))
        }
    }
}

/// A value that must not be seen: its `Debug` says only that it is there.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it. Never log it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
