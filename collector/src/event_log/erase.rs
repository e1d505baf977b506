//! Erasing records for good: each sealed segment that holds one is written anew without it and put in its place.
//! Promises: offsets and deduplication stay as they are; a crash leaves each segment as it was or as it was to be, whole.
//! Knows nothing of whose records these are; an erasure that a crash cut short has to be asked for again.

use std::collections::BTreeSet;
use std::io;

use super::chunk::{Chunk, Encoder, Header};
use super::disk::create_anew;
use super::reader::Source;
use super::record::{Flags, NewEvent, Offset, Record};
use super::segment::{self, Found, Place, Segment, SegmentFile, SegmentName};
use super::varint;

/// What an erasure did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Records that are gone now and were not before.
    pub records: u64,
    /// Files written anew.
    pub segments: u64,
}

/// A file that is not a segment yet.
pub(super) const UNFINISHED: &str = ".part";

/// Erases durable records of sealed segments; those that are erased already are passed over. Blocks. One at a time.
pub(super) fn erase(source: &Source, offsets: &BTreeSet<u64>) -> io::Result<Erased> {
    let mut erased = Erased::default();
    let mut from = 0;
    while let Some(&next) = offsets.range(from..).next() {
        let Some(place) = source.segments.place(next) else { break };
        // Until the last segment ends, nothing in it can be given a new file.
        let Some(ends) = place.ends else {
            return Err(io::Error::other("the records to erase are in a segment that is open"));
        };
        // Retention may have taken those before the log's first.
        let records = rewrite(source, &place, ends, offsets)?;
        erased.records += records;
        erased.segments += u64::from(records > 0);
        from = ends;
    }
    Ok(erased)
}

/// Puts a segment without the records in the place of one; returns how many there were.
fn rewrite(source: &Source, place: &Place, ends: u64, offsets: &BTreeSet<u64>) -> io::Result<u64> {
    let (disk, dir) = (&*source.disk, &source.dir);
    let old = SegmentFile {
        file: disk.open(&place.name.path(dir))?,
        name: place.name,
        generation: place.generation,
    };
    if !holds_any(&old, ends, offsets)? {
        return Ok(0);
    }
    // Of two with the same first offset the later ordinal counts: from the moment it has its name, it is the segment.
    let ordinal = old.name.ordinal.checked_add(1);
    let ordinal = ordinal.ok_or_else(|| io::Error::other("the ordinals are used up"))?;
    let name = SegmentName { first: old.name.first, ordinal };
    let unfinished = dir.join(format!("{name}{UNFINISHED}"));
    let file = create_anew(disk, &unfinished)?;
    // It is a file of its own, so the generation can stay, and with it the bytes of what is not touched.
    let mut written = Segment::new(name, old.generation);
    let mut header = [0; segment::HEADER_LEN];
    old.file.read_at(&mut header, 0)?;
    file.write_at(&header, 0)?;
    let (mut encoder, mut records) = (Encoder::new()?, 0);
    each_chunk(&old, ends, |header, position| {
        let to = written.end_position;
        let touched = offsets.range(header.first..header.end()).next().is_some();
        let header = if touched {
            // What cannot be read was lost before, and could hold what is to be erased.
            let Some(chunk) = old.chunk(&header, position)? else { return Ok(()) };
            let Some((chunk, erased)) = without(&chunk, offsets) else { return Ok(()) };
            records += erased;
            let too_large = || io::Error::other("a chunk is larger than it can be");
            encoder.encode(&chunk).ok_or_else(too_large)?;
            let (header, bytes) = encoder.seal(old.generation).ok_or_else(too_large)?;
            file.write_at(bytes, to)?;
            header
        } else {
            let len = usize::try_from(header.chunk_len()).map_err(io::Error::other)?;
            let mut bytes = vec![0; len];
            let read = old.file.read_at(&mut bytes, position)?;
            file.write_at(&bytes[..read], to)?;
            header
        };
        written.add(&header, to);
        Ok(())
    })?;
    file.sync_data()?;
    disk.rename(&unfinished, &name.path(dir))?;
    disk.sync_dir(dir)?;
    source.segments.change(|segments| {
        if let Some(segment) = segments.iter_mut().find(|segment| segment.name == old.name) {
            *segment = written;
        }
    });
    disk.remove(&old.name.path(dir))?;
    disk.sync_dir(dir)?;
    Ok(records)
}

/// Whether there is anything left to erase.
fn holds_any(file: &SegmentFile, ends: u64, offsets: &BTreeSet<u64>) -> io::Result<bool> {
    let mut any = false;
    each_chunk(file, ends, |header, position| {
        if !any && offsets.range(header.first..header.end()).next().is_some() {
            let chunk = file.chunk(&header, position)?;
            any = chunk.and_then(|chunk| without(&chunk, offsets)).is_some_and(|(_, n)| n > 0);
        }
        Ok(())
    })?;
    Ok(any)
}

/// Calls for each chunk of a sealed segment, those without records too; passes over what is damaged.
pub(super) fn each_chunk(
    file: &SegmentFile,
    ends: u64,
    mut each: impl FnMut(Header, u64) -> io::Result<()>,
) -> io::Result<()> {
    let (mut position, mut next) = (segment::HEADER_LEN as u64, file.name.first);
    loop {
        let found = match file.header_at(position)? {
            Found::Chunk(header) if header.first >= next => Some((position, header)),
            _ => file.scan(position + 1, next)?,
        };
        let Some((at, header)) = found.filter(|(_, header)| header.end() <= ends) else {
            return Ok(());
        };
        each(header, at)?;
        (position, next) = (at + header.chunk_len(), header.end());
    }
}

/// The chunk without the records, and how many of them were not erased before; `None` if it makes no sense.
fn without(chunk: &Chunk, offsets: &BTreeSet<u64>) -> Option<(Chunk, u64)> {
    let (mut erased, mut body) = (0, Vec::with_capacity(chunk.body.len()));
    let mut columns = chunk.columns.clone();
    let records = chunk.records(0, usize::MAX)?;
    let mut input = chunk.body.as_slice();
    let mut bytes = Vec::new();
    for (record, body_hash) in records.iter().zip(&mut columns.body_hashes) {
        let as_it_is = varint::take_bytes(&mut input)?;
        if !offsets.contains(&record.offset.0) || record.flags.erased {
            varint::put_bytes(&mut body, as_it_is);
            continue;
        }
        erased += 1;
        // Even a checksum tells who knows what to guess.
        *body_hash = 0;
        bytes.clear();
        nothing(record).encode(&mut bytes);
        varint::put_bytes(&mut body, &bytes);
    }
    Some((Chunk { first: chunk.first, received_at: chunk.received_at, columns, body }, erased))
}

/// What is left of a record: that there was one. The columns keep its source, and keyed hashes of its id and queue, by which
/// it is recognised if it is sent again.
fn nothing(record: &Record) -> NewEvent<'static> {
    NewEvent {
        flags: Flags { erased: true, ..Flags::default() },
        ..NewEvent::new(record.source.clone(), "", "", "{}")
    }
}

/// The offsets that exist.
pub(super) fn within(offsets: &[Offset], end: Offset) -> BTreeSet<u64> {
    offsets
        .iter()
        .filter(|offset| **offset > Offset::START && **offset <= end)
        .map(|o| o.0)
        .collect()
}
