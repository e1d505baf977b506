//! What is new in a group and what is a repetition: by message id, and by a queue's sequence number.
//! Promises: judging changes nothing; only what is durable is remembered, live and at recovery, by the same fold.
//! Knows nothing of files: where an id must be confirmed, it asks.

use std::collections::HashSet;
use std::io;

use super::Appended;
use super::chunk::{Columns, Mark, QueueRef};
use super::ids::{HashKey, Id, Ids};
use super::queues::{HashedMap, Queues, Settled};
use super::record::{NewEvent, SourceName};
use super::timestamp::Timestamp;
use super::varint;

/// The events of one `append`, hashed and encoded where the sender runs, so that the one writer has less to do.
pub(super) struct Batch {
    pub(super) events: Vec<Arriving>,
    /// Those of its events; nearly always one.
    sources: Vec<SourceName>,
    /// Their encoded records, one behind the other, each with its length in front.
    pub(super) bytes: Vec<u8>,
}

/// What judging an event takes.
pub(super) struct Arriving {
    id: Id,
    body_hash: u32,
    /// Index into the batch's.
    source: usize,
    /// The queue's hash, and the number in it; 0 if only drops are reported.
    sequence: Option<(u64, u64)>,
    dropped: Vec<(u64, u64)>,
    /// When it happened, by the collector's clock; `None` means now.
    event_time: Option<Timestamp>,
    /// Where its bytes end in the batch's.
    end: usize,
}

impl Batch {
    pub(super) fn new(key: &HashKey, events: &[NewEvent<'_>]) -> Self {
        let mut bytes = Vec::with_capacity(events.iter().map(|e| e.json.len() + 160).sum());
        let mut head = Vec::with_capacity(128);
        let (mut sources, mut keys) = (Vec::<SourceName>::new(), Vec::new());
        let events = events.iter().map(|event| {
            let known = sources.iter().rposition(|source| *source == event.source);
            let source = known.unwrap_or_else(|| {
                sources.push(event.source.clone());
                keys.push(key.of(&event.source));
                sources.len() - 1
            });
            let key = &keys[source];
            head.clear();
            event.encode_head(&mut head);
            varint::put(&mut bytes, (head.len() + event.json.len()) as u64);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(event.json.as_bytes());
            let queue = |s: &super::Sequence<'_>| (key.queue(&s.queue), s.seq);
            let possible =
                |range: &&super::DroppedRange| 0 < range.first && range.first <= range.last;
            Arriving {
                id: key.id(&event.message_id),
                body_hash: event.body_hash,
                source,
                sequence: event.sequence.as_ref().map(queue),
                dropped: event.dropped.iter().filter(possible).map(|r| (r.first, r.last)).collect(),
                event_time: event.event_time,
                end: bytes.len(),
            }
        });
        let events = events.collect();
        Self { events, sources, bytes }
    }
}

/// What a stored event is confirmed by.
pub(super) struct Stored {
    pub(super) id: Id,
    pub(super) body_hash: u32,
    pub(super) received_at: Timestamp,
}

/// What the log has seen.
pub(super) struct Memory {
    pub(super) ids: Ids,
    pub(super) queues: Queues,
}

/// Repetitions that do not repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conflicts {
    /// The same source and message id with another body.
    pub other_body: u64,
    /// A sequence number that had arrived (or was reported dropped), with a message id that is certainly not stored: another
    /// event, from a device whose storage forgot. It is kept.
    pub other_id: u64,
    /// As `other_id`, but the event is older than the ids remembered: taken for the honest repetition that it nearly
    /// certainly is.
    pub unknowable: u64,
}

/// A group, judged: what to write, and what to answer.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) columns: Columns,
    pub(super) body: Vec<u8>,
    /// One list for each batch.
    pub(super) verdicts: Vec<Vec<Appended>>,
    /// Of each batch, how many are duplicates by their ids alone: the body is another.
    pub(super) other_bodies: Vec<u64>,
    pub(super) conflicts: Conflicts,
}

