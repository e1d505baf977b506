//! Reading the log in order, up to its durable end: from memory at the tail, from segment files behind it.
//! Promises: never shows a record that is not durable; never skips one silently: damage is an error, once, with its range.
//! Knows nothing of writing, and blocks on disk: call it where that is allowed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::chunk::{Chunk, Header};
use super::damage::Known;
use super::disk::Disk;
use super::record::{Offset, Record};
use super::segment::{Found, SegmentFile, SegmentName, Segments};
use super::tail::Tail;

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk refused; the reader has not moved, so trying again is right.
    #[error("the event log could not be read: {0}")]
    Io(#[from] io::Error),
    /// These records are stored but unreadable. The reader stands behind them now: say so to someone, and go on.
    #[error("records {first} to {last} in segment {segment} are damaged")]
    Damaged {
        /// The file that holds them.
        segment: String,
        /// The first that cannot be read.
        first: Offset,
        /// The last that cannot be read.
        last: Offset,
    },
}

/// What reading needs to know of a log.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) segments: Arc<Segments>,
    pub(super) tail: Arc<Tail>,
    /// Carries the last durable offset.
    pub(super) end: tokio::sync::watch::Receiver<Offset>,
    /// What readers could not read.
    pub(super) damaged: Arc<Known>,
}

/// Reads records in order. Independent of other readers; remembers nothing beyond its life.
pub struct Reader {
    walk: Walk,
    next: u64,
    /// The chunk that `next` is inside of, when a limit cut it.
    current: Option<Arc<Chunk>>,
}

impl Reader {
    pub(super) fn new(source: Source, after: Offset) -> Self {
        Self { walk: Walk { source, open: None }, next: after.0.saturating_add(1), current: None }
    }

    /// The next records, in order: at least one and at most `limit` (but none if that is 0), or none where the log ends now.
    /// What one call returns was written together, so it can be fewer than `limit` although more follow.
    ///
    /// Erased records are passed over.
    pub fn next_chunk(&mut self, limit: usize) -> Result<Vec<Record>, ReadError> {
        loop {
            let before = self.next;
            let mut records = self.next_written(limit)?;
            records.retain(|record| !record.flags.erased);
            if !records.is_empty() || self.next == before {
                return Ok(records);
            }
        }
    }

    /// As they were written together, erased ones too.
    fn next_written(&mut self, limit: usize) -> Result<Vec<Record>, ReadError> {
        // What retention removed is not damage: the log begins later now.
        self.next = self.next.max(self.walk.source.segments.first());
        let end = self.walk.source.end.borrow().0;
        if self.next > end || limit == 0 {
            return Ok(Vec::new());
        }
        let held =
            self.current.take().filter(|chunk| chunk.first <= self.next && self.next < chunk.end());
        let chunk = match held.or_else(|| self.walk.source.tail.chunk(self.next)) {
            Some(chunk) => chunk,
            None => self.read_disk(end)?,
        };
        let Some(records) = chunk.records(self.next, limit) else {
            // Checksums hold, yet the bytes make no sense: a writer's mistake. Report it like any damage.
            let place = self.walk.source.segments.place(self.next);
            let segment = place.map_or_else(String::new, |place| place.name.to_string());
            return Err(self.damaged(segment, chunk.end()));
        };
        self.next += records.len() as u64;
        if self.next < chunk.end() {
            self.current = Some(chunk);
        }
        Ok(records)
    }

    /// Goes elsewhere: the next record will be the first after `after`.
    pub fn seek(&mut self, after: Offset) {
        self.next = after.0.saturating_add(1);
    }

    /// Everything up to here has been read.
    pub fn position(&self) -> Offset {
        Offset(self.next - 1)
    }

    fn read_disk(&mut self, end: u64) -> Result<Arc<Chunk>, ReadError> {
        match self.walk.find(self.next)? {
            Step::Chunk(header, position) => {
                // It may have begun later between the two questions.
                self.next = self.next.max(header.first);
                match self.walk.chunk(&header, position)? {
                    Some(chunk) => Ok(Arc::new(chunk)),
                    // A header that says more than there is would take the reader past records to come.
                    None => Err(self.damaged(self.walk.segment(), header.end().min(end + 1))),
                }
            }
            Step::Hole(until) => {
                Err(self.damaged(self.walk.segment(), until.unwrap_or(end + 1).min(end + 1)))
            }
        }
    }

