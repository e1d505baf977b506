//! The event log: append, read, deduplicate, recover. The only public face of what is stored.
//! Promises: `append` resolves after fdatasync; an acknowledged event is there after any crash, once; readers see only what is
//! durable, in one order, with `received_at` never decreasing.
//! Knows nothing of HTTP, of consumers, or of what events mean.
//!
//! ```text
//! append ─▶ dedup::Batch ─▶ inbox ─▶ writer ─┬─▶ chunk ─▶ segment ─▶ disk ─▶ fdatasync
//!          (sender's thread)      (one thread)└─◀ ids, queues (judged before, remembered after)
//! Reader ◀─ tail (memory) ◀─ published end ◀──┘        recovery: the same fold, at open
//! Snapshot ─▶ fold, Reader: beside a server, changing nothing     erase: sealed segments written anew, in their places
//! retention: the oldest segments go, once a checkpoint has what they came to
//! ```
//! One group is one chunk is one fdatasync: so at most the last chunk of the log is ever unsynced, and recovery can tell a
//! torn commit (cut) from damage to acknowledged records (reported).

mod by_time;
mod checkpoint;
mod chunk;
mod closed;
mod damage;
mod dedup;
mod disk;
mod durations;
mod erase;
mod fold;
mod ids;
mod inbox;
mod queues;
mod reader;
mod record;
mod recovery;
mod retention;
mod seen;
mod segment;
mod snapshot;
mod stats;
mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timestamp;
mod varint;
mod writer;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use tokio::sync::{oneshot, watch};

pub use dedup::Conflicts;
pub use disk::{Disk, File, FileSystem, ReadOnly};
pub use durations::{BOUNDS, Durations};
pub use erase::Erased;
pub use fold::{Cut, Damage, Harm};
pub use queues::SourceSequences;
pub use reader::{ReadError, Reader};
pub use record::{
    DroppedRange, Flags, Identity, InvalidOffset, InvalidSourceName, NewEvent, Offset, Origin,
    Record, Sequence, SourceName, Trust, body_hash,
};
pub use recovery::Recovered;
pub use retention::{Retention, Upkept};
pub use snapshot::{Check, Snapshot, Survey};
pub use stats::Stats;
pub use timestamp::{Clock, Timestamp, system_clock};

use inbox::{Inbox, Refused};
use writer::{Request, Writable, Writer};

/// How the log behaves. Each default is for a machine with a few cores and one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes after which a new segment is begun. 256 MiB: retention and repair work on whole files, and a restart checks the
    /// last one to the last byte, a fraction of a second.
    pub segment_bytes: u64,
    /// Bytes of zeros written ahead of the end. 1 MiB: an fdatasync inside them need not journal the file's new length, which
    /// measured a third more single events a second, and no difference for batches of 20. 0 is off.
    pub zero_ahead_bytes: u64,
    /// Bytes of events that may wait for the writer. 16 MiB: some 50 ms of work; what is behind that is told to come back.
    pub inbox_bytes: usize,
    /// Batches that may wait. 4,096: bounds what empty batches cost.
    pub inbox_batches: usize,
    /// Bytes of events in one commit. 4 MiB: bounds the time of a write, and what a reader inflates at once.
    pub group_bytes: usize,
    /// Events in one commit. 8,192: as `group_bytes`, for small events.
    pub group_events: usize,
    /// Message ids remembered, the newest. 16 Mi: about 200 MB when full; memory grows with use. At most 2^37.
    pub remembered_ids: u64,
    /// Device queues tracked, the first to come. 16 Mi: about 40 bytes each in use. Events of others are deduplicated by id.
    pub tracked_queues: u64,
    /// Bytes of recent records kept in memory for readers at the end. 8 MiB: seconds of a busy log.
    pub tail_bytes: usize,
    /// Pause between attempts after the disk failed. 250 ms: short against a client's retry, long against a full disk.
    pub disk_retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 256 << 20,
            zero_ahead_bytes: 1 << 20,
            inbox_bytes: 16 << 20,
            inbox_batches: 4096,
            group_bytes: 4 << 20,
            group_events: 8192,
            remembered_ids: 16 << 20,
            tracked_queues: 16 << 20,
            tail_bytes: 8 << 20,
            disk_retry: Duration::from_millis(250),
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Appended {
    /// Stored.
    Accepted,
    /// It was stored before, or stands twice in this batch.
    Duplicate,
}

