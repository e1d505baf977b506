//! Letting the oldest segments go, and the checkpoint that this needs: what is forgotten must have been folded first.
//! Promises: a segment goes only when it is sealed, wholly older than asked, and wholly read by whoever has to; a crash leaves a
//! log that begins where it did or where it was to begin. Knows nothing of who reads: it is told up to where all have.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::checkpoint::{self, Checkpoint};
use super::dedup::Memory;
use super::erase::each_chunk;
use super::fold::{Depth, Fold};
use super::ids::{HashKey, Ids};
use super::queues::Queues;
use super::reader::Source;
use super::record::Offset;
use super::segment::{Found, HEADER_LEN, Sealed, Segment, SegmentFile};
use super::timestamp::Timestamp;

/// How much history is kept. Without any limit, all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Records received longer ago than this may go.
    pub max_age: Option<Duration>,
    /// Beyond so many bytes of segment files the oldest may go.
    pub max_bytes: Option<u64>,
}

/// What a round of upkeep came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Upkept {
    /// Segments that are gone.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The log's first record now.
    pub first: Offset,
    /// Bytes that are beyond the limits and stay, because somebody has not read them yet.
    pub unread_bytes: u64,
}

/// What upkeep remembers from one round to the next.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// A checkpoint up to here was tried: damage may be in the way, and looking again finds it again.
    tried: u64,
}

/// One round, and how many events that could be read are gone. Blocks. `now` is the clock's; records up to `read` may go.
pub(super) fn upkeep(
    source: &Source,
    (hash_key, tracked_queues): (HashKey, u64),
    (retention, now): (&Retention, Timestamp),
    read: Offset,
    (upkeep, interrupted): (&mut Upkeep, &AtomicBool),
) -> io::Result<(Upkept, u64)> {
    let (sealed, open) = source.segments.sealed();
    let Some(open) = open else { return Ok((Upkept::default(), 0)) };
    let (gone, unread_bytes) = expired(source, &sealed, open, (retention, now), read)?;
    let first = sealed.get(gone).map_or(open, |segment| segment.name.first);
    if gone == 0 && upkeep.tried == open {
        return Ok((Upkept { first: Offset(first), unread_bytes, ..Upkept::default() }, 0));
    }

    if gone == 0 && !begins_where_it_should(source, &sealed, open, (hash_key, tracked_queues))? {
        // A beginning that is missing is to be said at every start: a checkpoint would say that it was let go.
        upkeep.tried = open;
        return Ok((Upkept { first: Offset(first), unread_bytes, ..Upkept::default() }, 0));
    }

    let firsts: Vec<u64> = sealed.iter().map(|segment| segment.name.first).chain([open]).collect();
    let mut limit = sealed.len();
    let (checkpoint, until, gone_events) = loop {
        let log = checkpoint::Log { hash_key, firsts: &firsts };
        let known = checkpoint::load(&*source.disk, &source.dir, &log, tracked_queues)?;
        let until = known.as_ref().map(|known| known.until);
        match advance(source, known, (&sealed, open), (gone, limit), (tracked_queues, interrupted))?
        {
            Ok((checkpoint, gone_events)) => break (checkpoint, until, gone_events),
            // Damage in what stays is to be found, and said, at every start: the checkpoint ends before it.
            Err(damaged) => limit = damaged,
        }
    };
    let kept = checkpoint::Log { hash_key, firsts: &firsts[gone..] };
    if gone > 0 || until != Some(checkpoint.until) {
        checkpoint::save(&*source.disk, &source.dir, &kept, &checkpoint)?;
    }
    upkeep.tried = open;

    // From here on the checkpoint says where the log begins: what is not removed now is at the next start.
    let bytes = source
        .segments
        .change(|segments| segments.drain(..gone).map(|segment| segment.end_position).sum());
    source.tail.forget(first - 1);
    for segment in &sealed[..gone] {
        source.disk.remove(&segment.name.path(&source.dir))?;
    }
    if gone > 0 {
        source.disk.sync_dir(&source.dir)?;
    }
    let first = Offset(first);
    Ok((Upkept { segments: gone as u64, bytes, first, unread_bytes }, gone_events))
}

/// Whether the log begins at its first record, or where a checkpoint says.
fn begins_where_it_should(
    source: &Source,
    sealed: &[Sealed],
    open: u64,
    (hash_key, tracked_queues): (HashKey, u64),
) -> io::Result<bool> {
    let firsts: Vec<u64> = sealed.iter().map(|segment| segment.name.first).chain([open]).collect();
    if firsts[0] == 1 {
        return Ok(true);
    }
    let log = checkpoint::Log { hash_key, firsts: &firsts };
    let known = checkpoint::load(&*source.disk, &source.dir, &log, tracked_queues)?;
    Ok(known.is_some_and(|known| known.begin == firsts[0]))
}

/// Whether the segment being written holds records so old that they would outlive `age` by far before it is full.
pub(super) fn has_grown_old(source: &Source, age: Duration, now: Timestamp) -> io::Result<bool> {
    let Some(open) = source.segments.sealed().1 else { return Ok(false) };
    let begun = begins_at(source, open)?;
    Ok(begun.is_some_and(|at| at.unix_ms() < now.unix_ms().saturating_sub(millis(age / 4))))
}

