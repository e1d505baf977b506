//! What outlives a life of the client beside its events: the queue's identity and next number, the session, a wait in
//! force, consent, and drops not yet told. Promises that damage is noticed; knows nothing of where the bytes are kept.

use alloc::vec::Vec;

use crate::config::MAX_SEQ;
use crate::drops::Drops;
use crate::platform::{Consent, DropReason, Dropped};
use crate::session::Session;

/// The state of one queue between two lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) queue_id: [u8; 16],
    pub(crate) next_seq: u64,
    pub(crate) session: Option<Session>,
    pub(crate) consent: Consent,
    pub(crate) backoff: Backoff,
    /// Numbers that will never be delivered, as far as the collector was not told yet.
    pub(crate) drops: Drops,
    /// Of a page that was left: what it had sent without an answer.
    pub(crate) left: Left,
}

/// The numbers that were sent as a page was left. A number too many does no harm: the collector is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// The first of them.
    pub(crate) first: u64,
    /// The first that its event went without.
    pub(crate) bare: u64,
    /// The one behind the last.
    pub(crate) end: u64,
}

/// A wait that may outlive the life in which it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// Its end, unix milliseconds; 0 for none.
    pub(crate) until_ms: u64,
    /// Its whole length: what is left is never more, whatever the device's clock says by then.
    pub(crate) length_ms: u64,
    /// Whether the collector demanded it, so that nothing may cut it short.
    pub(crate) demanded: bool,
}

impl Saved {
    /// The bytes to keep: words of eight, the last a checksum. One shape for all of it costs a page 300 bytes less than
    /// fields of their own sizes.
    pub(crate) fn encode(&self, backoff: Backoff) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |word: u64| out.push(word.to_le_bytes());
        let [id_low, id_high] = id_words(self.queue_id);
        let session = self.session.unwrap_or(Session { start_ms: 0, last_ms: 0, campaign: 0 });
        let flags = u64::from(self.consent.pending) << 8
            | u64::from(self.consent.denied) << 16
            | u64::from(self.session.is_some()) << 2
            | u64::from(backoff.demanded) << 3;
        let head = [
            VERSION,
            id_low,
            id_high,
            self.next_seq,
            flags,
            session.start_ms,
            session.last_ms,
            u64::from(session.campaign),
            u64::from(backoff.failures),
            backoff.until_ms,
            backoff.length_ms,
            self.left.first,
            self.left.bare,
            self.left.end,
        ];
        head.into_iter().for_each(&mut put);
        for range in self.drops.ranges() {
            put(range.first);
            put(range.last << 3 | range.reason as u64);
        }
        out.push(checksum(out.as_flattened()).to_le_bytes());
        out.into_flattened()
    }

    /// What was kept, or nothing if these are not bytes that [`Saved::encode`] made.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "two words were made of 32 bits, says the checksum"
    )]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        let (words, rest) = body.as_chunks::<8>();
        if checksum(body) != u64::from_le_bytes(*sum) || !rest.is_empty() {
            return None;
        }
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let mut next = || words.next();
        if next()? != VERSION {
            return None;
        }
        let (id_low, id_high, next_seq, flags) = (next()?, next()?, next()?, next()?);
        let (start_ms, last_ms, campaign) = (next()?, next()?, next()?);
        let (failures, until_ms, length_ms) = (next()?, next()?, next()?);
        let left = Left { first: next()?, bare: next()?, end: next()? };
        let [_, pending, denied, ..] = flags.to_le_bytes();
        let session = Session { start_ms, last_ms, campaign: campaign as u32 };
        let backoff =
            Backoff { failures: failures as u32, until_ms, length_ms, demanded: flags & 8 != 0 };
        let mut drops = Drops::default();
        while let Some(first) = next() {
            let last = next()?;
            let range = Dropped { first, last: last >> 3, reason: reason(last & 7)? };
            if first > range.last || range.last >= MAX_SEQ {
                return None;
            }
            drops.add_range(range);
        }
        if next_seq == 0 || next_seq >= MAX_SEQ {
            return None;
        }
        Some(Self {
            queue_id: id_bytes(id_low, id_high),
            next_seq,
            session: (flags & 4 != 0).then_some(session),
            consent: Consent { pending, denied },
            backoff,
            drops,
            left,
        })
    }
}

#[allow(clippy::cast_possible_truncation, reason = "each half is meant")]
fn id_words(id: [u8; 16]) -> [u64; 2] {
    let id = u128::from_le_bytes(id);
    [id as u64, (id >> 64) as u64]
}

fn id_bytes(low: u64, high: u64) -> [u8; 16] {
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
}

fn reason(number: u64) -> Option<DropReason> {
    Some(match number {
        0 => DropReason::QueueFull,
        1 => DropReason::TooOld,
        2 => DropReason::TooLarge,
        3 => DropReason::Refused,
        4 => DropReason::Unnumbered,
        5 => DropReason::Denied,
        _ => return None,
    })
}

/// FNV-1a: enough to notice torn or mixed-up bytes, in ten instructions.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

const VERSION: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MAX_DROPPED_RANGES, MAX_STATE_BYTES};

    fn saved(ranges: usize) -> Saved {
        let mut drops = Drops::default();
        for n in 0..ranges as u64 {
            drops.add_range(Dropped { first: 2 * n, last: 2 * n, reason: DropReason::Unnumbered });
        }
        Saved {
            queue_id: *b"0123456789abcdef",
            next_seq: 77,
            session: Some(Session { start_ms: 1, last_ms: 2, campaign: 3 }),
            consent: Consent { pending: 0b101, denied: 0b10 },
            backoff: Backoff { failures: 4, until_ms: 5, length_ms: 6, demanded: true },
            drops,
            left: Left::default(),
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        for saved in [
            saved(0),
            saved(3),
            Saved { session: None, consent: Consent::DENIED, ..saved(1) },
            Saved { left: Left { first: 3, bare: 5, end: 9 }, ..saved(2) },
        ] {
            assert_eq!(Saved::decode(&saved.encode(saved.backoff)), Some(saved));
        }
    }

    #[test]
    fn the_fullest_state_keeps_the_stated_bound() {
        let left = Left { first: 1, bare: 2, end: 3 };
        let fullest = Saved { left, ..saved(MAX_DROPPED_RANGES) };
        assert!(fullest.encode(fullest.backoff).len() <= MAX_STATE_BYTES);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let whole = saved(2).encode(saved(2).backoff);
        for at in 0..whole.len() {
            assert_eq!(Saved::decode(&whole[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                assert_eq!(Saved::decode(&bytes), None, "bit {bit} of byte {at}");
            }
        }
    }

    /// A released version's bytes: never edited, only added to.
    #[test]
    fn version_2_is_still_read() {
        let words: [u64; 14] = [
            2,
            0x3736_3534_3332_3130,
            0x6665_6463_6261_3938,
            77,
            0x02_050C,
            1,
            2,
            3,
            4,
            5,
            6,
            0,
            0,
            0,
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut with_sum = bytes.clone();
        with_sum.extend_from_slice(&checksum(&bytes).to_le_bytes());
        assert_eq!(Saved::decode(&with_sum), Some(saved(0)));
    }
}