/// Why a batch was not taken; none of its events is stored then, unless `Failed` says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much is waiting already.
    #[error("too many events are waiting to be stored")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk failed. Nothing of the batch is visible or remembered; the same batch may be sent again, and if a crash
    /// should bring back what the disk did take, that will be seen as a repetition.
    #[error("the event log cannot be written: {cause}")]
    Failed {
        /// What the disk said.
        cause: String,
    },
    /// The batch is larger than a commit can ever be (64 MiB).
    #[error("the batch is too large to be stored at once")]
    TooLarge,
    /// The log is closed.
    #[error("the event log is closed")]
    Closed,
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to this folder.
    #[error("{} is in use by another process; two servers cannot share a data folder", .0.display())]
    InUse(PathBuf),
    /// The folder cannot be read or written.
    #[error("the event log could not be opened: {0}")]
    Io(#[from] io::Error),
}

/// When an overloaded sender should come back: a full inbox is written in far less.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An open log. Dropping it closes it.
///
/// ```
/// use std::sync::Arc;
/// use headwater_collector::event_log::*;
///
/// # let dir = tempfile::tempdir()?;
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let (log, recovered) =
///     EventLog::open(dir.path(), Options::default(), Arc::new(FileSystem), system_clock())?;
/// assert_eq!(recovered.events, 0);
/// let event = NewEvent {
///     message_id: "0193".into(),
///     source: "web".parse()?,
///     trust: Trust::Client,
///     origin: Origin::Sent,
///     order_key: "device-1".into(),
///     sequence: None,
///     dropped: Vec::new(),
///     event_time: None,
///     claimed_time: None,
///     schema_version: 0,
///     flags: Flags::default(),
///     body_hash: body_hash([b"Clicked".as_slice()]),
///     json: r#"{"type":"track","event":"Clicked","messageId":"0193"}"#.into(),
/// };
/// let answers = log.append(vec![event.clone(), event]).await?;
/// assert_eq!(answers, [Appended::Accepted, Appended::Duplicate]);
///
/// let records = log.reader(None).next_chunk(100)?;
/// assert_eq!(records.len(), 1);
/// assert_eq!(*log.end().borrow(), records[0].offset);
/// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct EventLog {
    shared: Arc<Shared>,
    hash_key: ids::HashKey,
    source: reader::Source,
    memory: Arc<Mutex<dedup::Memory>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held while files of sealed segments change: erasing and retention take turns.
    upkeep: Arc<Mutex<retention::Upkeep>>,
}

/// Events on their way to the disk: a future of what became of each.
#[derive(Debug)]
#[must_use = "only its result says whether the events are stored"]
pub struct Appending(Progress);

#[derive(Debug)]
enum Progress {
    Known(Result<writer::Placed, AppendError>),
    Waiting(oneshot::Receiver<Result<writer::Placed, AppendError>>),
}

impl Appending {
    /// With all that is known of it.
    pub(crate) async fn placed(self) -> Result<writer::Placed, AppendError> {
        match self.0 {
            Progress::Known(known) => known,
            // The sender is dropped unanswered only if the writer's thread is gone.
            Progress::Waiting(answered) => answered.await.unwrap_or(Err(AppendError::Closed)),
        }
    }
}

impl Future for Appending {
    type Output = Result<Vec<Appended>, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Progress::Known(known) => {
                let known = std::mem::replace(known, Ok(writer::Placed::default()));
                Poll::Ready(known.map(|placed| placed.verdicts))
            }
            Progress::Waiting(answered) => Pin::new(answered).poll(context).map(|answer| {
                answer.unwrap_or(Err(AppendError::Closed)).map(|placed| placed.verdicts)
            }),
        }
    }
}

