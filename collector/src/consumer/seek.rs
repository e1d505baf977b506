//! Places in the log: by offset, by time, its start and its end.
//! Promises that a place by time has everything before it that was received before that time, and nothing else.
//! Deliberately reads only a few records: the log's times never decrease.

use std::{io, str::FromStr};

use crate::{
    event_log::{EventLog, Offset, ReadError, Record, Timestamp},
    event_time,
};

/// Where to go on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before the first record.
    Start,
    /// Behind the last one.
    End,
    /// Behind this record.
    After(Offset),
    /// Before what was received at or after this time.
    Time(Timestamp),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            text => text.parse().map(Self::After).or_else(|_| {
                event_time::parse(text).map(Self::Time).ok_or_else(|| {
                    "a place is `start`, `end`, the `offset` of an event (to go on behind it), or a time like \
                     `2026-01-31T12:00:00Z`"
                        .to_owned()
                })
            }),
        }
    }
}

impl Place {
    /// The last offset before the place. Blocks: may read from the disk.
    pub(crate) fn find(self, log: &EventLog) -> io::Result<Offset> {
        match self {
            Self::Start => Ok(Offset::START),
            Self::End => Ok(*log.end().borrow()),
            Self::After(offset) => Ok(offset),
            Self::Time(time) => log.before(time),
        }
    }
}

/// The record at this offset; `None` if it was erased, cannot be read, or is there no more.
pub(super) fn record_at(log: &EventLog, offset: Offset) -> io::Result<Option<Record>> {
    let Some(before) = offset.since(Offset::START).checked_sub(1) else { return Ok(None) };
    let record = next_after(log, numbered(before))?;
    Ok(record.filter(|record| record.offset == offset))
}

/// The first readable record behind this offset.
fn next_after(log: &EventLog, offset: Offset) -> io::Result<Option<Record>> {
    let mut reader = log.reader(Some(offset));
    loop {
        match reader.next_chunk(1) {
            Ok(records) => return Ok(records.into_iter().next()),
            Err(ReadError::Io(error)) => return Err(error),
            // The reader stands behind the damage now.
            Err(ReadError::Damaged { .. }) => {}
        }
    }
}

fn numbered(number: u64) -> Offset {
    number.to_string().parse().expect("a number without sign or leading zero is an offset")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!("start".parse(), Ok(Place::Start));
        assert_eq!("end".parse(), Ok(Place::End));
        assert_eq!("17".parse(), Ok(Place::After("17".parse().unwrap())));
        let time = Timestamp::from_unix_ms(0);
        assert_eq!("1970-01-01T00:00:00Z".parse(), Ok(Place::Time(time)));
        for wrong in ["", "yesterday", "-1", "01"] {
            wrong.parse::<Place>().unwrap_err();
        }
    }
}
