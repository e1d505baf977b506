//! The one writer: takes everything that waits, judges it, writes one chunk, syncs, publishes, answers.
//! Promises: nobody is answered, nothing is visible or remembered before fdatasync returned; after a failed write or sync the
//! file is never written again: the log goes on in a new segment that begins at the durable end.
//! Knows nothing of HTTP; what a group looks like on disk is `chunk`'s business.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::chunk::{Chunk, Columns, Encoder};
use super::closed;
use super::dedup::{Batch, Judged, Memory, Stored};
use super::disk::File;
use super::ids::HashKey;
use super::inbox::{Next, Weight};
use super::reader::{Step, Walk};
use super::record::Offset;
use super::segment::{self, Segment, SegmentHeader, SegmentName};
use super::timestamp::Timestamp;
use super::{AppendError, Appended, Shared};

/// A batch that waits for its answer.
pub(super) struct Request {
    pub(super) batch: Batch,
    /// What is durable by now is to be in segments that are not written any more.
    pub(super) seal: bool,
    pub(super) answer: oneshot::Sender<Result<Placed, AppendError>>,
    /// When it came.
    pub(super) arrived: Instant,
}

impl Weight for Request {
    fn bytes(&self) -> usize {
        self.batch.bytes.len()
    }

    fn events(&self) -> usize {
        self.batch.events.len()
    }
}

/// What became of a batch's events.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub(crate) verdicts: Vec<Appended>,
    /// Where the first that was stored is; the others follow it.
    pub(crate) first: Offset,
    /// How many duplicates have another body than what is stored under their ids.
    pub(crate) other_bodies: u64,
}

/// The state of the thread that writes.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// Of what is durable; shared with who asks.
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) hash_key: HashKey,
    /// The highest number that any segment file's name ever had.
    pub(super) ordinal: u32,
    pub(super) segment: Writable,
    /// Where the next event goes: one past the durable end.
    pub(super) next: u64,
    pub(super) last_received_at: Timestamp,
    /// The clock is far behind that, and it was said.
    pub(super) behind: bool,
    pub(super) end: watch::Sender<Offset>,
    pub(super) confirm: Confirm,
    pub(super) encoder: Encoder,
}

/// Where the next chunk goes.
pub(super) enum Writable {
    Open(OpenSegment),
    /// A write or sync failed; the next attempt at a new segment is due then.
    Failed {
        retry_at: Instant,
        cause: String,
    },
}

/// The segment being written.
pub(super) struct OpenSegment {
    pub(super) file: Arc<dyn File>,
    pub(super) generation: u64,
    pub(super) position: u64,
    /// The file is zeros from `position` to here.
    pub(super) zeroed_to: u64,
}

/// A clock that is set by the network is never this far off.
const FAR_BEHIND_MS: i64 = 3_600_000;
/// Larger buffers than this are given back after use.
const KEEP_BUFFER: usize = 8 << 20;

impl Writer {
    /// Works until the inbox is closed and empty.
    pub(super) fn run(mut self) {
        let _gone = Gone(Arc::clone(&self.shared));
        loop {
            let patience = match &self.segment {
                Writable::Open(_) => None,
                Writable::Failed { retry_at, .. } => {
                    Some(retry_at.saturating_duration_since(Instant::now()))
                }
            };
            match self.shared.inbox.next(patience) {
                Next::Group(group) => self.commit(group),
                // Nobody may be sending because we are not ready: find out whether the disk is back.
                Next::Idle => drop(self.writable()),
                Next::Closed => break,
            }
        }
        if let Writable::Open(open) = &self.segment {
            if open.zeroed_to > open.position {
                // Only saves space: a tail of zeros is an end like any other.
                drop(open.file.truncate(open.position));
            }
            // Without it the next start takes damage at the end for a torn commit, as after a crash.
            drop(closed::write(&*self.shared.disk, &self.shared.dir, self.next));
        }
    }

    fn commit(&mut self, group: Vec<Request>) {
        let (seals, group): (Vec<_>, Vec<_>) = group.into_iter().partition(|request| request.seal);
        let now = Instant::now();
        self.shared.count(|stats| {
            group.iter().for_each(|request| stats.waits.observe(now - request.arrived));
        });
        let (batches, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|request| (request.batch, request.answer)).unzip();
        match self.write(&batches).map_err(failed) {
            Ok(placed) => {
                for (answer, placed) in answers.into_iter().zip(placed) {
                    // Whoever gave up waiting has no use for the answer.
                    drop(answer.send(Ok(placed)));
                }
            }
            Err(error) => {
                for answer in answers {
                    drop(answer.send(Err(error.clone())));
                }
            }
        }
        for request in seals {
            drop(request.answer.send(self.seal().map(|()| Placed::default()).map_err(failed)));
        }
    }

