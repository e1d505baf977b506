//! `[log]`: how much history is kept, and how far back repetitions are recognised by their ids.
//! Promises that nothing is ever deleted unless it says so here. Deliberately does not know what a segment is.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use serde::Deserialize;

use crate::event_log::{Options, Retention};

/// `[log]`: the event log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Days after which events may be deleted. Default: never. They go in whole segments, so that some stay up to a quarter longer.
    pub keep_days: Option<NonZeroU32>,
    /// Bytes of log beyond which the oldest events may be deleted. Default: no limit. They go in segments of a quarter of it (1 to
    /// 256 MiB), once a minute, and the newest segment stays.
    pub keep_bytes: Option<NonZeroU64>,
    /// Also delete what a consumer has not read yet. Default `false`: its events wait, and take disk.
    pub delete_unread: bool,
    /// Message ids remembered, the newest: a repetition of an older event is stored again. Default 16,777,216, about 200 MB
    /// when full.
    pub remembered_ids: NonZeroU64,
}

impl Default for LogConfig {
    fn default() -> Self {
        let remembered_ids = NonZeroU64::new(Options::default().remembered_ids);
        Self {
            keep_days: None,
            keep_bytes: None,
            delete_unread: false,
            remembered_ids: remembered_ids.expect("the log's default is not zero"),
        }
    }
}

/// Smaller segments are more files than they are worth.
const LEAST_SEGMENT: u64 = 1 << 20;

impl LogConfig {
    /// As the log is told.
    pub fn retention(&self) -> Retention {
        let days = self.keep_days.map(|days| u64::from(days.get()));
        Retention {
            max_age: days.map(|days| Duration::from_secs(days * 86_400)),
            max_bytes: self.keep_bytes.map(NonZeroU64::get),
        }
    }

    /// As the log is opened with.
    pub fn options(&self) -> Options {
        let usual = Options::default();
        // What is kept goes in whole segments: a quarter of it at a time.
        let quarter = self.keep_bytes.map_or(u64::MAX, |bytes| bytes.get() / 4);
        Options {
            remembered_ids: self.remembered_ids.get(),
            segment_bytes: usual.segment_bytes.min(quarter.max(LEAST_SEGMENT)),
            ..usual
        }
    }
}
