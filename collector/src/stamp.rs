//! `context.headwater`: where a device numbered the event, and what it reports as dropped.
//! Promises that an event without a stamp costs one search of its context, and that a stamp that is
//! written wrongly is said to be wrong, never skipped. Deliberately knows nothing else of the context.

use std::{borrow::Cow, sync::LazyLock};

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event_log::{DroppedRange, Sequence};

/// What the stamp says; empty for an event without one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The event's place in its device's queue.
    pub sequence: Option<Sequence<'a>>,
    /// Numbers that the queue will never deliver.
    pub dropped: Vec<DroppedRange>,
}

/// What is looked for in every context, made ready once.
static NAME: LazyLock<memmem::FinderRev<'static>> =
    LazyLock::new(|| memmem::FinderRev::new(b"\"headwater\""));
/// Bytes of a queue's identity; ours have 22.
const MAX_QUEUE_BYTES: usize = 64;
/// Ranges of one stamp: more than fit beside a queue's worth of honest reports.
const MAX_RANGES: usize = 256;

/// The stamp as it stands in the JSON.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    queue: Cow<'a, str>,
    seq: u64,
    #[serde(default)]
    dropped: Vec<(u64, u64, Cow<'a, str>)>,
}

impl<'a> Stamp<'a> {
    /// Finds the stamp in a context's JSON text.
    pub fn find(context: &'a str) -> Result<Self, &'static str> {
        // Searching is several times cheaper than reading a context that has no stamp.
        let Some(at) = NAME.rfind(context.as_bytes()) else {
            return Ok(Self::default());
        };
        match written_last(&context[at..]).or_else(|| written_anywhere(context)) {
            None => Ok(Self::default()),
            Some(Ok(written)) => written.try_into(),
            Some(Err(_)) => Err("`context.headwater` is {queue, seq, dropped?}"),
        }
    }
}

/// Our SDKs write the stamp as the context's last member: then only the stamp itself is read. What
/// stands deeper, or before other members, does not end like that.
fn written_last(tail: &str) -> Option<serde_json::Result<Written<'_>>> {
    let stamp = tail.strip_prefix("\"headwater\":")?.strip_suffix('}')?;
    serde_json::from_str(stamp).ok().map(Ok)
}

/// Reads all of the context.
fn written_anywhere(context: &str) -> Option<serde_json::Result<Written<'_>>> {
    #[derive(Deserialize)]
    struct Context<'a> {
        #[serde(borrow)]
        headwater: Option<&'a RawValue>,
    }
    match serde_json::from_str::<Context<'_>>(context) {
        Ok(context) => context.headwater.map(|stamp| serde_json::from_str(stamp.get())),
        Err(error) => Some(Err(error)),
    }
}

impl<'a> TryFrom<Written<'a>> for Stamp<'a> {
    type Error = &'static str;

    fn try_from(written: Written<'a>) -> Result<Self, Self::Error> {
        if written.queue.is_empty() || written.queue.len() > MAX_QUEUE_BYTES {
            return Err("`context.headwater.queue` has 1 to 64 bytes");
        }
        if written.seq == 0 {
            return Err("`context.headwater.seq` starts at 1");
        }
        if written.dropped.len() > MAX_RANGES {
            return Err("`context.headwater.dropped` has at most 256 ranges");
        }
        let ranges = written.dropped.into_iter().map(|(first, last, _reason)| {
            let range = DroppedRange { first, last };
            if first == 0 || last < first {
                Err("a range of `context.headwater.dropped` is [first, last, reason]")
            } else {
                Ok(range)
            }
        });
        Ok(Self {
            dropped: ranges.collect::<Result<_, _>>()?,
            sequence: Some(Sequence { queue: written.queue, seq: written.seq }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(queue: &str, seq: u64) -> Stamp<'_> {
        Stamp { sequence: Some(Sequence { queue: queue.into(), seq }), dropped: Vec::new() }
    }

    #[test]
    fn the_stamp_is_found_wherever_it_stands() {
        for context in [
            r#"{"a":1,"headwater":{"queue":"q","seq":2}}"#,
            r#"{"headwater": {"seq":2, "queue":"q", "later":1}, "a":{"headwater":{"queue":"x","seq":9}}}"#,
            r#"{"headwater":{"queue":"q","seq":2},"text":"\"headwater\":{\"queue\":\"x\",\"seq\":9}}"}"#,
        ] {
            assert_eq!(Stamp::find(context), Ok(numbered("q", 2)), "{context}");
        }
        for context in
            ["{}", "null", r#"{"a":{"headwater":{"queue":"q","seq":2}}}"#, r#"{"headwater":null}"#]
        {
            assert_eq!(Stamp::find(context), Ok(Stamp::default()), "{context}");
        }
    }

    #[test]
    fn drops_are_ranges() {
        let context = r#"{"headwater":{"queue":"q","seq":12,"dropped":[[5,9,"queue_full"],[11,11,"too_large"]]}}"#;
        let ranges = [(5, 9), (11, 11)].map(|(first, last)| DroppedRange { first, last });
        assert_eq!(Stamp::find(context).unwrap().dropped, ranges);
    }

    #[test]
    fn a_wrong_stamp_is_not_skipped() {
        for stamp in [
            "1",
            "{}",
            r#"{"queue":"q"}"#,
            r#"{"queue":"q","seq":0}"#,
            r#"{"queue":"","seq":1}"#,
            r#"{"queue":"q","seq":-1}"#,
            r#"{"queue":"q","seq":4,"dropped":[[3,2,"x"]]}"#,
        ] {
            let context = format!(r#"{{"headwater":{stamp}}}"#);
            assert!(Stamp::find(&context).is_err(), "{context}");
        }
    }
}