    fn damaged(&mut self, segment: String, until: u64) -> ReadError {
        let first = Offset(self.next);
        self.next = until.max(self.next + 1);
        let last = Offset(self.next - 1);
        let damaged = ReadError::Damaged { segment, first, last };
        // Whoever reads may have reasons to go on in silence.
        self.walk.source.damaged.met((first, last), &damaged);
        damaged
    }
}

/// Finds chunks by offset; cheap when it goes forward.
pub(super) struct Walk {
    pub(super) source: Source,
    open: Option<Open>,
}

struct Open {
    segment: SegmentFile,
    /// A chunk begins here, and no offset at or above `offset` lies before it.
    position: u64,
    offset: u64,
}

/// What was found for an offset.
pub(super) enum Step {
    /// The chunk that holds it, and where it begins; or the log's first chunk, if the offset lies before the log.
    Chunk(Header, u64),
    /// Nothing readable; the next readable offset, or `None` if there is none.
    Hole(Option<u64>),
}

impl Walk {
    pub(super) fn new(source: Source) -> Self {
        Self { source, open: None }
    }

    /// Looks for `offset`, which must be durable.
    pub(super) fn find(&mut self, offset: u64) -> io::Result<Step> {
        loop {
            let name = self.source.segments.place(offset).map(|place| place.name);
            match self.find_once(offset) {
                // The segment got a new file between asking for its name and opening it.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && self.source.segments.place(offset).map(|place| place.name) != name => {}
                found => return found,
            }
        }
    }

    fn find_once(&mut self, offset: u64) -> io::Result<Step> {
        // Asked anew each time: the open segment may have ended meanwhile, with dead chunks behind its end.
        let Some(place) = self.source.segments.place(offset) else { return Ok(Step::Hole(None)) };
        let offset = offset.max(match &place {
            // Only the first segment is returned for an offset before it.
            place if place.name.first > offset => place.name.first,
            _ => offset,
        });
        let position = match &self.open {
            Some(open) if open.segment.name == place.name && open.offset <= offset => {
                open.position.max(place.position)
            }
            _ => place.position,
        };
        let segment = match self.open.take() {
            Some(open) if open.segment.name == place.name => open.segment,
            _ => SegmentFile {
                file: self.source.disk.open(&place.name.path(&self.source.dir))?,
                name: place.name,
                generation: place.generation,
            },
        };
        let step = search(&segment, position, offset, place.ends);
        let (position, offset) = match &step {
            Ok(Step::Chunk(header, position)) => (*position, header.first),
            _ => (place.position, place.name.first),
        };
        self.open = Some(Open { segment, position, offset });
        step
    }

    /// The chunk whose header [`Walk::find`] returned last; `None` if it is damaged.
    fn chunk(&self, header: &Header, position: u64) -> io::Result<Option<Chunk>> {
        match &self.open {
            Some(open) => open.segment.chunk(header, position),
            None => Ok(None),
        }
    }

    /// Its columns; `None` if they are damaged.
    pub(super) fn columns(
        &self,
        header: &Header,
        position: u64,
    ) -> io::Result<Option<super::chunk::Columns>> {
        match &self.open {
            Some(open) => open.segment.columns(header, position),
            None => Ok(None),
        }
    }

    fn segment(&self) -> String {
        let name = |open: &Open| SegmentName::to_string(&open.segment.name);
        self.open.as_ref().map(name).unwrap_or_default()
    }
}

fn search(
    segment: &SegmentFile,
    mut position: u64,
    offset: u64,
    ends: Option<u64>,
) -> io::Result<Step> {
    let alive = |header: &Header| ends.is_none_or(|ends| header.first < ends);
    loop {
        let (at, header) = match segment.header_at(position)? {
            Found::Chunk(header) => (position, header),
            // Every offset asked for is durable, so this is damage: look for the next whole chunk.
            Found::Nothing => match segment.scan(position + 1, 0)? {
                Some(found) => found,
                None => return Ok(Step::Hole(ends)),
            },
        };
        if header.first > offset {
            return Ok(Step::Hole(if alive(&header) { Some(header.first) } else { ends }));
        }
        if offset < header.end() {
            return Ok(Step::Chunk(header, at));
        }
        position = at + header.chunk_len();
    }
}
