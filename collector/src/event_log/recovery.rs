//! Opening a log: folds its files into memory, cuts what a crash tore, and makes the last one writable.
//! Promises: every acknowledged event is found again or reported as damaged; nothing unsynced is taken for durable: what the
//! last commit may have left in the page cache only is written and synced anew.
//! Knows nothing of the live writer; it hands over a state as if that had just stopped.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::checkpoint::{self, Checkpoint};
use super::chunk::Header;
use super::dedup::Memory;
use super::disk::Disk;
use super::fold::{Cut, Damage, Depth, Files, Fold};
use super::ids::{HashKey, Ids, MAX_REMEMBERED};
use super::queues::Queues;
use super::record::Offset;
use super::segment::{Segment, SegmentFile, SegmentHeader};
use super::timestamp::Timestamp;
use super::writer::OpenSegment;
use super::{OpenError, Options};

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Records that can be read.
    pub events: u64,
    /// The last record's offset.
    pub end: Offset,
    /// A commit that a crash tore: cut off. It was never acknowledged.
    pub cut: Option<Cut>,
    /// Acknowledged records that can no longer be read. Left in their files as they are. In segments that were sound at an
    /// earlier start and that no id reaches back to, damage is found when they are read, or by the doctor.
    pub damaged: Vec<Damage>,
}

/// A log, ready to be read and written.
pub(super) struct State {
    pub(super) recovered: Recovered,
    pub(super) memory: Memory,
    pub(super) segments: Vec<Segment>,
    /// The last segment, open for writing; `None` in a new log.
    pub(super) open: Option<OpenSegment>,
    pub(super) hash_key: HashKey,
    pub(super) ordinal: u32,
    pub(super) next: u64,
    pub(super) last_received_at: Timestamp,
}

/// Reads the folder. It must be locked.
pub(super) fn recover(disk: &dyn Disk, dir: &Path, options: &Options) -> Result<State, OpenError> {
    let files = Files::find(disk, dir)?;
    for name in &files.headless {
        tracing::error!(segment = %name, "the header of a segment is damaged; its chunks are read nevertheless");
    }
    for name in &files.dead {
        disk.remove(&dir.join(name))?;
    }
    for name in &files.unreadable {
        let aside = format!("{name}.unreadable");
        tracing::error!(segment = %name, %aside, "a segment can be read neither by its header nor by its chunks; it is \
            set aside: restore it from a backup, or ask the version that wrote it");
        disk.rename(&dir.join(name), &dir.join(aside))?;
    }
    let hash_key = match files.hash_key {
        Some(key) => key,
        None => {
            if !files.segments.is_empty() {
                tracing::error!(
                    "no segment has a header that can be read, and with them the key is lost by which repetitions are \
                    recognised: what is stored and sent again is stored twice; restore a segment from a backup to prevent it"
                );
            }
            HashKey(super::random_bytes()?)
        }
    };
    let closed = files.closed;
    let (ordinal, headless, mut files) = (files.ordinal, files.headless, files.segments);
    let mut firsts: Vec<u64> = files.iter().map(|file| file.name.first).collect();
    let log = checkpoint::Log { hash_key, firsts: &firsts };
    let known = checkpoint::load(disk, dir, &log, options.tracked_queues)?;
    // What retention let go of and a crash left.
    let log_begins = known.as_ref().map_or(1, |known| known.begin);
    let left = firsts.partition_point(|first| *first < log_begins);
    for file in files.drain(..left) {
        disk.remove(&file.name.path(dir))?;
    }
    firsts.drain(..left);
    let log = checkpoint::Log { hash_key, firsts: &firsts };
    // Segments that a checkpoint has folded are read only as far back as ids are remembered.
    let until = known.as_ref().map_or(0, |known| known.until);
    let last = firsts.last().copied().unwrap_or(1);
    let forgotten = last.saturating_sub(options.remembered_ids.min(MAX_REMEMBERED));
    let reach = until.min(forgotten);
    let unread = firsts.iter().skip(1).take_while(|ends| **ends <= reach).count();
    // Without a checkpoint nothing says that retention took what is missing at the beginning: then it is a loss.
    let begin = if unread > 0 { firsts[unread] } else { log_begins };

    let mut fold = Fold { closed, ..begin_fold(known, begin, options) };
    let mut segments = Vec::with_capacity(files.len());
    for file in &files[..unread] {
        segments.push(Segment::unread(file.name, file.generation, file.file.size()?));
    }
    let mut last_chunk = None;
    for (at, file) in files.iter().enumerate().skip(unread) {
        let ends = files.get(at + 1).map(|next| next.name.first);
        // Not with damage in it: that is to be found, and said, at every start.
        if ends.is_none()
            && at > 0
            && file.name.first > until
            && fold.damaged.is_empty()
            && headless.is_empty()
        {
            fold = save_checkpoint(disk, dir, &log, fold);
        }
        fold.numbers_known = file.name.first < until;
        fold.counted = fold.numbers_known;
        fold.ids_too_old = ends.is_some_and(|ends| ends <= forgotten);
        let mut segment = Segment::new(file.name, file.generation);
        last_chunk = fold.segment(file, &mut segment, ends)?;
        segments.push(segment);
    }
    fold.end_without_segments(files.is_empty());
    let open = match (files.last(), segments.last()) {
        // Damage at the very end stays as it is, and the log goes on in a new segment.
        (Some(file), _) if readable_end(file, last_chunk) < fold.next => None,
        (Some(file), Some(segment)) => Some(reopen(file, segment, hash_key, last_chunk)?),
        _ => None,
    };
    disk.sync_dir(dir)?;
    let Fold { memory, events, cut, damaged, next, last_received_at, .. } = fold;
    let recovered = Recovered { events, end: Offset(next - 1), cut, damaged };
    Ok(State { recovered, memory, segments, open, hash_key, ordinal, next, last_received_at })
}