/// What the writer's thread and the rest share.
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    clock: Clock,
    inbox: Inbox<Request>,
    segments: Arc<segment::Segments>,
    tail: Arc<tail::Tail>,
    healthy: AtomicBool,
    /// Upkeep is to end.
    interrupted: AtomicBool,
    stats: Mutex<Stats>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl EventLog {
    /// Opens the log in `dir`, or begins one. Blocks: reads the ids of all that is stored.
    pub fn open(
        dir: &Path,
        options: Options,
        disk: Arc<dyn Disk>,
        clock: Clock,
    ) -> Result<(EventLog, Recovered), OpenError> {
        disk.create_dir(dir)?;
        let lock = disk.lock(dir).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(dir.to_owned()),
            _ => OpenError::Io(error),
        })?;
        let mut state = recovery::recover(&*disk, dir, &options)?;
        let open = match state.open {
            Some(open) => open,
            None => {
                state.ordinal += 1;
                let name = segment::SegmentName { first: state.next, ordinal: state.ordinal };
                let generation = random()?;
                let header = segment::SegmentHeader {
                    generation,
                    first: state.next,
                    hash_key: state.hash_key,
                };
                let file = segment::create(&*disk, dir, name, &header, &[])?;
                state.segments.push(segment::Segment::new(name, generation));
                let position = segment::HEADER_LEN as u64;
                writer::OpenSegment { file, generation, position, zeroed_to: position }
            }
        };
        // Not before damage at the end has a segment behind it, by which it is seen as damage ever after.
        closed::remove(&*disk, dir)?;
        let (end, ended) = watch::channel(state.recovered.end);
        let segments = Arc::new(segment::Segments::new(state.segments));
        let tail = Arc::new(tail::Tail::new(options.tail_bytes));
        let source = reader::Source {
            disk: Arc::clone(&disk),
            dir: dir.to_owned(),
            segments: Arc::clone(&segments),
            tail: Arc::clone(&tail),
            end: ended,
            damaged: Arc::new(damage::Known::aloud()),
        };
        source.damaged.found(&state.recovered.damaged);
        let mut stats = Stats { events: state.recovered.events, ..Stats::default() };
        stats.describe(&state.memory, segments.totals());
        let memory = Arc::new(Mutex::new(state.memory));
        let shared = Arc::new(Shared {
            disk,
            dir: dir.to_owned(),
            inbox: Inbox::new(inbox::Limits {
                bytes: options.inbox_bytes,
                batches: options.inbox_batches,
                group_bytes: options.group_bytes,
                group_events: options.group_events,
            }),
            options,
            clock,
            segments,
            tail,
            healthy: AtomicBool::new(true),
            interrupted: AtomicBool::new(false),
            stats: Mutex::new(stats),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            memory: Arc::clone(&memory),
            hash_key: state.hash_key,
            ordinal: state.ordinal,
            segment: Writable::Open(open),
            next: state.next,
            last_received_at: state.last_received_at,
            behind: false,
            end,
            confirm: writer::Confirm::new(reader::Walk::new(source.clone())),
            encoder: chunk::Encoder::new()?,
        };
        let thread = std::thread::Builder::new().name("event-log".into()).spawn(move || {
            writer.run();
            // The folder is another's to open only when nothing can be written any more.
            drop(lock);
        })?;
        let writer = Mutex::new(Some(thread));
        let upkeep = Arc::default();
        let log = EventLog { shared, hash_key: state.hash_key, source, memory, writer, upkeep };
        Ok((log, state.recovered))
    }

    /// Stores the events, in order, and says for each what became of it. They are taken in before this returns, whatever becomes
    /// of the future, which resolves when they are on disk.
    pub fn append<'a>(&self, events: impl AsRef<[NewEvent<'a>]>) -> Appending {
        let batch = dedup::Batch::new(&self.hash_key, events.as_ref());
        if batch.events.is_empty() {
            return Appending(Progress::Known(Ok(writer::Placed::default())));
        }
        if batch.bytes.len() > chunk::MAX_BODY {
            return Appending(Progress::Known(Err(AppendError::TooLarge)));
        }
        self.request(batch, false)
    }

    /// For each of these message ids of a source, whether it is stored, as far back as ids are remembered. Blocks: what looks
    /// stored is confirmed by a read.
    pub fn seen(&self, source: &SourceName, ids: &[String]) -> io::Result<Vec<bool>> {
        seen::seen(&self.memory, &self.source, &self.hash_key.of(source), ids.iter())
    }

    /// Resolves when all that was taken in before is on disk, whoever waits for it.
    pub async fn settled(&self) -> Result<(), AppendError> {
        self.request(dedup::Batch::new(&self.hash_key, &[]), false).await.map(drop)
    }

    /// [`Self::settled`] for a thread that may wait.
    pub fn settle(&self) -> Result<(), AppendError> {
        match self.request(dedup::Batch::new(&self.hash_key, &[]), false).0 {
            Progress::Known(known) => known.map(drop),
            Progress::Waiting(answered) => {
                answered.blocking_recv().unwrap_or(Err(AppendError::Closed)).map(drop)
            }
        }
    }

    fn request(&self, batch: dedup::Batch, seal: bool) -> Appending {
        let (answer, answered) = oneshot::channel();
        let arrived = std::time::Instant::now();
        Appending(match self.shared.inbox.put(Request { batch, seal, answer, arrived }) {
            Ok(()) => Progress::Waiting(answered),
            Err(Refused::Full) => {
                Progress::Known(Err(AppendError::Overloaded { retry_after: RETRY_AFTER }))
            }
            Err(Refused::Closed) => Progress::Known(Err(AppendError::Closed)),
        })
    }

    /// Erases these records for good, in the background of everything else: their offsets stay, readers pass over them, and
    /// if they are sent again they are still recognised. Resolves when no file of the log has them any more. An error, or a
    /// crash, may leave some of them: ask again until it succeeds. What was read before is not called back.
    pub async fn erase(&self, offsets: &[Offset]) -> Result<Erased, AppendError> {
        let offsets = erase::within(offsets, *self.source.end.borrow());
        let Some(&last) = offsets.last() else { return Ok(Erased::default()) };
        self.request(dedup::Batch::new(&self.hash_key, &[]), true).await?;
        let (source, upkeep) = (self.source.clone(), Arc::clone(&self.upkeep));
        let erased = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = upkeep.lock().unwrap_or_else(PoisonError::into_inner);
            let erased = erase::erase(&source, &offsets)?;
            source.tail.forget(last);
            io::Result::Ok(erased)
        });
        let failed = |cause: String| AppendError::Failed { cause };
        erased
            .await
            .map_err(|panic| failed(panic.to_string()))?
            .map_err(|error| failed(error.to_string()))
    }

    /// Lets the oldest segments go that are beyond `retention` and wholly before or at `read`, after the checkpoint has what
    /// they came to; also brings the checkpoint up to the last segment, which makes the next start quick. To be called now and
    /// then. An error may leave some of the work undone: the next call does it.
    pub async fn upkeep(&self, retention: Retention, read: Offset) -> Result<Upkept, AppendError> {
        let failed = |cause: String| AppendError::Failed { cause };
        let now = (self.shared.clock)();
        if let Some(age) = retention.max_age {
            let source = self.source.clone();
            let grown_old = move || retention::has_grown_old(&source, age, now);
            let grown_old = tokio::task::spawn_blocking(grown_old);
            if grown_old.await.map_err(|panic| failed(panic.to_string()))?.unwrap_or(false) {
                self.request(dedup::Batch::new(&self.hash_key, &[]), true).await?;
            }
        }
        let (source, upkeep) = (self.source.clone(), Arc::clone(&self.upkeep));
        let folding = (self.hash_key, self.shared.options.tracked_queues);
        let shared = Arc::clone(&self.shared);
        let upkept = tokio::task::spawn_blocking(move || {
            let mut upkeep = upkeep.lock().unwrap_or_else(PoisonError::into_inner);
            let upkeep = (&mut *upkeep, &shared.interrupted);
            retention::upkeep(&source, folding, (&retention, now), read, upkeep)
        });
        let upkept = upkept.await.map_err(|panic| failed(panic.to_string()))?;
        let (upkept, gone) = upkept.map_err(|error| failed(error.to_string()))?;
        let totals = self.shared.segments.totals();
        self.shared.count(|stats| {
            stats.events = stats.events.saturating_sub(gone);
            stats.measure(totals);
        });
        Ok(upkept)
    }

    /// Ends an upkeep under way soon, and any later one at once: a large log would keep a server from stopping in time. What is
    /// left undone is done after the next start.
    pub fn interrupt_upkeep(&self) {
        self.shared.interrupted.store(true, Ordering::Relaxed);
    }

    /// Where to stand so that the next record read is the first one that was received at `time` or later. Blocks: reads a few
    /// chunk headers.
    pub fn before(&self, time: Timestamp) -> io::Result<Offset> {
        by_time::before(&self.source, time)
    }

    /// The offset of the last durable record, now and whenever it moves; [`Offset::START`] in an empty log.
    pub fn end(&self) -> watch::Receiver<Offset> {
        self.source.end.clone()
    }

    /// Reads from the record after `after` on; from the first one that the log still has without it.
    pub fn reader(&self, after: Option<Offset>) -> Reader {
        Reader::new(self.source.clone(), after.unwrap_or(Offset::START))
    }

    /// Whether the last attempt to write succeeded. Comes back by itself when the disk does.
    pub fn is_healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Relaxed)
    }

    /// Figures for metrics, as of the last commit.
    pub fn stats(&self) -> Stats {
        let mut stats = self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (stats.damaged_ranges, stats.damaged_events) = self.source.damaged.totals(stats.first.0);
        stats
    }

    /// Takes no more events, writes those that wait, and lets the folder go. Blocks. Readers may go on.
    pub fn close(&self) {
        self.shared.inbox.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(_)) = writer.map(JoinHandle::join) {
            tracing::error!("the event log's writer had panicked");
        }
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

fn random() -> io::Result<u64> {
    random_bytes().map(u64::from_le_bytes)
}
