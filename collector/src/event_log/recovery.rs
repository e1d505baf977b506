//! Opening a log: checks its files, cuts what a crash tore, finds what is damaged, and folds the columns into memory.
//! Promises: every acknowledged event is found again or reported as damaged; nothing unsynced is taken for durable: what the
//! last commit may have left in the page cache only is written and synced anew.
//! Knows nothing of the live writer; it hands over a state as if that had just stopped.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::chunk::Header;
use super::dedup::Memory;
use super::disk::{Disk, File};
use super::ids::{HashKey, Ids};
use super::queues::Queues;
use super::record::Offset;
use super::segment::{self, Found, Segment, SegmentFile, SegmentHeader, SegmentName};
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
    /// Acknowledged records that can no longer be read. Left in their files as they are.
    pub damaged: Vec<Damage>,
}

/// A torn tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub segment: String,
    /// Where it was cut.
    pub position: u64,
    /// Bytes that were behind that, zeros at the end included.
    pub bytes: u64,
}

/// Unreadable records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub segment: String,
    /// Where in it.
    pub position: u64,
    /// The first record lost, and the last.
    pub offsets: (Offset, Offset),
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
    let mut names: Vec<SegmentName> =
        disk.list(dir)?.iter().filter_map(|name| SegmentName::parse(name)).collect();
    names.sort_unstable();
    let ordinal = names.iter().map(|name| name.ordinal).max().unwrap_or(0);
    // Of those with the same first offset only the last can hold anything acknowledged.
    let (names, dead): (Vec<_>, Vec<_>) = names
        .iter()
        .enumerate()
        .partition(|(at, name)| names.get(at + 1).is_none_or(|next| next.first != name.first));
    let mut files = Vec::new();
    let mut hash_key = None;
    for (_, name) in names {
        let file = disk.open(&name.path(dir))?;
        match Opened::read(*name, file)? {
            Some(opened) => {
                hash_key = opened.hash_key.or(hash_key);
                files.push(opened.file);
            }
            // Its creation was never completed, so nothing was ever written to it.
            None => disk.remove(&name.path(dir))?,
        }
    }
    for (_, name) in dead {
        disk.remove(&name.path(dir))?;
    }
    let hash_key = match hash_key {
        Some(key) => key,
        None => HashKey(super::random_bytes()?),
    };
    let begin = files.first().map_or(1, |file| file.name.first);
    let mut fold = Fold {
        memory: Memory {
            ids: Ids::new(options.remembered_ids, begin),
            queues: Queues::new(options.tracked_queues),
        },
        recovered: Recovered::default(),
        next: begin,
        last_received_at: Timestamp::MIN,
    };
    let mut segments = Vec::with_capacity(files.len());
    let mut last_chunk = None;
    for (at, file) in files.iter().enumerate() {
        let ends = files.get(at + 1).map(|next| next.name.first);
        let mut segment = Segment::new(file.name, file.generation);
        last_chunk = fold.segment(file, &mut segment, ends)?;
        segments.push(segment);
    }
    let open = match (files.last(), segments.last()) {
        (Some(file), Some(segment)) => Some(reopen(file, segment, hash_key, last_chunk)?),
        _ => None,
    };
    disk.sync_dir(dir)?;
    let Fold { memory, mut recovered, next, last_received_at } = fold;
    recovered.end = Offset(next - 1);
    Ok(State { recovered, memory, segments, open, hash_key, ordinal, next, last_received_at })
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

/// A file that is a segment.
struct Opened {
    file: SegmentFile,
    hash_key: Option<HashKey>,
}

impl Opened {
    /// `None` if it never became one.
    fn read(name: SegmentName, file: Arc<dyn File>) -> io::Result<Option<Self>> {
        let mut bytes = [0; segment::HEADER_LEN];
        let whole = file.read_at(&mut bytes, 0)? == bytes.len();
        if whole && let Some(header) = SegmentHeader::decode(&bytes) {
            let file = SegmentFile { file, name, generation: header.generation };
            return Ok(Some(Self { file, hash_key: Some(header.hash_key) }));
        }
        // No chunk is written before the header is durable: a chunk tells a damaged header from a torn creation.
        let first = segment::scan(&*file, 0, |header| header.first >= name.first)?;
        Ok(first.map(|(_, header)| {
            tracing::error!(segment = %name, "the header of a segment is damaged; its chunks are read nevertheless");
            Self { file: SegmentFile { file, name, generation: header.generation }, hash_key: None }
        }))
    }
}

