//! How long things took, counted by size: what a histogram is made of.
//! Promises that observing costs a comparison or ten and no allocation.
//! Knows nothing of metric formats.

use std::time::Duration;

/// Upper bounds in seconds, ascending: around a sync of a fast disk and a request's few milliseconds fine, beyond coarse.
pub const BOUNDS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512,
    1.0, 4.0,
];

/// Counted durations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durations {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Durations {
    pub(super) fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.sum += took;
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound with how many were at most that, and above the bound before; the last has none.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        BOUNDS.into_iter().map(Some).chain([None]).zip(self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_bound_it_does_not_exceed() {
        let mut durations = Durations::default();
        for micros in [1, 100, 101, 4_000_000, 4_000_001] {
            durations.observe(Duration::from_micros(micros));
        }
        let filled: Vec<_> = durations.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(Some(0.0001), 2), (Some(0.00025), 1), (Some(4.0), 1), (None, 1)]);
        assert_eq!((durations.count(), durations.sum()), (5, Duration::from_micros(8_000_203)));
    }
}
