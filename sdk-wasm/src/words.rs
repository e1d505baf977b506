//! The language spoken with `js/core.ts`: inputs and effects as rows of numbers. Pure, and tested on the host.
//! Promises to read any row without panicking (a number that makes no sense becomes the nearest one that does), and
//! that every effect fits in [`WORDS`]. Knows nothing of memory, pages or storage.
//!
//! A word is an `f64`: it carries every time, key and sequence number exactly (up to 2^53), and JavaScript needs no
//! `BigInt` for it. Bytes travel four to a word.

use alloc::vec::Vec;

use headwater_core::config::MAX_STATE_BYTES;
use headwater_core::platform::{
    Consent, Dropped, Effect, Entry, Key, Listed, Outcome, Priority, Report, Stamp,
};

/// Words of the one buffer: 512 entries of 8, more than any row that the core makes.
pub const WORDS: usize = 4096;

/// Words of one entry: key, bytes, priority and four times the category, time, campaign, then its stamp (sequence number or 0, session, start). A start
/// without a number says that the page sent the event as it was left, before a core was there.
pub const ENTRY: usize = 8;

/// Entries that fit in the buffer, and so the most that one input brings.
#[allow(clippy::cast_possible_truncation, reason = "512")]
pub const MAX_ENTRIES: u32 = (WORDS / ENTRY) as u32;

/// Words of the longest row, with room to spare: what is saved, or a batch of a backlog: 800 events and the 64 ranges that one
/// event tells of.
pub const LONGEST: usize = 2304;
const _: () = assert!(2 + MAX_STATE_BYTES.div_ceil(4) <= LONGEST && LONGEST <= WORDS);
const _: () = assert!(10 + 2 * 800 + 3 * 64 <= LONGEST);

/// The first `count` entries.
pub fn entries(words: &[f64], count: f64) -> impl Iterator<Item = (Entry, Option<Stamp>)> + '_ {
    words.as_chunks::<ENTRY>().0.iter().take(int(count) as usize).map(|word| {
        let [key, bytes, priority, at_ms, campaign, seq, session_ms, start] = *word;
        let entry = Entry {
            key: Key(long(key)),
            bytes: int(bytes),
            priority: match int(priority) & 3 {
                0 => Priority::Low,
                1 => Priority::Normal,
                _ => Priority::High,
            },
            #[allow(clippy::cast_possible_truncation, reason = "three bits")]
            category: (int(priority) >> 2 & 7) as u8,
            at_ms: long(at_ms),
            campaign: int(campaign),
        };
        let stamp =
            Stamp { seq: long(seq), session_ms: long(session_ms), session_start: start != 0.0 };
        (entry, (stamp.seq > 0 || stamp.session_start).then_some(stamp))
    })
}

/// The first `count` lines of a receipt: pairs of index and outcome.
pub fn listed(words: &[f64], count: f64) -> impl Iterator<Item = Listed> + '_ {
    words.as_chunks::<2>().0.iter().take(int(count) as usize).map(|[index, outcome]| Listed {
        index: int(*index),
        outcome: match int(*outcome) {
            0 => Outcome::Accepted,
            1 => Outcome::Duplicate,
            2 => Outcome::Quarantined,
            _ => Outcome::Refused,
        },
    })
}

/// The answers about consent, eight bits each.
#[allow(clippy::cast_possible_truncation, reason = "eight bits")]
pub fn consent(pending: f64, denied: f64) -> Consent {
    Consent { pending: int(pending) as u8, denied: int(denied) as u8 }
}

/// Saved bytes: their count, a multiple of four, then four to a word.
pub fn bytes(words: &[f64]) -> Vec<u8> {
    let Some((&count, words)) = words.split_first() else { return Vec::new() };
    let mut bytes = Vec::new();
    for word in words.iter().take(int(count) as usize / 4) {
        bytes.push(int(*word).to_le_bytes());
    }
    bytes.into_flattened()
}

