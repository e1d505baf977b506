//! Which events set rules off lately, so that who waits for what one comes to need not search where it came to nothing.
//! Promises that no event is said to have set off nothing that has. Deliberately forgets: what is not known is looked up.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::unjudged::{self, Unjudged};
use crate::event_log::Offset;

/// So many events are kept that set something off: those of a minute at 10,000 events/s of which one in ten does. 1.5 MB.
const MOST: usize = 65_536;

/// The events behind a place in the log that set something off. A state that is made anew beside the one in use adds to them, so that
/// what it came to is there when it takes the other's place.
#[derive(Debug, Default)]
pub(crate) struct Lately {
    fired: Mutex<Known>,
    /// The conditions that could not be worked out.
    pub(crate) unjudged: unjudged::Known,
}

#[derive(Debug, Default)]
struct Known {
    /// Only behind it is all known; nowhere before it is said where to begin.
    since: Option<Offset>,
    records: BTreeSet<Offset>,
}

impl Lately {
    /// From here on all is told.
    pub(crate) fn begin(&self, applied: Offset) {
        let mut known = self.fired.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Known { since: Some(applied), records: BTreeSet::new() };
    }

    /// An event sets something off. It is told before that is committed, and counts even where it never is: who looks finds nothing.
    pub(super) fn fired(&self, record: Offset) {
        let mut known = self.fired.lock().unwrap_or_else(PoisonError::into_inner);
        if known.since.is_none_or(|since| record <= since) {
            return;
        }
        known.records.insert(record);
        if known.records.len() > MOST {
            known.since = known.records.pop_first();
        }
    }

    /// A condition cannot be worked out for an event, which is told like that.
    pub(super) fn unjudged(&self, record: Offset, of: &Unjudged) {
        let since = self.fired.lock().unwrap_or_else(PoisonError::into_inner).since;
        if since.is_some_and(|since| record > since) {
            self.unjudged.note(record, of);
        }
    }

    /// Whether an event that rules have looked at set off nothing, as far as is known.
    pub(crate) fn is_nothing(&self, record: Offset) -> bool {
        let known = self.fired.lock().unwrap_or_else(PoisonError::into_inner);
        known.since.is_some_and(|since| record > since) && !known.records.contains(&record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_have_come_to_nothing_is_said_to() {
        let at = Offset::from_number;
        let lately = Lately::default();
        lately.fired(at(5));
        assert!(!lately.is_nothing(at(6)), "nobody has said where it begins");
        lately.begin(at(10));
        lately.fired(at(9));
        lately.fired(at(12));
        let nothing = |record| lately.is_nothing(at(record));
        assert_eq!([9, 10, 11, 12, 13].map(nothing), [false, false, true, false, true]);
        // One that is made anew comes to the same, and to what is long past.
        lately.fired(at(12));
        lately.fired(at(11));
        assert_eq!([11, 12, 13].map(nothing), [false, false, true]);
    }

    #[test]
    fn it_forgets_the_oldest_and_knows_that_it_has() {
        let lately = Lately::default();
        lately.begin(Offset::from_number(0));
        let most = i64::try_from(MOST).unwrap();
        // Every second event.
        for number in 1..=most + 1 {
            lately.fired(Offset::from_number(2 * number));
        }
        let nothing = |record| lately.is_nothing(Offset::from_number(record));
        assert_eq!([1, 2, 3, 4, 5].map(nothing), [false, false, true, false, true]);
        assert!(nothing(2 * most + 3) && !nothing(2 * most + 2));
    }
}
