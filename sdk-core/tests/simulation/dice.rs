//! The test's own randomness (SplitMix64, Steele, Lea and Flood 2014), apart from the core's, so that a change there does not
//! change what a seed plays.

pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `most`, both included.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        self.next() % (most + 1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.up_to(n - 1) == 0
    }

    /// A position from 0 to `last`, both included.
    pub(crate) fn index(&mut self, last: usize) -> usize {
        usize::try_from(self.up_to(last as u64)).unwrap_or(last)
    }

    /// From 0 to `most`, both included.
    pub(crate) fn small(&mut self, most: u32) -> u32 {
        u32::try_from(self.up_to(u64::from(most))).unwrap_or(most)
    }
}