impl Sealed {
    fn open(&self, source: &Source) -> io::Result<SegmentFile> {
        let file = source.disk.open(&self.name.path(&source.dir))?;
        Ok(SegmentFile { file, name: self.name, generation: self.generation })
    }
}

/// How many of the oldest segments go, and the bytes of those that would if they had been read.
fn expired(
    source: &Source,
    sealed: &[Sealed],
    open: u64,
    (retention, now): (&Retention, Timestamp),
    read: Offset,
) -> io::Result<(usize, u64)> {
    let mut left = source.segments.totals().1;
    let (mut gone, mut unread) = (0, 0);
    for (at, segment) in sealed.iter().enumerate() {
        let next = sealed.get(at + 1).map_or(open, |next| next.name.first);
        let too_much = retention.max_bytes.is_some_and(|most| left > most);
        let too_old = match retention.max_age {
            Some(age) if !too_much => {
                let limit = now.unix_ms().saturating_sub(millis(age));
                // What follows it was received later than all of it; nothing may have followed yet.
                let later = match begins_at(source, next)? {
                    None => last_received(source, segment, next)?,
                    later => later,
                };
                later.is_none_or(|at| at.unix_ms() < limit)
            }
            _ => false,
        };
        if !too_much && !too_old {
            break;
        }
        left -= segment.bytes;
        if next <= read.0.saturating_add(1) && unread == 0 {
            gone += 1;
        } else {
            unread += segment.bytes;
        }
    }
    Ok((gone, unread))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// When the first record of the segment that begins at `first` was received; `None` if it has none, or none that can be read.
pub(super) fn begins_at(source: &Source, first: u64) -> io::Result<Option<Timestamp>> {
    let Some(place) = source.segments.place(first).filter(|place| place.name.first == first) else {
        return Ok(None);
    };
    let file = source.disk.open(&place.name.path(&source.dir))?;
    let file = SegmentFile { file, name: place.name, generation: place.generation };
    let header = match file.header_at(HEADER_LEN as u64)? {
        Found::Chunk(header) => Some(header),
        Found::Nothing => file.scan(HEADER_LEN as u64, first)?.map(|(_, header)| header),
    };
    Ok(header.map(|header| header.received_at))
}

/// When the last record of a sealed segment was received; `None` if it has none that can be read.
fn last_received(source: &Source, segment: &Sealed, ends: u64) -> io::Result<Option<Timestamp>> {
    let mut last = None;
    each_chunk(&segment.open(source)?, ends, |header, _| {
        last = Some(header.received_at);
        Ok(())
    })?;
    Ok(last)
}

/// Folds the sealed segments up to `limit`, and all of the `gone`, into a checkpoint; `Err` is the first of those that stay
/// that is damaged. Also says how many events the gone ones had.
fn advance(
    source: &Source,
    known: Option<Checkpoint>,
    (sealed, open): (&[Sealed], u64),
    (gone, limit): (usize, usize),
    (tracked_queues, interrupted): (u64, &AtomicBool),
) -> io::Result<Result<(Checkpoint, u64), usize>> {
    let begin = sealed.first().map_or(open, |segment| segment.name.first);
    let (until, mut fold) = match known {
        Some(known) => {
            let memory = Memory { ids: Ids::new(1, begin), queues: known.queues };
            let mut fold = Fold::new(memory, known.until, Depth::Columns);
            (fold.events, fold.last_received_at) = (known.events, known.last_received_at);
            (known.until, fold)
        }
        None => {
            let memory = Memory { ids: Ids::new(1, begin), queues: Queues::new(tracked_queues) };
            (begin, Fold::new(memory, begin, Depth::Columns))
        }
    };
    let mut gone_events = 0;
    for (at, segment) in sealed.iter().enumerate().take(limit.max(gone)) {
        if interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the log is being closed"));
        }
        let ends = sealed.get(at + 1).map_or(open, |next| next.name.first);
        let mut index = Segment::new(segment.name, segment.generation);
        if segment.name.first < until {
            if at < gone {
                // Counted by the checkpoint, and no longer there.
                let memory = Memory { ids: Ids::new(1, begin), queues: Queues::new(0) };
                let mut counted = Fold::new(memory, segment.name.first, Depth::Columns);
                counted.segment(&segment.open(source)?, &mut index, Some(ends))?;
                fold.events = fold.events.saturating_sub(counted.events);
                gone_events += counted.events;
            }
            continue;
        }
        let before = fold.events;
        fold.segment(&segment.open(source)?, &mut index, Some(ends))?;
        if at < gone {
            gone_events += fold.events - before;
            fold.events = before;
            fold.damaged.clear();
        } else if !fold.damaged.is_empty() {
            source.damaged.found(&fold.damaged);
            return Ok(Err(at));
        }
    }
    let folded = sealed.get(limit.max(gone)).map_or(open, |next| next.name.first);
    let Memory { queues, .. } = fold.memory;
    let (events, last_received_at) = (fold.events, fold.last_received_at);
    let (until, begin) =
        (until.max(folded), sealed.get(gone).map_or(open, |first| first.name.first));
    Ok(Ok((Checkpoint { until, begin, events, last_received_at, queues }, gone_events)))
}