/// The row of an effect: its first word says which. `queue` is the queue's identity, which only a `Send` carries.
pub fn row(effect: &Effect, queue: [u8; 16], out: &mut Row<'_>) {
    match effect {
        Effect::Store { key, stamp } => {
            out.all(&[1, key.0, stamp.seq, stamp.session_ms, u64::from(stamp.session_start)]);
        }
        Effect::Forget { key } => out.all(&[2, key.0]),
        Effect::Save { state } => {
            out.all(&[3, state.len() as u64]);
            out.bytes(state);
        }
        Effect::Purge => out.put(4),
        Effect::Commit { turn } => out.all(&[5, u64::from(turn.0)]),
        Effect::Load { limit } => out.all(&[6, u64::from((*limit).min(MAX_ENTRIES))]),
        Effect::Send(sending) => {
            out.all(&[
                7,
                u64::from(sending.request.0),
                u64::from(sending.leaving) + 2 * u64::from(sending.asking),
                u64::from(sending.dropped_at),
                sending.events.len() as u64,
                sending.dropped.len() as u64,
            ]);
            out.bytes(&queue);
            for event in &sending.events {
                out.all(&[event.key.0, u64::from(event.numbered)]);
            }
            for Dropped { first, last, reason } in &sending.dropped {
                out.all(&[*first, *last, *reason as u64]);
            }
        }
        Effect::WakeAt { monotonic_ms } => out.all(&[8, *monotonic_ms]),
        Effect::Report(report) => {
            let (kind, a, b) = match *report {
                Report::Dropped { key, reason } => (0, key.0, reason as u64),
                Report::Stopped { status } => (1, u64::from(status), 0),
                Report::NotDurable => (2, 0, 0),
                Report::StateLost => (3, 0, 0),
            };
            out.all(&[9, kind, a, b]);
        }
    }
}

/// Rows being written into the buffer, one behind the other.
#[derive(Debug)]
pub struct Row<'a> {
    words: &'a mut [f64],
    len: usize,
}

impl<'a> Row<'a> {
    /// An empty row over this buffer.
    pub fn new(words: &'a mut [f64]) -> Self {
        Self { words, len: 0 }
    }

    /// Words written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether any other row has room behind this one.
    pub fn has_room(&self) -> bool {
        self.len + LONGEST <= WORDS
    }

    fn put(&mut self, word: u64) {
        // Every row fits (asserted above), so that nothing is ever cut here.
        if let Some(place) = self.words.get_mut(self.len) {
            *place = float(word);
            self.len += 1;
        }
    }

    fn all(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.put(*word));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for four in bytes.as_chunks().0 {
            self.put(u64::from(u32::from_le_bytes(*four)));
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub(crate) fn int(word: f64) -> u32 {
    word as u32
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub(crate) fn long(word: f64) -> u64 {
    word as u64
}

#[allow(
    clippy::cast_precision_loss,
    reason = "times, keys, counts and sequence numbers stay below 2^53"
)]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::platform::{DropReason, Outgoing, Request, Sending, Turn};

    fn written(effect: &Effect) -> Vec<f64> {
        let mut words = [0.0; WORDS];
        let mut out = Row::new(&mut words);
        row(effect, *b"0123456789abcdef", &mut out);
        let len = out.len();
        words[..len].to_vec()
    }

    #[test]
    fn an_entry_is_eight_words_and_a_number_of_zero_is_no_stamp() {
        let words =
            [7.0, 512.0, 6.0, 1.7e12, 9.0, 0.0, 0.0, 0.0, 8.0, 1.0, 0.0, 2.0, 0.0, 3.0, 4.0, 1.0];
        let read: Vec<_> = entries(&words, 2.0).collect();
        let entry = Entry {
            key: Key(7),
            bytes: 512,
            priority: Priority::High,
            at_ms: 1_700_000_000_000,
            campaign: 9,
            category: 1,
        };
        assert_eq!(read[0], (entry, None));
        assert_eq!(read[1].1, Some(Stamp { seq: 3, session_ms: 4, session_start: true }));
    }

