//! What the queues' numbers came to up to the beginning of a segment, in a file, so that a start need not read all that
//! came before. Promises: it says the same as reading would; one that is torn, damaged or of other files is passed over.
//! Knows nothing of ids: those within reach are always read from the log, and there are only so many.
//! It also says where the log begins: segments before the first that it lists were let go, if they are still there.
//!
//! Sections, each: length u32 · CRC32C u32 · that many bytes. The first: magic `HWqf` · version u16 · hash key 16 bytes ·
//! until u64 · `received_at` i64 ms · then varints: events, queues, the segments' first offsets, the sources with their
//! counts. The others: queues, each its key u64 · highest number · gaps, as varints.

use std::io;
use std::path::Path;

use super::disk::{Disk, File, create_anew};
use super::erase::UNFINISHED;
use super::ids::HashKey;
use super::queues::{Queues, SourceSequences};
use super::timestamp::Timestamp;
use super::varint;

/// A fold of everything before an offset.
pub(super) struct Checkpoint {
    /// Everything below this offset is in it; a segment begins here.
    pub(super) until: u64,
    /// Where the log begins: what was before it has been let go.
    pub(super) begin: u64,
    /// Events that can be read, of the segments in between.
    pub(super) events: u64,
    pub(super) last_received_at: Timestamp,
    pub(super) queues: Queues,
}

/// What a checkpoint must belong to.
pub(super) struct Log<'a> {
    pub(super) hash_key: HashKey,
    /// First offsets of all segments, ascending.
    pub(super) firsts: &'a [u64],
}

const MAGIC: [u8; 4] = *b"HWqf";
const VERSION: u16 = 1;
/// Bytes after which a section ends: bounds what writing and reading hold at once.
const SECTION: usize = 1 << 20;
/// A section's last entry may be long, and the first lists all segments.
const MAX_SECTION: usize = 64 << 20;

/// Its file's name.
pub(super) fn name(until: u64) -> String {
    format!("queues-{until:020}.fold")
}

fn until(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("queues-")?.strip_suffix(".fold")?;
    digits.parse().ok().filter(|until| self::name(*until) == name)
}

/// The newest checkpoint that belongs to the log and is whole. The log begins at its [`Checkpoint::begin`].
pub(super) fn load(
    disk: &dyn Disk,
    dir: &Path,
    log: &Log<'_>,
    tracked: u64,
) -> io::Result<Option<Checkpoint>> {
    let mut found: Vec<u64> = disk.list(dir)?.iter().filter_map(|name| until(name)).collect();
    found.sort_unstable();
    for until in found.into_iter().rev() {
        let file = disk.open(&dir.join(name(until)))?;
        match read(&*file, log, tracked)? {
            Some(checkpoint) if checkpoint.until == until => return Ok(Some(checkpoint)),
            // What it should have told is told by what is then found missing.
            _ => tracing::debug!(until, "a checkpoint is of no use; the log is read instead"),
        }
    }
    Ok(None)
}

/// Writes a checkpoint, then removes those before it.
pub(super) fn save(
    disk: &dyn Disk,
    dir: &Path,
    log: &Log<'_>,
    checkpoint: &Checkpoint,
) -> io::Result<()> {
    let path = dir.join(name(checkpoint.until));
    let unfinished = dir.join(format!("{}{UNFINISHED}", name(checkpoint.until)));
    let file = create_anew(disk, &unfinished)?;
    let mut position = 0;
    let mut end_section = |bytes: &mut Vec<u8>| -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        file.write_at(&len.to_le_bytes(), position)?;
        file.write_at(&crc32c::crc32c(bytes).to_le_bytes(), position + 4)?;
        file.write_at(bytes, position + 8)?;
        position += 8 + bytes.len() as u64;
        bytes.clear();
        Ok(())
    };
    let mut bytes = head(log, checkpoint);
    end_section(&mut bytes)?;
    for (key, highest, missing) in checkpoint.queues.iter() {
        bytes.extend_from_slice(&key.to_le_bytes());
        varint::put(&mut bytes, highest);
        varint::put(&mut bytes, missing.len() as u64);
        for (from, to) in missing {
            varint::put(&mut bytes, *from);
            varint::put(&mut bytes, to - from);
        }
        if bytes.len() >= SECTION {
            end_section(&mut bytes)?;
        }
    }
    if !bytes.is_empty() {
        end_section(&mut bytes)?;
    }
    file.sync_data()?;
    disk.rename(&unfinished, &path)?;
    disk.sync_dir(dir)?;
    for old in
        disk.list(dir)?.iter().filter(|old| until(old).is_some_and(|at| at < checkpoint.until))
    {
        disk.remove(&dir.join(old))?;
    }
    Ok(())
}

