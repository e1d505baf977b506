//! Reads a folder's segments from the first chunk to the last: what is whole, what is torn, what is damaged, and the columns
//! folded into memory. Promises: changes nothing on disk, so that it may run beside a server; what it passes over it reports.
//! Knows nothing of who writes, and does not repair.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use super::chunk::{Columns, Header};
use super::closed;
use super::dedup::Memory;
use super::disk::{Disk, File};
use super::erase;
use super::ids::HashKey;
use super::record::Offset;
use super::segment::{self, Found, Segment, SegmentFile, SegmentHeader, SegmentName};
use super::timestamp::Timestamp;

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
    /// What became of them.
    pub harm: Harm,
}

/// How records were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// There are bytes, but not those that were written.
    Altered,
    /// There is nothing: a file was cut, or one is missing.
    Absent,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, position, bytes } = self;
        write!(f, "the last {bytes} bytes of segment {segment}, from byte {position} on")
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, position, offsets: (first, last), harm } = self;
        let events = last.since(*first) + 1;
        let what = match harm {
            Harm::Altered => "the bytes there are not those that were written",
            Harm::Absent => "what was written there is gone",
        };
        write!(
            f,
            "{events} events, offsets {first} to {last}, segment {segment}, byte {position}: {what}"
        )
    }
}

/// How closely segments are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Headers and columns, and the last segment to the last byte. Other bodies are checked when they are read.
    Columns,
    /// Every byte, and whether the records make sense.
    Everything,
}

/// The segments of a folder.
pub(super) struct Files {
    /// Those that count, in order.
    pub(super) segments: Vec<SegmentFile>,
    /// What holds nothing that was ever acknowledged: the earlier of two with the same first offset, and creations that were
    /// never completed.
    pub(super) dead: Vec<String>,
    /// Without a header or a chunk that can be read, and yet not empty: damaged beyond this program, or written by a later one.
    pub(super) unreadable: Vec<String>,
    /// Whose header is damaged; their chunks are read nevertheless.
    pub(super) headless: Vec<SegmentName>,
    pub(super) hash_key: Option<HashKey>,
    /// The highest of all names.
    pub(super) ordinal: u32,
    /// Where the log ended, if it was closed and nobody has opened it since.
    pub(super) closed: Option<u64>,
}

impl Files {
    pub(super) fn find(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let listed = disk.list(dir)?;
        let mut names: Vec<SegmentName> =
            listed.iter().filter_map(|name| SegmentName::parse(name)).collect();
        names.sort_unstable();
        let mut files = Files {
            segments: Vec::new(),
            dead: listed.into_iter().filter(|name| name.ends_with(erase::UNFINISHED)).collect(),
            unreadable: Vec::new(),
            headless: Vec::new(),
            hash_key: None,
            ordinal: names.iter().map(|name| name.ordinal).max().unwrap_or(0),
            closed: closed::read(disk, dir)?,
        };
        for same in names.chunk_by(|one, other| one.first == other.first) {
            // Of those with the same first offset only the last can hold anything acknowledged: the last that was completed.
            let mut found = false;
            for name in same.iter().rev() {
                if found {
                    files.dead.push(name.to_string());
                } else {
                    found = files.add(*name, disk.open(&name.path(dir))?)?;
                }
            }
        }
        Ok(files)
    }

    /// Whether it is one that counts.
    fn add(&mut self, name: SegmentName, file: Arc<dyn File>) -> io::Result<bool> {
        let mut bytes = [0; segment::HEADER_LEN];
        let whole = file.read_at(&mut bytes, 0)? == bytes.len();
        if whole && let Some(header) = SegmentHeader::decode(&bytes) {
            self.hash_key = Some(header.hash_key);
            self.segments.push(SegmentFile { file, name, generation: header.generation });
            return Ok(true);
        }
        if let Some(version) = SegmentHeader::later_version(&bytes).filter(|_| whole) {
            return Err(segment::written_later(name, version, segment::VERSION));
        }
        // No chunk is written before the header is durable: a chunk tells a damaged header from a torn creation.
        match segment::scan(&*file, 0, |header| header.first >= name.first)? {
            Some((_, header)) => {
                self.headless.push(name);
                self.segments.push(SegmentFile { file, name, generation: header.generation });
                Ok(true)
            }
            // A creation that was never completed holds a part of a header at most.
            None if file.size()? > segment::HEADER_LEN as u64 => {
                self.unreadable.push(name.to_string());
                Ok(false)
            }
            None => {
                self.dead.push(name.to_string());
                Ok(false)
            }
        }
    }
}

/// What the segments read so far come to.
pub(super) struct Fold {
    pub(super) memory: Memory,
    pub(super) events: u64,
    pub(super) cut: Option<Cut>,
    pub(super) damaged: Vec<Damage>,
    /// One past the last record.
    pub(super) next: u64,
    pub(super) last_received_at: Timestamp,
    /// The numbers of what is read now are known from a checkpoint: only ids are new.
    pub(super) numbers_known: bool,
    /// Its ids are older than what is remembered.
    pub(super) ids_too_old: bool,
    /// Its events are counted already.
    pub(super) counted: bool,
    /// As [`Files::closed`].
    pub(super) closed: Option<u64>,
    pub(super) depth: Depth,
}

