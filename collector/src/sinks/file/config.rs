//! What can be said about files in the configuration.
//! Promises values within their limits. Deliberately does not look at the disk.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::{
    config::within,
    limits::{FILE_SINK_AGE, FILE_SINK_BYTES, FILE_SINK_LONGEST_AGE, FILE_SINK_MOST_BYTES},
};

/// `kind = "file"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The folder; made if it is not there. It belongs to this consumer alone.
    pub path: PathBuf,
    /// A file of this many bytes is closed, 1,024 to 1 GiB. Default 128 MiB. It can have one delivery more.
    #[serde(default = "max_bytes", deserialize_with = "bytes")]
    pub max_bytes: u64,
    /// A file of this age is closed, in whole seconds, 1 to 31 days. Default an hour.
    #[serde(rename = "max_age_seconds", default = "max_age", deserialize_with = "seconds")]
    pub max_age: Duration,
    /// Whether closed files are compressed with zstd. Default `false`.
    #[serde(default)]
    pub compress: bool,
}

fn max_bytes() -> u64 {
    FILE_SINK_BYTES
}

fn bytes<'de, D: Deserializer<'de>>(number: D) -> Result<u64, D::Error> {
    within(number, 1024..=FILE_SINK_MOST_BYTES)
}

fn max_age() -> Duration {
    FILE_SINK_AGE
}

fn seconds<'de, D: Deserializer<'de>>(number: D) -> Result<Duration, D::Error> {
    within(number, 1..=FILE_SINK_LONGEST_AGE.as_secs()).map(Duration::from_secs)
}