struct Fold {
    memory: Memory,
    recovered: Recovered,
    next: u64,
    last_received_at: Timestamp,
}

impl Fold {
    /// Folds one segment; returns its last chunk. The last segment (`ends` is none) is checked to the last byte, the others
    /// in headers and columns; their bodies are checked when they are read.
    fn segment(
        &mut self,
        file: &SegmentFile,
        segment: &mut Segment,
        ends: Option<u64>,
    ) -> io::Result<Option<(u64, Header)>> {
        // Segments before this one may have ended in damage.
        self.hole(file, segment::HEADER_LEN as u64, file.name.first);
        let mut position = segment::HEADER_LEN as u64;
        let mut last = None;
        // Where damage began, while a whole chunk behind it is looked for.
        let mut damaged_at = None;
        // Chunks that only settle numbers lie at the very end without an offset of their own.
        let alive = |header: &Header| ends.is_none_or(|ends| header.end() <= ends);
        loop {
            let whole = match file.header_at(position)? {
                Found::Chunk(header) if header.first >= self.next => {
                    if !alive(&header) {
                        break;
                    }
                    let body = ends.is_some() || file.is_whole(&header, position)?;
                    let columns = if body { file.columns(&header, position)? } else { None };
                    columns.map(|columns| (header, columns))
                }
                _ => None,
            };
            if let Some((header, columns)) = whole {
                self.hole(file, damaged_at.take().unwrap_or(position), header.first);
                self.memory.remember(header.first, &columns);
                self.next = header.end();
                self.recovered.events += u64::from(header.count);
                self.last_received_at = self.last_received_at.max(header.received_at);
                segment.add(&header, position);
                last = Some((position, header));
                position += header.chunk_len();
                continue;
            }
            if ends.is_some_and(|ends| self.next >= ends) {
                break;
            }
            // A whole chunk behind it was written after this one was synced: then this is damage, else a torn tail.
            match self.next_whole(file, position + 1)? {
                Some((at, header)) if alive(&header) => {
                    damaged_at.get_or_insert(position);
                    position = at;
                }
                _ => {
                    self.finish(file, position, ends)?;
                    break;
                }
            }
        }
        Ok(last)
    }

    fn next_whole(&self, file: &SegmentFile, from: u64) -> io::Result<Option<(u64, Header)>> {
        let mut from = from;
        while let Some((at, header)) = file.scan(from, self.next)? {
            if file.is_whole(&header, at)? {
                return Ok(Some((at, header)));
            }
            from = at + 1;
        }
        Ok(None)
    }

    /// Nothing whole follows: up to the next segment that is damage; at the end of the log a torn commit, or just zeros.
    fn finish(&mut self, file: &SegmentFile, position: u64, ends: Option<u64>) -> io::Result<()> {
        if let Some(ends) = ends {
            self.hole(file, position, ends);
            return Ok(());
        }
        let (torn, size) = file.remains(position)?;
        if torn {
            let bytes = size - position;
            tracing::warn!(segment = %file.name, position, bytes, "cut a torn commit off the event log");
            let segment = file.name.to_string();
            self.recovered.cut = Some(Cut { segment, position, bytes });
        }
        Ok(())
    }

    /// Reports the records from the next expected one up to `until` as damaged, if there are any.
    fn hole(&mut self, file: &SegmentFile, position: u64, until: u64) {
        if until > self.next {
            let offsets = (Offset(self.next), Offset(until - 1));
            let (segment, next) = (file.name.to_string(), self.next);
            tracing::error!(%segment, position, first = next, last = until - 1, "records are damaged");
            self.recovered.damaged.push(Damage { segment, position, offsets });
            self.next = until;
        }
    }
}