    /// Makes a group durable, then visible and remembered, in this order.
    fn write(&mut self, batches: &[Batch]) -> io::Result<Vec<Placed>> {
        lock(&self.memory).ids.begin_at(self.shared.segments.first());
        let confirm = &mut self.confirm;
        let judged = lock(&self.memory).judge(batches, |offset| confirm.stored(offset))?;
        let Judged { columns, body, verdicts, other_bodies, conflicts } = judged;
        let mut next = self.next;
        if !columns.is_empty() {
            let now = (self.shared.clock)();
            self.look_at(now);
            let received_at = now.max(self.last_received_at);
            let chunk = Chunk { first: self.next, received_at, columns, body };
            self.append(&chunk)?;
            self.last_received_at = received_at;
            lock(&self.memory).remember(chunk.first, &chunk.columns);
            self.next = chunk.end();
            let events = chunk.columns.ids.len() as u64;
            if events > 0 {
                self.shared.tail.push(Arc::new(chunk));
                self.end.send_replace(Offset(self.next - 1));
            }
            self.shared.count(|stats| {
                stats.events += events;
                stats.last_group = events;
            });
        }
        let memory = lock(&self.memory);
        let segments = self.shared.segments.totals();
        self.shared.count(|stats| {
            stats.conflicts.other_body += conflicts.other_body;
            stats.conflicts.other_id += conflicts.other_id;
            stats.conflicts.unknowable += conflicts.unknowable;
            stats.describe(&memory, segments);
        });
        drop(memory);
        let placed = verdicts.into_iter().zip(other_bodies).map(|(verdicts, other_bodies)| {
            let first = Offset(next);
            next += verdicts.iter().map(|it| u64::from(*it == Appended::Accepted)).sum::<u64>();
            Placed { verdicts, first, other_bodies }
        });
        Ok(placed.collect())
    }

    /// Says, once, that the clock is far behind what is stored: `received_at` stands still until it has caught up.
    fn look_at(&mut self, now: Timestamp) {
        let behind = self.last_received_at.unix_ms().saturating_sub(now.unix_ms());
        let far = behind > FAR_BEHIND_MS;
        if far && !self.behind {
            tracing::error!(now = %now, newest = %self.last_received_at,
                "the clock is far behind the newest stored event: it is wrong, or was when that came. Until it has caught up, events \
                 are stored as received then, and lag in seconds and `keep_days` cannot be told; correct the clock");
        }
        self.behind = far;
    }

    fn append(&mut self, chunk: &Chunk) -> io::Result<()> {
        self.writable()?;
        let too_large = || io::Error::other("a group is larger than a chunk can be");
        let len = self.encoder.encode(chunk).ok_or_else(too_large)?;
        let Writable::Open(open) = &self.segment else {
            return Err(io::Error::other("no segment is open"));
        };
        let begun = open.position > segment::HEADER_LEN as u64;
        if begun && open.position + len > self.shared.options.segment_bytes {
            let sealed = (Arc::clone(&open.file), open.position, open.zeroed_to);
            self.open_segment()?;
            if sealed.2 > sealed.1 {
                // Only saves space, as above.
                drop(sealed.0.truncate(sealed.1));
            }
        }
        let Writable::Open(open) = &mut self.segment else {
            return Err(io::Error::other("no segment is open"));
        };
        let Some((header, bytes)) = self.encoder.seal(open.generation) else {
            return Err(too_large());
        };
        let position = open.position;
        let begun = Instant::now();
        let written = open.write(bytes, &self.shared.options).and_then(|()| open.file.sync_data());
        let took = begun.elapsed();
        self.shared.count(|stats| stats.observe_sync(took));
        if let Err(error) = written {
            self.abandon(&error);
            return Err(error);
        }
        open.position += len;
        self.shared.segments.change(|segments| {
            if let Some(segment) = segments.last_mut() {
                segment.add(&header, position);
            }
        });
        self.encoder.trim(KEEP_BUFFER);
        Ok(())
    }

    /// Begins a new segment, unless the last one is empty.
    fn seal(&mut self) -> io::Result<()> {
        self.writable()?;
        let Writable::Open(open) = &self.segment else { return Ok(()) };
        let sealed = (Arc::clone(&open.file), open.position, open.zeroed_to);
        if sealed.1 > segment::HEADER_LEN as u64 {
            self.open_segment()?;
            if sealed.2 > sealed.1 {
                // Only saves space: a tail of zeros is an end like any other.
                drop(sealed.0.truncate(sealed.1));
            }
        }
        Ok(())
    }

    /// A segment to write to, if need be a new one.
    fn writable(&mut self) -> io::Result<()> {
        match &self.segment {
            Writable::Open(_) => Ok(()),
            Writable::Failed { retry_at, cause } if Instant::now() < *retry_at => {
                Err(io::Error::other(cause.clone()))
            }
            Writable::Failed { .. } => self.open_segment(),
        }
    }

    /// Begins a segment at the durable end; what lies behind that end in the last one is dead from then on.
    fn open_segment(&mut self) -> io::Result<()> {
        let opened = self.try_open_segment();
        if let Err(error) = &opened {
            self.abandon(error);
        }
        opened
    }

