//! Which message ids were stored, and where: a table of fingerprints, eight bytes an id, over the last N events of the log.
//! Promises: an id inside the window is always found; what it returns are candidates, to be confirmed against the log.
//! Knows nothing of files: it maps hashes to offsets. Forgetting is by age alone, when the cap is reached.

use std::hash::{Hash, Hasher};

use siphasher::sip128::{Hash128, Hasher128, SipHasher13};

use super::record::SourceName;

/// Hash of a source and a message id under the log's own secret key: nobody outside can choose two that collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(pub(super) [u8; 16]);

impl Hash for Id {
    /// Half of it is hash enough for a map.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.halves()[0]);
    }
}

impl Id {
    fn halves(self) -> [u64; 2] {
        [0, 8].map(|at| {
            let half = self.0[at..].first_chunk().expect("an id is two times eight bytes");
            u64::from_le_bytes(*half)
        })
    }
}

/// The log's secret hash key; lives in every segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HashKey(pub(super) [u8; 16]);

impl HashKey {
    /// What the texts of a source are hashed with.
    pub(super) fn of(&self, source: &SourceName) -> SourceKey {
        let begun = |domain: u8| {
            let mut hasher = SipHasher13::new_with_key(&self.0);
            hasher.write_u8(domain);
            hasher.write(source.as_bytes());
            // No source has a zero in its name, so no two pairs make the same bytes.
            hasher.write_u8(0);
            hasher
        };
        SourceKey { ids: begun(b'm'), queues: begun(b'q') }
    }
}

/// The hash key, and a source hashed with it: most batches have one source only.
pub(super) struct SourceKey {
    ids: SipHasher13,
    queues: SipHasher13,
}

impl SourceKey {
    /// The id of an event.
    pub(super) fn id(&self, message_id: &str) -> Id {
        let hash = finish(self.ids, message_id);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&hash.h1.to_le_bytes());
        bytes[8..].copy_from_slice(&hash.h2.to_le_bytes());
        Id(bytes)
    }

    /// The key under which a device's queue is known.
    pub(super) fn queue(&self, queue: &str) -> u64 {
        finish(self.queues, queue).h1
    }
}

fn finish(mut hasher: SipHasher13, text: &str) -> Hash128 {
    hasher.write(text.as_bytes());
    hasher.finish128()
}

/// Low bits of a slot: an offset, modulo 2^38. Windows are far smaller, so nothing is ambiguous.
const OFFSET_BITS: u32 = 38;
const OFFSET_MASK: u64 = (1 << OFFSET_BITS) - 1;
const FINGERPRINT_BITS: u32 = 64 - OFFSET_BITS;
/// The largest window: half of what an offset's bits can tell apart.
pub(super) const MAX_REMEMBERED: u64 = 1 << (OFFSET_BITS - 1);
/// Growing a shard is one allocation of a few tens of KB; 16,384 shards keep it below 0.1 ms with 50 M ids.
const MAX_SHARDS: u64 = 16_384;
/// Ids a shard should come to hold at the cap; below it fewer shards do.
const IDS_PER_SHARD: u64 = 1024;
const SMALLEST_SHARD: usize = 8;
/// Below so many slots a shard doubles: growing by a quarter from the beginning would move each of the first million ids a
/// dozen times, and cost the writer a quarter of its time (measured).
const SMALL_SHARD: usize = 32;

/// The table. Memory follows use: about 10 to 13 bytes an id, and 24 bytes a shard.
pub(super) struct Ids {
    shards: Box<[Shard]>,
    shard_bits: u32,
    cap: u64,
    /// One past the newest offset.
    end: u64,
    /// The log begins here: ids below this offset were never inserted, or cannot be confirmed.
    begin: u64,
    bytes: usize,
}

#[derive(Default, Clone)]
struct Shard {
    /// Open addressing, linear probing, 0 is empty. The place follows from the fingerprint alone, so that a shard can grow
    /// without the whole hash.
    slots: Vec<u64>,
    used: usize,
}