/// Begins where a checkpoint ended; without one, before the first record.
fn begin_fold(known: Option<Checkpoint>, begin: u64, options: &Options) -> Fold {
    let ids = Ids::new(options.remembered_ids, begin);
    match known {
        None => {
            let memory = Memory { ids, queues: Queues::new(options.tracked_queues) };
            Fold::new(memory, begin, Depth::Columns)
        }
        Some(Checkpoint { events, last_received_at, queues, .. }) => Fold {
            events,
            last_received_at,
            ..Fold::new(Memory { ids, queues }, begin, Depth::Columns)
        },
    }
}

/// Saves what was folded up to the last segment, for the next start. Failing that costs only time.
fn save_checkpoint(disk: &dyn Disk, dir: &Path, log: &checkpoint::Log<'_>, fold: Fold) -> Fold {
    let (Some(&begin), Some(&until)) = (log.firsts.first(), log.firsts.last()) else { return fold };
    let (events, last_received_at) = (fold.events, fold.last_received_at);
    let Memory { ids, queues } = fold.memory;
    let checkpoint = Checkpoint { until, begin, events, last_received_at, queues };
    if let Err(error) = checkpoint::save(disk, dir, log, &checkpoint) {
        tracing::warn!(%error, "no checkpoint could be saved; the next start reads as much as this one");
    }
    Fold { memory: Memory { ids, queues: checkpoint.queues }, ..fold }
}

fn readable_end(file: &SegmentFile, last_chunk: Option<(u64, Header)>) -> u64 {
    last_chunk.map_or(file.name.first, |(_, header)| header.end())
}

/// Makes the last segment durable and writable. A process that died, or whose sync failed, can have left bytes that only
/// the page cache has, and that no later sync would write: so header and last chunk are written once more. Everything before
/// the last chunk was synced before that chunk was written.
fn reopen(
    file: &SegmentFile,
    segment: &Segment,
    hash_key: HashKey,
    last_chunk: Option<(u64, Header)>,
) -> io::Result<OpenSegment> {
    let (generation, first) = (file.generation, file.name.first);
    let header = SegmentHeader { generation, first, hash_key };
    file.file.truncate(segment.end_position)?;
    file.file.write_at(&header.encode(), 0)?;
    if let Some((position, header)) = last_chunk {
        let mut bytes = vec![0; usize::try_from(header.chunk_len()).unwrap_or(0)];
        let read = file.file.read_at(&mut bytes, position)?;
        file.file.write_at(&bytes[..read], position)?;
    }
    file.file.sync_data()?;
    let position = segment.end_position;
    Ok(OpenSegment { file: Arc::clone(&file.file), generation, position, zeroed_to: position })
}
