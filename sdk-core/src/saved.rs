//! What outlives a life of the client beside its events: the queue's identity and next number, the session, a wait in
//! force, consent, and drops not yet told. Promises that damage is noticed; knows nothing of where the bytes are kept.

use alloc::vec::Vec;

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
    pub(crate) dropped: Vec<Dropped>,
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
    /// The bytes to keep.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.dropped.len() * RANGE_BYTES);
        out.push(VERSION);
        out.extend_from_slice(&self.queue_id);
        out.extend_from_slice(&self.next_seq.to_le_bytes());
        let session = self.session.unwrap_or(Session { start_ms: 0, last_ms: 0, campaign: 0 });
        out.push(u8::from(self.session.is_some()));
        out.extend_from_slice(&session.start_ms.to_le_bytes());
        out.extend_from_slice(&session.last_ms.to_le_bytes());
        out.extend_from_slice(&session.campaign.to_le_bytes());
        out.push(match self.consent {
            Consent::Pending => 0,
            Consent::Granted => 1,
            Consent::Denied => 2,
        });
        out.extend_from_slice(&self.backoff.failures.to_le_bytes());
        out.extend_from_slice(&self.backoff.until_ms.to_le_bytes());
        out.extend_from_slice(&self.backoff.length_ms.to_le_bytes());
        out.push(u8::from(self.backoff.demanded));
        for range in &self.dropped {
            out.extend_from_slice(&range.first.to_le_bytes());
            out.extend_from_slice(&range.last.to_le_bytes());
            out.push(range.reason as u8);
        }
        let sum = checksum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// What was kept, or nothing if these are not bytes that [`Saved::encode`] made.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if checksum(body) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = body;
        if u8::from_le_bytes(take(&mut rest)?) != VERSION {
            return None;
        }
        let queue_id = take(&mut rest)?;
        let next_seq = u64::from_le_bytes(take(&mut rest)?);
        if !(1..MAX_SEQ).contains(&next_seq) {
            return None;
        }
        let in_session = take::<1>(&mut rest)? == [1];
        let session = Session {
            start_ms: u64::from_le_bytes(take(&mut rest)?),
            last_ms: u64::from_le_bytes(take(&mut rest)?),
            campaign: u32::from_le_bytes(take(&mut rest)?),
        };
        let consent = match take(&mut rest)? {
            [0] => Consent::Pending,
            [1] => Consent::Granted,
            [2] => Consent::Denied,
            _ => return None,
        };
        let backoff = Backoff {
            failures: u32::from_le_bytes(take(&mut rest)?),
            until_ms: u64::from_le_bytes(take(&mut rest)?),
            length_ms: u64::from_le_bytes(take(&mut rest)?),
            demanded: take::<1>(&mut rest)? == [1],
        };
        let mut dropped = Vec::new();
        while !rest.is_empty() {
            let range = Dropped {
                first: u64::from_le_bytes(take(&mut rest)?),
                last: u64::from_le_bytes(take(&mut rest)?),
                reason: reason(take(&mut rest)?)?,
            };
            if range.first > range.last || range.last >= MAX_SEQ {
                return None;
            }
            dropped.push(range);
        }
        let session = in_session.then_some(session);
        Some(Self { queue_id, next_seq, session, consent, backoff, dropped })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn reason([byte]: [u8; 1]) -> Option<DropReason> {
    use DropReason::{QueueFull, Refused, TooLarge, TooOld, Unnumbered};
    [QueueFull, TooOld, TooLarge, Refused, Unnumbered].into_iter().find(|r| *r as u8 == byte)
}

/// FNV-1a: enough to notice torn or mixed-up bytes, in ten instructions.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

const VERSION: u8 = 1;
/// Numbers stay exact in JavaScript, and far from where adding to them could overflow.
const MAX_SEQ: u64 = 1 << 53;
const RANGE_BYTES: usize = 17;
const HEADER_BYTES: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{MAX_DROPPED_RANGES, MAX_STATE_BYTES};

    fn saved(ranges: usize) -> Saved {
        Saved {
            queue_id: *b"0123456789abcdef",
            next_seq: 77,
            session: Some(Session { start_ms: 1, last_ms: 2, campaign: 3 }),
            consent: Consent::Pending,
            backoff: Backoff { failures: 4, until_ms: 5, length_ms: 6, demanded: true },
            dropped: (0..ranges as u64)
                .map(|n| Dropped { first: n, last: n, reason: DropReason::Unnumbered })
                .collect(),
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        for saved in
            [saved(0), saved(3), Saved { session: None, consent: Consent::Denied, ..saved(1) }]
        {
            assert_eq!(Saved::decode(&saved.encode()), Some(saved));
        }
    }

    #[test]
    fn the_fullest_state_keeps_the_stated_bound() {
        assert!(saved(MAX_DROPPED_RANGES).encode().len() <= MAX_STATE_BYTES);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let whole = saved(2).encode();
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
    fn version_1_is_still_read() {
        let bytes = [
            1, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 97, 98, 99, 100, 101, 102, 77, 0, 0, 0, 0,
            0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0, 0, 0,
            5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1,
        ];
        let mut with_sum = bytes.to_vec();
        with_sum.extend_from_slice(&checksum(&bytes).to_le_bytes());
        assert_eq!(Saved::decode(&with_sum), Some(saved(0)));
    }
}