impl Ids {
    /// An empty table that remembers the ids of the last `cap` events of a log that begins at `begin`.
    pub(super) fn new(cap: u64, begin: u64) -> Self {
        let cap = cap.clamp(1, MAX_REMEMBERED);
        let shards = (cap / IDS_PER_SHARD).next_power_of_two().clamp(1, MAX_SHARDS);
        let count = usize::try_from(shards).unwrap_or(1);
        Self {
            shards: vec![Shard::default(); count].into_boxed_slice(),
            shard_bits: shards.trailing_zeros(),
            cap,
            end: begin,
            begin,
            bytes: count * size_of::<Shard>(),
        }
    }

    /// Remembers that `id` is stored at `offset`. Offsets only grow.
    pub(super) fn insert(&mut self, id: Id, offset: u64) {
        self.end = self.end.max(offset + 1);
        let (floor, end) = (self.floor(), self.end);
        let (shard, fingerprint) = self.place(id);
        let shard = &mut self.shards[shard];
        let before = shard.slots.capacity();
        shard.make_room(floor, end);
        shard.insert(fingerprint << OFFSET_BITS | offset & OFFSET_MASK);
        self.bytes += (shard.slots.capacity() * 8).wrapping_sub(before * 8);
    }

    /// Offsets where `id` may be stored, all inside the window.
    pub(super) fn candidates(&self, id: Id) -> impl Iterator<Item = u64> {
        let (shard, fingerprint) = self.place(id);
        let (floor, end) = (self.floor(), self.end);
        self.shards[shard]
            .probe(fingerprint)
            .take_while(|&slot| slot != 0)
            .filter(move |slot| slot >> OFFSET_BITS == fingerprint)
            .map(move |slot| offset_of(slot, end))
            .filter(move |&offset| offset >= floor)
    }

    /// The log begins here now: what was before it cannot be confirmed any more.
    pub(super) fn begin_at(&mut self, first: u64) {
        self.begin = self.begin.max(first.min(self.end));
    }

    /// Touches the slots that a batch is about to need, so that the cache misses overlap instead of adding up.
    pub(super) fn warm(&self, ids: impl Iterator<Item = Id>) {
        let touched = ids.fold(0, |sum, id| {
            let (shard, fingerprint) = self.place(id);
            sum ^ self.shards[shard].probe(fingerprint).next().unwrap_or(0)
        });
        std::hint::black_box(touched);
    }

    /// The oldest offset whose id is still known.
    pub(super) fn floor(&self) -> u64 {
        self.begin.max(self.end.saturating_sub(self.cap))
    }

    /// Whether some id of this log is beyond the table's reach.
    pub(super) fn has_forgotten(&self) -> bool {
        self.floor() > 1
    }

    /// How many events the window holds.
    pub(super) fn len(&self) -> u64 {
        self.end - self.floor()
    }

    /// Bytes of memory held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn place(&self, id: Id) -> (usize, u64) {
        let [low, high] = id.halves();
        let shard = if self.shard_bits == 0 { 0 } else { low >> (64 - self.shard_bits) };
        // Zero would look like an empty slot.
        let fingerprint = (high >> OFFSET_BITS).max(1);
        (usize::try_from(shard).unwrap_or(0), fingerprint)
    }
}

/// The newest offset below `end` that a slot can mean.
fn offset_of(slot: u64, end: u64) -> u64 {
    let behind = (end.wrapping_sub(1)).wrapping_sub(slot) & OFFSET_MASK;
    (end - 1).saturating_sub(behind)
}

impl Shard {
    /// The slots in the order in which a fingerprint is looked for; empty for an empty shard.
    fn probe(&self, fingerprint: u64) -> impl Iterator<Item = u64> {
        let (tail, head) = self.slots.split_at(self.home(fingerprint));
        head.iter().chain(tail).copied()
    }