fn head(log: &Log<'_>, checkpoint: &Checkpoint) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&log.hash_key.0);
    bytes.extend_from_slice(&checkpoint.until.to_le_bytes());
    bytes.extend_from_slice(&checkpoint.last_received_at.unix_ms().to_le_bytes());
    varint::put(&mut bytes, checkpoint.events);
    varint::put(&mut bytes, checkpoint.queues.len());
    let before = log.before(checkpoint.until);
    varint::put(&mut bytes, before.len() as u64);
    before.iter().for_each(|first| varint::put(&mut bytes, *first));
    varint::put(&mut bytes, checkpoint.queues.sources().len() as u64);
    for (source, counts) in checkpoint.queues.sources() {
        varint::put_bytes(&mut bytes, source.as_bytes());
        let SourceSequences { open_gaps, missing, dropped, untracked } = *counts;
        for count in [open_gaps, missing, dropped, untracked] {
            varint::put(&mut bytes, count);
        }
    }
    bytes
}

/// `None` if it is not whole, or not of this log.
fn read(file: &dyn File, log: &Log<'_>, tracked: u64) -> io::Result<Option<Checkpoint>> {
    let mut position = 0;
    let Some(bytes) = section(file, &mut position)? else { return Ok(None) };
    let Some((mut checkpoint, queues)) = read_head(&bytes, log, tracked) else { return Ok(None) };
    while let Some(bytes) = section(file, &mut position)? {
        if read_queues(&bytes, &mut checkpoint.queues).is_none() {
            return Ok(None);
        }
    }
    let whole = checkpoint.queues.len() == queues && position == file.size()?;
    Ok(whole.then_some(checkpoint))
}

/// The section at `position`; `None` if none that is whole stands there.
fn section(file: &dyn File, position: &mut u64) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 8];
    if file.read_at(&mut head, *position)? < head.len() {
        return Ok(None);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if len > MAX_SECTION || *position + 8 + len as u64 > file.size()? {
        return Ok(None);
    }
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, *position + 8)?;
    let whole = read == len && crc32c::crc32c(&bytes) == u32::from_le_bytes([c0, c1, c2, c3]);
    *position += 8 + len as u64;
    Ok(whole.then_some(bytes))
}

/// The checkpoint without its queues, and how many there are.
fn read_head(mut bytes: &[u8], log: &Log<'_>, tracked: u64) -> Option<(Checkpoint, u64)> {
    let input = &mut bytes;
    let ours = varint::take_array(input)? == MAGIC
        && u16::from_le_bytes(varint::take_array(input)?) == VERSION
        && varint::take_array(input)? == log.hash_key.0;
    let until = u64::from_le_bytes(varint::take_array(input)?);
    let last_received_at = Timestamp::from_unix_ms(i64::from_le_bytes(varint::take_array(input)?));
    let (events, queues) = (varint::take(input)?, varint::take(input)?);
    // A file that is missing since then would go unnoticed: then everything has to be read.
    let mut listed = Vec::new();
    for _ in 0..varint::take_len(input)? {
        listed.push(varint::take(input)?);
    }
    if !ours || !log.before(until).ends_with(&listed) || !log.firsts.contains(&until) {
        return None;
    }
    let mut fold = Queues::new(tracked);
    for _ in 0..varint::take_len(input)? {
        let source = varint::take_str(input)?.parse().ok()?;
        let mut count = || varint::take(input);
        let counts = SourceSequences {
            open_gaps: count()?,
            missing: count()?,
            dropped: count()?,
            untracked: count()?,
        };
        fold.restore_source(source, counts);
    }
    let begin = listed.first().copied().unwrap_or(until);
    let checkpoint = Checkpoint { until, begin, events, last_received_at, queues: fold };
    input.is_empty().then_some((checkpoint, queues))
}

fn read_queues(mut bytes: &[u8], queues: &mut Queues) -> Option<()> {
    let input = &mut bytes;
    while !input.is_empty() {
        let key = u64::from_le_bytes(varint::take_array(input)?);
        let highest = varint::take(input)?;
        let mut missing = Vec::new();
        for _ in 0..varint::take_len(input)? {
            let from = varint::take(input)?;
            missing.push((from, from.checked_add(varint::take(input)?)?));
        }
        queues.restore(key, highest, missing)?;
    }
    Some(())
}

