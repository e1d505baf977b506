//! The log as its files stand at this moment, for whoever is not its owner: doctor, export, backup.
//! Promises: changes nothing and needs no lock, so that a server may go on writing; ends at a record that is durable.
//! Knows nothing of what comes after it was taken; take another to see that.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::Options;
use super::checkpoint::{self, Checkpoint};
use super::closed;
use super::dedup::Memory;
use super::disk::{Disk, File};
use super::fold::{Cut, Damage, Depth, Files, Fold};
use super::ids::Ids;
use super::queues::{Queues, SourceSequences};
use super::reader::{Reader, Source};
use super::record::{Offset, SourceName};
use super::segment::{Segment, SegmentFile, Segments};
use super::tail::Tail;

/// How closely a snapshot looks at what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// As a server does when it starts.
    Headers,
    /// Every byte of every segment.
    Everything,
}

/// What a snapshot found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// Records that can be read.
    pub events: u64,
    /// Where the log begins: the first record that its first file should hold.
    pub first: Offset,
    /// The last record; before `first` in an empty log.
    pub end: Offset,
    /// Segment files.
    pub segments: u64,
    /// Bytes in them, up to the last chunk of each.
    pub bytes: u64,
    /// What a crash tore, or a server is writing just now.
    pub cut: Option<Cut>,
    /// Records that cannot be read.
    pub damaged: Vec<Damage>,
    /// Segments whose header is damaged; their records can be read.
    pub headless: Vec<String>,
    /// Gaps, drops and what was not tracked, by source.
    pub sequences: BTreeMap<SourceName, SourceSequences>,
    /// Device queues seen.
    pub queues: u64,
}

/// A log, not opened but looked at.
pub struct Snapshot {
    survey: Survey,
    source: Source,
    /// Each with where its copy ends. Open, so that they stay readable whatever a server does to their names.
    files: Vec<(SegmentFile, u64)>,
    /// Without it a log that retention has been at looks like one that has lost its beginning.
    checkpoint: Option<(String, Arc<dyn File>)>,
    closed: Option<u64>,
}

/// Files may be replaced between listing and opening them, by a server that recovers from a disk error or lets old ones go;
/// it does so once in seconds at most.
const ATTEMPTS: u32 = 5;

impl Snapshot {
    /// Looks at the log in `dir`. Blocks: reads as much as `check` says.
    pub fn take(disk: Arc<dyn Disk>, dir: &Path, check: Check) -> io::Result<Self> {
        let mut attempts = 1..ATTEMPTS;
        let (files, checkpoint) = loop {
            match find(&*disk, dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // The folder itself is not there, or was moved once too often.
                    disk.list(dir)?;
                    attempts.next().ok_or(error)?;
                }
                found => break found?,
            }
        };
        let (checkpoint, checkpoint_file) = checkpoint.unzip();
        let begin = checkpoint.as_ref().map_or(1, |checkpoint| checkpoint.begin);
        let until = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.until);
        let queues = checkpoint.map(|checkpoint| checkpoint.queues);
        // Queues are counted as a server would; ids are of no use here.
        let queues = queues.unwrap_or_else(|| Queues::new(Options::default().tracked_queues));
        let memory = Memory { ids: Ids::new(1, begin), queues };
        let depth = match check {
            Check::Headers => Depth::Columns,
            Check::Everything => Depth::Everything,
        };
        let mut fold = Fold { closed: files.closed, ..Fold::new(memory, begin, depth) };
        let mut segments = Vec::with_capacity(files.segments.len());
        for (at, file) in files.segments.iter().enumerate() {
            let ends = files.segments.get(at + 1).map(|next| next.name.first);
            let mut segment = Segment::new(file.name, file.generation);
            fold.numbers_known = file.name.first < until;
            fold.segment(file, &mut segment, ends)?;
            segments.push(segment);
        }
        fold.end_without_segments(files.segments.is_empty());
        if let Some(last) = files.segments.last() {
            // The last chunk may have been written but not yet synced. Now it is.
            last.file.sync_data()?;
        }
        let mut copied = Vec::with_capacity(segments.len());
        for (at, (file, segment)) in files.segments.into_iter().zip(&segments).enumerate() {
            let is_last = at + 1 == segments.len();
            // Of one with damage everything is kept: someone may find more in it than we do.
            let size = file.file.size()?;
            let end = if is_last && files.closed.is_none() { segment.end_position } else { size };
            copied.push((file, end));
        }
        let segments = Segments::new(segments);
        let (count, bytes, _) = segments.totals();
        let end = Offset(fold.next - 1);
        let survey = Survey {
            events: fold.events,
            first: Offset(begin),
            end,
            segments: count,
            bytes,
            cut: fold.cut,
            damaged: fold.damaged,
            headless: files.headless.iter().map(ToString::to_string).collect(),
            sequences: fold.memory.queues.sources().clone(),
            queues: fold.memory.queues.len(),
        };
        let source = Source {
            disk,
            dir: dir.to_owned(),
            segments: Arc::new(segments),
            tail: Arc::new(Tail::new(0)),
            end: watch::channel(end).1,
            damaged: Arc::default(),
        };
        Ok(Self {
            survey,
            source,
            files: copied,
            checkpoint: checkpoint_file,
            closed: files.closed,
        })
    }

    /// What was found.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Reads from the record after `after` on, up to the end of this snapshot.
    pub fn reader(&self, after: Option<Offset>) -> Reader {
        Reader::new(self.source.clone(), after.unwrap_or(Offset::START))
    }

    /// Copies the log, up to the end of this snapshot, into a folder that is there and empty, and makes the copy last.
    pub fn copy_to(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        for (from, end) in &self.files {
            copy(&*from.file, *end, &*disk.create(&from.name.path(dir))?)?;
        }
        if let Some((name, from)) = &self.checkpoint {
            copy(&**from, from.size()?, &*disk.create(&dir.join(name))?)?;
        }
        if let Some(next) = self.closed {
            closed::write(disk, dir, next)?;
        }
        disk.sync_dir(dir)
    }
}

fn copy(from: &dyn File, end: u64, to: &dyn File) -> io::Result<()> {
    let mut window = vec![0; COPY_WINDOW];
    let mut position = 0;
    while position < end {
        let len = usize::try_from(end - position).map_or(COPY_WINDOW, |n| n.min(COPY_WINDOW));
        let read = from.read_at(&mut window[..len], position)?;
        if read == 0 {
            break;
        }
        to.write_at(&window[..read], position)?;
        position += read as u64;
    }
    to.sync_data()
}

type WithFile = (Checkpoint, (String, Arc<dyn File>));

/// The segments that count, and where retention has been the checkpoint that knows what it let go; else all is counted anew.
fn find(disk: &dyn Disk, dir: &Path) -> io::Result<(Files, Option<WithFile>)> {
    let mut files = Files::find(disk, dir)?;
    let Some(hash_key) = files.hash_key else { return Ok((files, None)) };
    let firsts: Vec<u64> = files.segments.iter().map(|file| file.name.first).collect();
    let log = checkpoint::Log { hash_key, firsts: &firsts };
    let known = checkpoint::load(disk, dir, &log, Options::default().tracked_queues)?;
    let Some(known) = known.filter(|known| known.begin > 1) else { return Ok((files, None)) };
    files.segments.retain(|file| file.name.first >= known.begin);
    let name = checkpoint::name(known.until);
    let file = disk.open(&dir.join(&name))?;
    Ok((files, Some((known, (name, file)))))
}

/// Large enough that a disk streams.
const COPY_WINDOW: usize = 1 << 20;
