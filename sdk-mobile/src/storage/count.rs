//! How many events there are, without looking at each. Promises the number that counting all of them would give, as long as every removal goes
//! through [`Storage`]. Knows nothing of why one is removed.

use rusqlite::params;

use super::{Failure, KEEP, Storage, execute};

impl Storage {
    /// How many events there are. Looks at those alone that came since they were last counted.
    pub(crate) fn count(&self) -> Result<u64, Failure> {
        Ok(self.counted()?.events)
    }

    /// How many events there are up to the latest row: what was counted last, and what came since.
    pub(super) fn counted(&self) -> Result<Counted, Failure> {
        let kept = self.state(COUNT)?;
        let base = kept.as_deref().and_then(Counted::read).unwrap_or_default();
        let mut select = self
            .connection
            .prepare_cached("SELECT count(*), ifnull(max(id), ?1) FROM event WHERE id > ?1")?;
        Ok(select.query_row([base.upto], |row| {
            let events = base.events + row.get::<_, i64>(0)?.cast_unsigned();
            Ok(Counted { events, upto: row.get(1)? })
        })?)
    }

    pub(super) fn keep_count(&self, counted: Counted) -> Result<(), Failure> {
        execute(&self.connection, KEEP, params![COUNT, counted.bytes()])?;
        Ok(())
    }
}

/// Events up to a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) events: u64,
    upto: i64,
}

impl Counted {
    fn read(kept: &[u8]) -> Option<Self> {
        let (events, upto) = (kept.first_chunk()?, kept.last_chunk()?);
        Some(Self { events: u64::from_le_bytes(*events), upto: i64::from_le_bytes(*upto) })
    }

    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.events.to_le_bytes());
        bytes[8..].copy_from_slice(&self.upto.to_le_bytes());
        bytes
    }
}

/// Events that are counted one by one as the file is opened, or somebody else has written: microseconds.
pub(super) const MAX_UNCOUNTED: u32 = 256;

const COUNT: &str = "count";