    #[test]
    fn words_that_make_no_sense_become_the_nearest_that_do() {
        for word in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300, 0.5] {
            let row = [word; ENTRY];
            assert_eq!(entries(&row, 1.0).count(), 1);
            assert_eq!(listed(&[word, word], 1.0).count(), 1);
            assert!(entries(&[0.0; 2 * ENTRY], word).count() <= 2);
            assert!(bytes(&[word, word, word]).len() <= 8);
            let _ = consent(word, word);
        }
        assert_eq!(entries(&[1.0; ENTRY - 1], 1.0).count(), 0);
        assert!(bytes(&[]).is_empty());
    }

    #[test]
    fn a_receipt_is_pairs_and_any_other_word_a_refusal() {
        let outcomes: Vec<_> = listed(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 9.0], 5.0)
            .map(|line| line.outcome)
            .collect();
        use Outcome::{Accepted, Duplicate, Quarantined, Refused};
        assert_eq!(outcomes, [Accepted, Duplicate, Quarantined, Refused, Refused]);
    }

    #[test]
    fn saved_bytes_come_back() {
        for count in [0, 8, 16, MAX_STATE_BYTES] {
            #[allow(clippy::cast_possible_truncation, reason = "any bytes will do")]
            let state: Vec<u8> = (0..count).map(|at| at as u8 | 0x80).collect();
            let row = written(&Effect::Save { state: state.clone() });
            assert_eq!(row.len(), 2 + count / 4, "what JavaScript works out from the count");
            assert_eq!(bytes(&row[1..]), state);
        }
    }

    #[test]
    fn every_effect_has_its_row() {
        let stamp = Stamp { seq: 3, session_ms: 1_700_000_000_000, session_start: true };
        assert_eq!(written(&Effect::Store { key: Key(9), stamp }), [1.0, 9.0, 3.0, 1.7e12, 1.0]);
        assert_eq!(written(&Effect::Forget { key: Key(9) }), [2.0, 9.0]);
        assert_eq!(written(&Effect::Purge), [4.0]);
        assert_eq!(written(&Effect::Commit { turn: Turn(2) }), [5.0, 2.0]);
        assert_eq!(written(&Effect::Load { limit: 9_999 }), [6.0, 512.0]);
        assert_eq!(written(&Effect::WakeAt { monotonic_ms: 40 }), [8.0, 40.0]);
        let reports = [
            (Report::Dropped { key: Key(4), reason: DropReason::Refused }, [9.0, 0.0, 4.0, 3.0]),
            (Report::Stopped { status: 401 }, [9.0, 1.0, 401.0, 0.0]),
            (Report::NotDurable, [9.0, 2.0, 0.0, 0.0]),
            (Report::StateLost, [9.0, 3.0, 0.0, 0.0]),
        ];
        for (report, row) in reports {
            assert_eq!(written(&Effect::Report(report)), row);
        }
    }

    #[test]
    fn a_batch_says_its_counts_first() {
        let sending = Sending {
            request: Request(5),
            events: Vec::from([
                Outgoing { key: Key(1), numbered: true },
                Outgoing { key: Key(2), numbered: false },
            ]),
            dropped: Vec::from([Dropped { first: 7, last: 8, reason: DropReason::TooOld }]),
            dropped_at: 1,
            leaving: true,
            asking: false,
        };
        let row = written(&Effect::Send(sending));
        assert_eq!(row[..6], [7.0, 5.0, 1.0, 1.0, 2.0, 1.0]);
        assert_eq!(row[6], f64::from(u32::from_le_bytes(*b"0123")));
        assert_eq!(row[10..], [1.0, 1.0, 2.0, 0.0, 7.0, 8.0, 1.0]);
    }

    #[test]
    fn a_row_that_is_longer_than_the_buffer_is_cut_and_does_not_panic() {
        let events = (0..3_000).map(|key| Outgoing { key: Key(key), numbered: true }).collect();
        let sending = Sending {
            request: Request(1),
            events,
            dropped: Vec::new(),
            dropped_at: 0,
            leaving: false,
            asking: true,
        };
        assert_eq!(written(&Effect::Send(sending)).len(), WORDS);
    }
}
