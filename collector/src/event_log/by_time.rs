//! Finding a place in the log by when records were received. Promises: no record received at that time or later is passed over.
//! Knows nothing of readers. It can search by halves because `received_at` never decreases.

use std::io;

use super::reader::{Source, Step, Walk};
use super::record::Offset;
use super::timestamp::Timestamp;

/// The last offset before everything that was received at `time` or later.
pub(super) fn before(source: &Source, time: Timestamp) -> io::Result<Offset> {
    let end = source.end.borrow().0;
    let mut walk = Walk::new(source.clone());
    // The first record wanted is in `low..=high`.
    let (mut low, mut high) = (source.segments.first(), end + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut step = walk.find(middle)?;
        if let Step::Hole(Some(next)) = step
            && next < high
        {
            step = walk.find(next)?;
        }
        match step {
            Step::Chunk(header, _) if header.received_at < time => {
                low = header.end().max(middle + 1);
            }
            // What cannot be read may be wanted: rather too early than too late.
            Step::Chunk(header, _) => high = header.first.clamp(low, middle),
            Step::Hole(_) => high = middle,
        }
    }
    Ok(Offset(low.saturating_sub(1)))
}