impl Fold {
    /// Nothing read yet of a log whose first record is `begin`.
    pub(super) fn new(memory: Memory, begin: u64, depth: Depth) -> Self {
        Self {
            memory,
            events: 0,
            cut: None,
            damaged: Vec::new(),
            next: begin,
            last_received_at: Timestamp::MIN,
            numbers_known: false,
            ids_too_old: false,
            counted: false,
            closed: None,
            depth,
        }
    }

    /// Folds one segment; returns its last chunk. `ends` is where the next one begins, none for the last.
    pub(super) fn segment(
        &mut self,
        file: &SegmentFile,
        segment: &mut Segment,
        ends: Option<u64>,
    ) -> io::Result<Option<(u64, Header)>> {
        // The first segments may be gone.
        self.hole(file, segment::HEADER_LEN as u64, file.name.first, Harm::Absent);
        let mut position = segment::HEADER_LEN as u64;
        let mut last = None;
        // Where damage began, while a whole chunk behind it is looked for.
        let mut damaged_at = None;
        let mut looked_again = false;
        // Chunks that only settle numbers lie at the very end without an offset of their own.
        let alive = |header: &Header| ends.is_none_or(|ends| header.end() <= ends);
        loop {
            let found = match file.header_at(position)? {
                Found::Chunk(header) if header.first >= self.next => Some(header),
                _ => None,
            };
            if found.is_some_and(|header| !alive(&header)) {
                break;
            }
            let columns = match &found {
                Some(header) => self.columns(file, header, position, ends)?,
                None => None,
            };
            if let Some((header, columns)) = found.zip(columns) {
                self.hole(file, damaged_at.take().unwrap_or(position), header.first, Harm::Altered);
                match (self.numbers_known, self.ids_too_old) {
                    (false, false) => self.memory.remember(header.first, &columns),
                    (true, false) => self.memory.remember_ids(header.first, &columns),
                    (false, true) => self.memory.remember_numbers(&columns),
                    (true, true) => {}
                }
                if !self.counted {
                    self.events += u64::from(header.count);
                }
                self.next = header.end();
                self.last_received_at = self.last_received_at.max(header.received_at);
                segment.add(&header, position);
                last = Some((position, header));
                position += header.chunk_len();
                looked_again = false;
                continue;
            }
            if ends.is_some_and(|ends| self.next >= ends) {
                break;
            }
            // A whole chunk behind it was written after this one was synced: then this is damage, else a torn tail.
            match self.next_whole(file, position + 1)? {
                // Unless a server was just writing it when we looked: now it is done with it.
                Some((_, header)) if alive(&header) && !looked_again => looked_again = true,
                Some((at, header)) if alive(&header) => {
                    damaged_at.get_or_insert(position);
                    position = at;
                    looked_again = false;
                }
                _ => {
                    self.finish(file, damaged_at.unwrap_or(position), ends)?;
                    break;
                }
            }
        }
        Ok(last)
    }

    /// The columns of a chunk that is whole, as closely as this fold looks.
    fn columns(
        &self,
        file: &SegmentFile,
        header: &Header,
        position: u64,
        ends: Option<u64>,
    ) -> io::Result<Option<Columns>> {
        match self.depth {
            Depth::Everything => {
                let chunk = file.chunk(header, position)?;
                let sound = chunk.filter(|chunk| chunk.records(0, usize::MAX).is_some());
                Ok(sound.map(|chunk| chunk.columns))
            }
            Depth::Columns if ends.is_none() && !file.is_whole(header, position)? => Ok(None),
            Depth::Columns => file.columns(header, position),
        }
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
        let (torn, size) = file.remains(position)?;
        // A log that was closed ends where it was closed, as a sealed segment does.
        if let Some(ends) = ends.or(self.closed.filter(|closed| *closed > self.next)) {
            let harm = if torn { Harm::Altered } else { Harm::Absent };
            self.hole(file, position, ends, harm);
        } else if torn {
            let (segment, bytes) = (file.name.to_string(), size - position);
            self.cut = Some(Cut { segment, position, bytes });
        }
        Ok(())
    }

    /// A log that was closed and of which no segment is left has lost all of it.
    pub(super) fn end_without_segments(&mut self, none: bool) {
        if let Some(ends) = self.closed.filter(|closed| none && *closed > self.next) {
            let segment = SegmentName { first: self.next, ordinal: 1 }.to_string();
            let (position, harm) = (segment::HEADER_LEN as u64, Harm::Absent);
            let offsets = (Offset(self.next), Offset(ends - 1));
            self.damaged.push(Damage { segment, position, offsets, harm });
            self.next = ends;
        }
    }

    /// Notes the records from the next expected one up to `until` as lost, if there are any.
    fn hole(&mut self, file: &SegmentFile, position: u64, until: u64, harm: Harm) {
        if until > self.next {
            let offsets = (Offset(self.next), Offset(until - 1));
            self.damaged.push(Damage { segment: file.name.to_string(), position, offsets, harm });
            self.next = until;
        }
    }
}
