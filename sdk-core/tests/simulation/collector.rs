//! The simulated collector: keeps what arrives once, by number or by message id, and remembers everything the run is judged
//! by. Deliberately harsh: a number that was seen is a duplicate whatever event carries it, so that a client which gives a
//! number twice loses an event here.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::platform::{Dropped, Listed, Outcome};
use headwater_core::testing::Arriving;

#[derive(Default)]
pub(crate) struct Collector {
    /// Message ids in the order in which they were stored.
    pub(crate) log: Vec<u64>,
    ids: BTreeSet<u64>,
    /// What each number of each queue was: the message id.
    pub(crate) numbers: BTreeMap<([u8; 16], u64), u64>,
    /// Numbers that were reported as never coming.
    pub(crate) told: BTreeSet<([u8; 16], u64)>,
    /// Message ids that are refused for good.
    pub(crate) poison: BTreeSet<u64>,
    pub(crate) duplicates: u64,
}

impl Collector {
    /// Answers the question which of these it has.
    pub(crate) fn known(&self, events: &[Arriving]) -> Vec<Listed> {
        let line = |index| Listed { index, outcome: Outcome::Duplicate };
        let known = (0u32..).zip(events).filter(|(_, event)| self.ids.contains(&event.sample.id));
        known.map(|(index, _)| line(index)).collect()
    }

    /// Takes a batch, and says what became of the events that were not plainly accepted.
    pub(crate) fn take(&mut self, events: &[Arriving]) -> Vec<Listed> {
        let mut listed = Vec::new();
        for (index, event) in (0u32..).zip(events) {
            let outcome = self.take_one(event);
            if outcome != Outcome::Accepted {
                listed.push(Listed { index, outcome });
            }
        }
        listed
    }

    fn take_one(&mut self, event: &Arriving) -> Outcome {
        let id = event.sample.id;
        if self.poison.contains(&id) {
            return Outcome::Refused;
        }
        let number_seen = match event.number {
            Some(number) => {
                let first = *self.numbers.entry(number).or_insert(id);
                assert_eq!(first, id, "number {} was given to two events", number.1);
                self.ids.contains(&id)
            }
            None => {
                assert!(
                    event.dropped.is_empty(),
                    "drops were told with an event that has no number"
                );
                false
            }
        };
        if number_seen || !self.ids.insert(id) {
            self.duplicates += 1;
            return Outcome::Duplicate;
        }
        // Only what is stored is remembered: drops told with anything else would be forgotten at the next start.
        if let Some((queue, _)) = event.number {
            for Dropped { first, last, .. } in &event.dropped {
                self.told.extend((*first..=*last).map(|seq| (queue, seq)));
            }
        }
        self.log.push(id);
        Outcome::Accepted
    }

    /// Numbers of a queue that neither came nor were told, below the highest that came.
    pub(crate) fn unexplained(&self) -> Vec<([u8; 16], u64)> {
        let mut highest: BTreeMap<[u8; 16], u64> = BTreeMap::new();
        for (queue, seq) in self.numbers.keys() {
            let most = highest.entry(*queue).or_default();
            *most = (*most).max(*seq);
        }
        highest
            .into_iter()
            .flat_map(|(queue, most)| (1..=most).map(move |seq| (queue, seq)))
            .filter(|number| !self.numbers.contains_key(number) && !self.told.contains(number))
            .collect()
    }
}