    fn try_open_segment(&mut self) -> io::Result<()> {
        self.ordinal = self
            .ordinal
            .checked_add(1)
            .ok_or_else(|| io::Error::other("the ordinals of segment files are used up"))?;
        let name = SegmentName { first: self.next, ordinal: self.ordinal };
        let Shared { disk, dir, .. } = &*self.shared;
        // One that begins here too has no record in it, but what it says of numbers is durable and answered.
        let (generation, carried) = match self.shared.segments.begun_at(self.next) {
            Some((begun, generation, end)) => {
                let len = usize::try_from(end).map_err(io::Error::other)? - segment::HEADER_LEN;
                let mut carried = vec![0; len];
                let file = disk.open(&begun.path(dir))?;
                if file.read_at(&mut carried, segment::HEADER_LEN as u64)? < len {
                    return Err(io::Error::other(format!("{begun} has become shorter")));
                }
                // Chunks name their generation; in a file of their own it can stay.
                (generation, carried)
            }
            None => (super::random()?, Vec::new()),
        };
        let header = SegmentHeader { generation, first: self.next, hash_key: self.hash_key };
        let file = segment::create(&**disk, dir, name, &header, &carried).inspect_err(|_| {
            // Not needed for anything: a later segment with the same first offset takes precedence.
            drop(disk.remove(&name.path(dir)));
        })?;
        let before = self.shared.segments.change(|segments| {
            let before = segments.pop_if(|last| last.name.first == name.first);
            let mut segment = Segment::new(name, generation);
            segment.end_position += carried.len() as u64;
            segments.push(segment);
            before
        });
        if let Some(before) = before {
            drop(disk.remove(&before.name.path(dir)));
        }
        let position = (segment::HEADER_LEN + carried.len()) as u64;
        self.segment =
            Writable::Open(OpenSegment { file, generation, position, zeroed_to: position });
        if !self.shared.healthy.swap(true, Ordering::Relaxed) {
            tracing::info!(segment = %name, "the event log can be written again");
        }
        Ok(())
    }

    /// Lets go of the segment for good. Reading what is durable in it goes on.
    fn abandon(&mut self, error: &io::Error) {
        if self.shared.healthy.swap(false, Ordering::Relaxed) {
            tracing::error!(%error, "the event log cannot be written");
        }
        self.shared.count(|stats| stats.failures += 1);
        self.segment = Writable::Failed {
            retry_at: Instant::now() + self.shared.options.disk_retry,
            cause: error.to_string(),
        };
    }
}

/// Who asks only reads, and the writer's thread ends by a panic of its own.
pub(super) fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn failed(error: io::Error) -> AppendError {
    AppendError::Failed { cause: error.to_string() }
}

/// However the writer ends, even by a panic: nobody waits for it any longer.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.healthy.store(false, Ordering::Relaxed);
        self.0.inbox.abandon();
    }
}

impl OpenSegment {
    /// Writes a chunk at the end, and, when it reaches behind the zeros, new zeros behind it: the syncs after this one then
    /// find their blocks allocated and the file's length unchanged, and need no journal.
    fn write(&mut self, bytes: &[u8], options: &super::Options) -> io::Result<()> {
        let end = self.position + bytes.len() as u64;
        if end > self.zeroed_to && options.zero_ahead_bytes > 0 {
            let ahead = options.zero_ahead_bytes.min(options.segment_bytes.saturating_sub(end));
            let zeros = vec![0; usize::try_from(ahead).unwrap_or(0)];
            self.file.write_at(&zeros, end)?;
            self.zeroed_to = end + ahead;
        }
        self.file.write_at(bytes, self.position)
    }
}

/// Reads ids back from the log, to tell a repetition from a chance likeness of fingerprints.
pub(super) struct Confirm {
    walk: Walk,
    /// The columns read last: repetitions come in batches.
    last: Option<(u64, Columns, Timestamp)>,
}

impl Confirm {
    pub(super) fn new(walk: Walk) -> Self {
        Self { walk, last: None }
    }

    /// What stands at an offset; `None` where the log is damaged: then the event is taken for new, stored twice
    /// rather than lost.
    pub(super) fn stored(&mut self, offset: u64) -> io::Result<Option<Stored>> {
        if let Some(chunk) = self.walk.source.tail.chunk(offset) {
            return Ok(at(chunk.first, &chunk.columns, chunk.received_at, offset));
        }
        if let Some((first, columns, received_at)) = &self.last
            && let Some(found) = at(*first, columns, *received_at, offset)
        {
            return Ok(Some(found));
        }
        let Step::Chunk(header, position) = self.walk.find(offset)? else { return Ok(None) };
        let Some(columns) = self.walk.columns(&header, position)? else { return Ok(None) };
        let found = at(header.first, &columns, header.received_at, offset);
        self.last = Some((header.first, columns, header.received_at));
        Ok(found)
    }
}

fn at(first: u64, columns: &Columns, received_at: Timestamp, offset: u64) -> Option<Stored> {
    let index = usize::try_from(offset.checked_sub(first)?).ok()?;
    let (id, body_hash) = (*columns.ids.get(index)?, *columns.body_hashes.get(index)?);
    Some(Stored { id, body_hash, received_at })
}

/// Smooths the latency of syncs: the newest counts an eighth.
pub(super) fn smoothed(before: Duration, newest: Duration) -> Duration {
    if before.is_zero() { newest } else { (before * 7 + newest) / 8 }
}