impl Memory {
    /// Judges each event against what is stored and against the events before it in the group. `stored` reads what stands at
    /// an offset, `None` where it cannot be read.
    pub(super) fn judge(
        &self,
        batches: &[Batch],
        mut stored: impl FnMut(u64) -> io::Result<Option<Stored>>,
    ) -> io::Result<Judged> {
        self.ids.warm(batches.iter().flat_map(|batch| &batch.events).map(|event| event.id));
        let mut judged = Judged::default();
        let count = batches.iter().map(|batch| batch.events.len()).sum();
        judged.columns.make_room(count);
        judged.body.reserve(batches.iter().map(|batch| batch.bytes.len()).sum());
        let mut ids: HashedMap<Id, u32> = HashedMap::default();
        ids.reserve(count);
        let mut numbers: HashSet<(u64, u64), _> = HashSet::with_hasher(
            std::hash::BuildHasherDefault::<super::queues::AlreadyHashed>::default(),
        );
        let mut queue_refs: HashedMap<u64, u32> = HashedMap::default();
        numbers.reserve(count);
        for batch in batches {
            let mut begin = 0;
            let mut verdicts = Vec::with_capacity(batch.events.len());
            let other_bodies_before = judged.conflicts.other_body;
            for event in &batch.events {
                let bytes = &batch.bytes[begin..event.end];
                begin = event.end;
                let mut known = ids.get(&event.id).copied();
                if known.is_none() {
                    for offset in self.ids.candidates(event.id) {
                        if let Some(found) = stored(offset)?
                            && found.id == event.id
                        {
                            known = Some(found.body_hash);
                            break;
                        }
                    }
                }
                let number = event.sequence.filter(|(_, seq)| *seq > 0);
                let repeats = |(queue, seq)| {
                    self.queues.is_settled(queue, seq, seq) || numbers.contains(&(queue, seq))
                };
                let number_known = number.is_some_and(repeats);
                let oldest_remembered =
                    if number_known && known.is_none() && self.ids.has_forgotten() {
                        Some(
                            stored(self.ids.floor())?
                                .map_or(Timestamp::MIN, |found| found.received_at),
                        )
                    } else {
                        None
                    };
                let verdict = match known {
                    Some(body) => {
                        let differs = body != event.body_hash && body != 0 && event.body_hash != 0;
                        judged.conflicts.other_body += u64::from(differs);
                        Appended::Duplicate
                    }
                    // The number has been seen and the id has not. An event is received after it happened: if the ids reach
                    // back to before this one happened, it was never stored, and a device that lost its storage (a power cut)
                    // gave the number again. Calling that a duplicate would lose the event.
                    None if number_known => match oldest_remembered {
                        Some(oldest) if event.event_time.is_some_and(|at| at <= oldest) => {
                            judged.conflicts.unknowable += 1;
                            Appended::Duplicate
                        }
                        _ => {
                            judged.conflicts.other_id += 1;
                            Appended::Accepted
                        }
                    },
                    None => Appended::Accepted,
                };
                verdicts.push(verdict);
                let columns = &mut judged.columns;
                if verdict == Appended::Accepted {
                    ids.insert(event.id, event.body_hash);
                    columns.ids.push(event.id);
                    columns.body_hashes.push(event.body_hash);
                    let source = columns.source(&batch.sources[event.source]);
                    columns.event_sources.push(source);
                    judged.body.extend_from_slice(bytes);
                }
                // Drops first: the event's own number would open a gap where they lie.
                let fresh_number = number.filter(|_| !number_known);
                let mut in_columns = None;
                if let Some((queue, _)) = event.sequence {
                    let mut queue_ref = |columns: &mut Columns| {
                        *queue_refs.entry(queue).or_insert_with(|| {
                            let source = columns.source(&batch.sources[event.source]);
                            columns.queues.push(QueueRef { source, key: queue });
                            u32::try_from(columns.queues.len() - 1).unwrap_or(u32::MAX)
                        })
                    };
                    for &(first, last) in &event.dropped {
                        if !self.queues.is_settled(queue, first, last) {
                            let queue = queue_ref(columns);
                            columns.marks.push(Mark { queue, first, last, how: Settled::Dropped });
                        }
                    }
                    if let Some((queue, seq)) = fresh_number {
                        numbers.insert((queue, seq));
                        let queue = queue_ref(columns);
                        match verdict {
                            Appended::Accepted => in_columns = Some((queue, seq)),
                            // Sent first without its number, or by two tabs: the number has its event, say so durably.
                            Appended::Duplicate => columns.marks.push(Mark {
                                queue,
                                first: seq,
                                last: seq,
                                how: Settled::Arrived,
                            }),
                        }
                    }
                }
                if verdict == Appended::Accepted {
                    columns.sequences.push(in_columns);
                }
            }
            judged.verdicts.push(verdicts);
            judged.other_bodies.push(judged.conflicts.other_body - other_bodies_before);
        }
        Ok(judged)
    }

    /// Remembers only the ids: what became of the numbers is known already.
    pub(super) fn remember_ids(&mut self, first: u64, columns: &Columns) {
        for (offset, id) in (first..).zip(&columns.ids) {
            self.ids.insert(*id, offset);
        }
    }

    /// Remembers a durable chunk whose first event is at `first`.
    pub(super) fn remember(&mut self, first: u64, columns: &Columns) {
        self.remember_ids(first, columns);
        self.remember_numbers(columns);
    }

    /// Remembers only what became of the numbers: the ids are too old.
    pub(super) fn remember_numbers(&mut self, columns: &Columns) {
        let Columns { sources, queues, .. } = columns;
        let of = |queue: u32| {
            let queue = queues.get(queue as usize)?;
            Some((queue.key, sources.get(queue.source as usize)?))
        };
        for mark in &columns.marks {
            if let Some((key, source)) = of(mark.queue) {
                self.queues.settle(key, source, (mark.first, mark.last), mark.how);
            }
        }
        for (queue, seq) in columns.sequences.iter().flatten() {
            if let Some((key, source)) = of(*queue) {
                self.queues.settle(key, source, (*seq, *seq), Settled::Arrived);
            }
        }
    }
}