impl Log<'_> {
    fn before(&self, until: u64) -> &[u64] {
        &self.firsts[..self.firsts.partition_point(|first| *first < until)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::queues::Settled;
    use crate::event_log::testing::PowerlessDisk;

    const LOG: Log<'_> = Log { hash_key: HashKey([7; 16]), firsts: &[1, 40, 300] };
    const DIR: &str = "/log";

    fn checkpoint() -> Checkpoint {
        let (web, app) = ("web".parse().unwrap(), "app".parse().unwrap());
        let mut queues = Queues::new(10);
        queues.settle(5, &web, (1, 9), Settled::Arrived);
        queues.settle(1 << 50, &app, (4, 5), Settled::Arrived);
        queues.settle(1 << 50, &app, (7, 7), Settled::Dropped);
        let last_received_at = Timestamp::from_unix_ms(1_763_769_600_000);
        Checkpoint { until: 300, begin: 1, events: 299, last_received_at, queues }
    }

    fn saved() -> (PowerlessDisk, std::path::PathBuf, Vec<u8>) {
        let disk = PowerlessDisk::default();
        save(&disk, Path::new(DIR), &LOG, &checkpoint()).unwrap();
        let path = Path::new(DIR).join(name(300));
        let bytes = disk.bytes(&path).unwrap();
        (disk, path, bytes)
    }

    fn loaded(disk: &PowerlessDisk, log: &Log<'_>) -> Option<Checkpoint> {
        load(disk, Path::new(DIR), log, 10).unwrap()
    }

    /// A released format version's file is never edited: a new version adds one.
    #[test]
    fn golden_bytes_of_format_version_1() {
        let (disk, _, bytes) = saved();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("golden/checkpoint-v1.hex").replace('\n', ""));
        let (found, expected) = (loaded(&disk, &LOG).unwrap(), checkpoint());
        assert_eq!((found.until, found.events), (300, 299));
        assert_eq!(found.last_received_at, expected.last_received_at);
        assert_eq!(found.queues.sources(), expected.queues.sources());
        let queues = |queues: &Queues| {
            let all = queues.iter().map(|(key, highest, gaps)| (key, highest, gaps.to_vec()));
            all.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(queues(&found.queues), queues(&expected.queues));
    }

    #[test]
    fn one_that_is_not_whole_is_passed_over() {
        let (disk, path, bytes) = saved();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            disk.set_bytes(&path, &flipped);
            assert!(loaded(&disk, &LOG).is_none(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            disk.set_bytes(&path, &bytes[..len]);
            assert!(loaded(&disk, &LOG).is_none(), "cut at {len}");
        }
    }

    #[test]
    fn one_of_other_files_is_passed_over() {
        let (disk, ..) = saved();
        assert!(loaded(&disk, &Log { firsts: &[1, 40, 300, 500], ..LOG }).is_some());
        let missing = [&[1, 300][..], &[1, 40], &[40, 300], &[1, 40, 301], &[1, 40, 41, 300]];
        for firsts in missing {
            assert!(loaded(&disk, &Log { firsts, ..LOG }).is_none(), "{firsts:?}");
        }
        assert!(loaded(&disk, &Log { hash_key: HashKey([8; 16]), ..LOG }).is_none());
    }

    #[test]
    fn it_says_where_the_log_begins_whatever_is_left_before_that() {
        let disk = PowerlessDisk::default();
        save(&disk, Path::new(DIR), &Log { firsts: &[40, 300], ..LOG }, &checkpoint()).unwrap();
        for firsts in [&[40, 300][..], &[1, 40, 300], &[40, 300, 500]] {
            let found = loaded(&disk, &Log { firsts, ..LOG }).unwrap();
            assert_eq!(found.begin, 40, "{firsts:?}");
        }
        assert!(loaded(&disk, &Log { firsts: &[300, 500], ..LOG }).is_none(), "40 is missing");
        save(&disk, Path::new(DIR), &Log { firsts: &[300, 500], ..LOG }, &checkpoint()).unwrap();
        assert_eq!(loaded(&disk, &Log { firsts: &[300, 500], ..LOG }).unwrap().begin, 300);
    }

    #[test]
    fn a_newer_one_takes_the_place_of_the_older() {
        let (disk, ..) = saved();
        let log = Log { firsts: &[1, 40, 300, 500], ..LOG };
        save(&disk, Path::new(DIR), &log, &Checkpoint { until: 500, ..checkpoint() }).unwrap();
        assert_eq!(disk.list(Path::new(DIR)).unwrap(), [name(500)]);
        assert_eq!(loaded(&disk, &log).unwrap().until, 500);
    }
}