    fn home(&self, fingerprint: u64) -> usize {
        let len = self.slots.len() as u64;
        usize::try_from((fingerprint * len) >> FINGERPRINT_BITS).unwrap_or(0)
    }

    fn insert(&mut self, slot: u64) {
        let (home, len) = (self.home(slot >> OFFSET_BITS), self.slots.len());
        let mut at = home;
        // `make_room` leaves a fifth of the slots empty.
        while self.slots[at] != 0 {
            at = if at + 1 == len { 0 } else { at + 1 };
        }
        self.slots[at] = slot;
        self.used += 1;
    }

    /// Keeps one slot in five empty: first by throwing out what the window has left behind, then by growing, by a quarter once
    /// it is not small.
    fn make_room(&mut self, floor: u64, end: u64) {
        if (self.used + 1) * 5 <= self.slots.len() * 4 {
            return;
        }
        let kept = |slot: &u64| *slot != 0 && offset_of(*slot, end) >= floor;
        let live = self.slots.iter().copied().filter(kept).count();
        // Where throwing out frees only a little, grow as well, or the next insert is back here.
        let len = if (live + 1) * 10 <= self.slots.len() * 7 {
            self.slots.len()
        } else {
            let more = if self.slots.len() < SMALL_SHARD { 1 } else { 4 };
            (self.slots.len() + self.slots.len().div_ceil(more)).max(SMALLEST_SHARD)
        };
        let old = std::mem::replace(&mut self.slots, vec![0; len]);
        self.used = 0;
        old.into_iter().filter(kept).for_each(|slot| self.insert(slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey([7; 16]);

    fn id(n: u64) -> Id {
        KEY.of(&"web".parse().unwrap()).id(&n.to_string())
    }

    fn found(ids: &Ids, n: u64) -> bool {
        ids.candidates(id(n)).any(|offset| offset == n)
    }

    #[test]
    fn ids_differ_by_source_and_by_use() {
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        let of_a = KEY.of(&a);
        assert_ne!(of_a.id("1"), KEY.of(&b).id("1"));
        assert_ne!(of_a.id("1").0[..8], of_a.queue("1").to_le_bytes());
        assert_ne!(of_a.id("1"), HashKey([8; 16]).of(&a).id("1"));
    }

    #[test]
    fn every_id_in_the_window_is_found_and_memory_stays_bounded() {
        for cap in [1, 10, 1000, 50_000] {
            let mut ids = Ids::new(cap, 1);
            let mut most = 0;
            for n in 1..=cap * 5 {
                ids.insert(id(n), n);
                most = most.max(ids.bytes());
                assert!(found(&ids, n));
                assert!(found(&ids, n.saturating_sub(cap - 1).max(1)));
                assert!(n <= cap || !found(&ids, n - cap));
            }
            assert_eq!(ids.len(), cap);
            assert!(most as u64 <= 200 + ids.shards.len() as u64 * 24 + cap * 16, "{cap}: {most}");
        }
    }

    #[test]
    fn an_empty_table_is_small() {
        assert!(Ids::new(16 << 20, 1).bytes() < 600_000);
    }

    #[test]
    fn offsets_beyond_the_slots_bits_are_recovered() {
        let begin = (5 << OFFSET_BITS) - 500;
        let mut ids = Ids::new(100_000, begin);
        (begin..begin + 1000).for_each(|n| ids.insert(id(n), n));
        assert!((begin..begin + 1000).all(|n| found(&ids, n)));
    }

    #[test]
    fn strangers_are_rarely_candidates() {
        let mut ids = Ids::new(100_000, 1);
        (1..100_000).for_each(|n| ids.insert(id(n), n));
        let strangers = (1_000_000..1_100_000).filter(|&n| ids.candidates(id(n)).next().is_some());
        assert!(strangers.count() < 20);
    }
}
