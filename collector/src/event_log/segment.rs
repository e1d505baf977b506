//! A segment: one file of chunks, and the sparse index by which an offset is found in it.
//! Promises: chunks of another generation (what a recycled or abandoned file still holds) are never taken for its own.
//! Knows nothing of who reads or writes; where a segment logically ends is told to it.
//!
//! Name: `<first offset, 20 digits>-<ordinal, 8 hex>.log`; of two with the same first offset the later ordinal counts, the
//! earlier never held anything that was acknowledged. Header, 64 bytes: magic `HWsg` · version u16 · zero u16 · generation
//! u64 · first offset u64 · hash key 16 bytes · zeros · CRC32C u32.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use super::chunk::{self, Chunk, Columns, Header};
use super::disk::{Disk, File};
use super::erase::UNFINISHED;
use super::ids::HashKey;

/// Where the first chunk begins.
pub(super) const HEADER_LEN: usize = 64;
const MAGIC: [u8; 4] = *b"HWsg";
pub(super) const VERSION: u16 = 1;
/// One index entry (16 bytes) for so many bytes of file: 128 KB of memory a GB, and a seek reads at most as many headers as
/// chunks fit in here.
const INDEX_EVERY: u64 = 128 << 10;

/// A segment file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) first: u64,
    pub(super) ordinal: u32,
}

impl SegmentName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (first, ordinal) = name.strip_suffix(".log")?.split_once('-')?;
        let parsed =
            Self { first: first.parse().ok()?, ordinal: u32::from_str_radix(ordinal, 16).ok()? };
        (parsed.to_string() == name && parsed.first <= chunk::MAX_OFFSET).then_some(parsed)
    }

    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }
}

impl std::fmt::Display for SegmentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:020}-{:08x}.log", self.first, self.ordinal)
    }
}

/// What a segment file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) generation: u64,
    pub(super) first: u64,
    pub(super) hash_key: HashKey,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.hash_key.0);
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The version of a header that a later release wrote, whole; `None` for any other bytes.
    pub(super) fn later_version(bytes: &[u8; HEADER_LEN]) -> Option<u16> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        let version = u16::from_le_bytes(*bytes[4..].first_chunk()?);
        let whole = bytes[..4] == MAGIC && crc32c::crc32c(covered) == u32::from_le_bytes(*crc);
        (whole && version > VERSION).then_some(version)
    }

    /// `None` if the header is torn or damaged.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        let whole = bytes[..4] == MAGIC
            && bytes[4..6] == VERSION.to_le_bytes()
            && crc32c::crc32c(covered) == u32::from_le_bytes(*crc);
        whole.then_some(())?;
        Some(Self {
            generation: u64::from_le_bytes(*bytes[8..].first_chunk()?),
            first: u64::from_le_bytes(*bytes[16..].first_chunk()?),
            hash_key: HashKey(*bytes[24..].first_chunk()?),
        })
    }
}

/// What a later release wrote is left to it.
pub(super) fn written_later(name: SegmentName, version: u16, known: u16) -> io::Error {
    let message = format!(
        "{name} has format version {version}, and this release reads up to {known}: start the release that wrote it; \
         nothing was changed"
    );
    io::Error::new(io::ErrorKind::Unsupported, message)
}

/// Makes a segment and makes it last: header, sync, folder sync. The first chunk's sync would cover the header too; syncing
/// it here finds out whether a disk that failed takes writes again. What is `carried` over stands behind the header: the file
/// has its name only once it is whole.
pub(super) fn create(
    disk: &dyn Disk,
    dir: &Path,
    name: SegmentName,
    header: &SegmentHeader,
    carried: &[u8],
) -> io::Result<Arc<dyn File>> {
    let path = name.path(dir);
    let made =
        if carried.is_empty() { path.clone() } else { dir.join(format!("{name}{UNFINISHED}")) };
    let file = disk.create(&made)?;
    file.write_at(&header.encode(), 0)?;
    file.write_at(carried, HEADER_LEN as u64)?;
    file.sync_data()?;
    if made != path {
        disk.rename(&made, &path)?;
    }
    disk.sync_dir(dir)?;
    Ok(file)
}

/// An open segment, read chunk by chunk.
#[derive(Clone)]
pub(super) struct SegmentFile {
    pub(super) file: Arc<dyn File>,
    pub(super) name: SegmentName,
    pub(super) generation: u64,
}

/// What stands at a position.
pub(super) enum Found {
    Chunk(Header),
    /// No whole chunk of this segment: its end, or damage.
    Nothing,
}

impl SegmentFile {
    /// The header of the chunk at `position`.
    pub(super) fn header_at(&self, position: u64) -> io::Result<Found> {
        let mut bytes = [0; chunk::HEADER_LEN];
        let whole = self.file.read_at(&mut bytes, position)? == bytes.len();
        let header = Header::decode(&bytes).filter(|_| whole);
        if header.is_none()
            && whole
            && let Some(version) = Header::later_version(&bytes)
        {
            return Err(written_later(self.name, version, chunk::VERSION));
        }
        Ok(match header {
            Some(header) if header.generation == self.generation => Found::Chunk(header),
            _ => Found::Nothing,
        })
    }

    /// `len` bytes, or `None` if the file ends before.
    fn bytes(&self, position: u64, len: u32) -> io::Result<Option<Vec<u8>>> {
        // A header whose checksum holds was written by us, but its file may have been cut: look before allocating.
        if len as usize > chunk::MAX_BODY || position + u64::from(len) > self.file.size()? {
            return Ok(None);
        }
        let mut bytes = vec![0; len as usize];
        let read = self.file.read_at(&mut bytes, position)?;
        Ok((read == bytes.len()).then_some(bytes))
    }

    /// The columns of the chunk whose header is at `position`; `None` if they are damaged.
    pub(super) fn columns(&self, header: &Header, position: u64) -> io::Result<Option<Columns>> {
        let bytes = self.bytes(position + chunk::HEADER_LEN as u64, header.columns_len)?;
        Ok(bytes.and_then(|bytes| header.columns(&bytes)))
    }

    /// Whether columns and body are whole.
    pub(super) fn is_whole(&self, header: &Header, position: u64) -> io::Result<bool> {
        let body_at = position + chunk::HEADER_LEN as u64 + u64::from(header.columns_len);
        Ok(self.columns(header, position)?.is_some()
            && self
                .bytes(body_at, header.body_len)?
                .is_some_and(|body| header.body_is_whole(&body)))
    }

    /// The whole chunk; `None` if it is damaged.
    pub(super) fn chunk(&self, header: &Header, position: u64) -> io::Result<Option<Chunk>> {
        let Some(columns) = self.columns(header, position)? else { return Ok(None) };
        let body_at = position + chunk::HEADER_LEN as u64 + u64::from(header.columns_len);
        let body = self.bytes(body_at, header.body_len)?.and_then(|body| header.body(body));
        Ok(body.map(|body| Chunk {
            first: header.first,
            received_at: header.received_at,
            columns,
            body,
        }))
    }

    /// The next position from `from` on where a chunk of this segment begins that holds offsets at or above `least`; for
    /// getting past damage.
    pub(super) fn scan(&self, from: u64, least: u64) -> io::Result<Option<(u64, Header)>> {
        scan(&*self.file, from, |h| h.generation == self.generation && h.first >= least)
    }

    /// Whether the file holds anything but zeros from `from` on; and its length.
    pub(super) fn remains(&self, from: u64) -> io::Result<(bool, u64)> {
        let size = self.file.size()?;
        let mut window = vec![0; 1 << 16];
        let mut position = from;
        while position < size {
            let read = self.file.read_at(&mut window, position)?;
            if read == 0 {
                break;
            }
            if window[..read].iter().any(|&byte| byte != 0) {
                return Ok((true, size));
            }
            position += read as u64;
        }
        Ok((false, size))
    }
}

/// The next position from `from` on with a whole chunk header that is accepted.
pub(super) fn scan(
    file: &dyn File,
    from: u64,
    accept: impl Fn(&Header) -> bool,
) -> io::Result<Option<(u64, Header)>> {
    const WINDOW: usize = 1 << 20;
    let mut window = vec![0; WINDOW];
    let mut position = from;
    loop {
        let read = file.read_at(&mut window, position)?;
        for at in magics(&window[..read]) {
            let at = position + at as u64;
            let mut bytes = [0; chunk::HEADER_LEN];
            if file.read_at(&mut bytes, at)? == bytes.len()
                && let Some(header) = Header::decode(&bytes).filter(&accept)
            {
                return Ok(Some((at, header)));
            }
        }
        if read < WINDOW {
            return Ok(None);
        }
        // A magic may lie across two windows.
        position += (WINDOW - chunk::MAGIC.len() + 1) as u64;
    }
}

fn magics(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes
        .windows(chunk::MAGIC.len())
        .enumerate()
        .filter(|(_, at)| *at == chunk::MAGIC)
        .map(|(at, _)| at)
}

/// What is known of a segment without opening it.
pub(super) struct Segment {
    pub(super) name: SegmentName,
    pub(super) generation: u64,
    /// One past the last byte of its last chunk.
    pub(super) end_position: u64,
    /// Offset and position of some chunks, ascending.
    index: Vec<(u64, u64)>,
}

impl Segment {
    pub(super) fn new(name: SegmentName, generation: u64) -> Self {
        Self { name, generation, end_position: HEADER_LEN as u64, index: Vec::new() }
    }

    /// A sealed one of so many bytes that nobody has read: what is looked for in it is looked for from its beginning.
    pub(super) fn unread(name: SegmentName, generation: u64, bytes: u64) -> Self {
        Self { name, generation, end_position: bytes, index: Vec::new() }
    }

    /// Notes a chunk behind the ones known.
    pub(super) fn add(&mut self, header: &Header, position: u64) {
        if self.index.last().is_none_or(|(_, last)| position - last >= INDEX_EVERY) {
            self.index.push((header.first, position));
        }
        self.end_position = position + header.chunk_len();
    }

    /// A position at or before the chunk that holds `offset`.
    fn position(&self, offset: u64) -> u64 {
        let after = self.index.partition_point(|(first, _)| *first <= offset);
        after.checked_sub(1).map_or(HEADER_LEN as u64, |at| self.index[at].1)
    }
}

/// The segments of the log, in order. The writer changes it, readers look things up.
#[derive(Default)]
pub(super) struct Segments(RwLock<Vec<Segment>>);

/// A segment that is not written any more.
pub(super) struct Sealed {
    pub(super) name: SegmentName,
    pub(super) generation: u64,
    /// Up to its last chunk.
    pub(super) bytes: u64,
}

/// Where to look for an offset.
pub(super) struct Place {
    pub(super) name: SegmentName,
    pub(super) generation: u64,
    /// At or before the chunk looked for.
    pub(super) position: u64,
    /// The next segment begins here; chunks from here on are dead. `None` for the last segment.
    pub(super) ends: Option<u64>,
}

impl Segments {
    pub(super) fn new(segments: Vec<Segment>) -> Self {
        Self(RwLock::new(segments))
    }

    /// The last one, if it begins at `first` and is not empty.
    pub(super) fn begun_at(&self, first: u64) -> Option<(SegmentName, u64, u64)> {
        let segments = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = segments.last().filter(|last| last.name.first == first)?;
        let begun = last.end_position > HEADER_LEN as u64;
        begun.then_some((last.name, last.generation, last.end_position))
    }

    /// Where `offset` is, or the first offset after it that the log has.
    pub(super) fn place(&self, offset: u64) -> Option<Place> {
        let segments = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = segments.partition_point(|segment| segment.name.first <= offset).saturating_sub(1);
        let segment = segments.get(at)?;
        Some(Place {
            name: segment.name,
            generation: segment.generation,
            position: segment.position(offset),
            ends: segments.get(at + 1).map(|next| next.name.first),
        })
    }

    /// Those that are not written any more, and where the one that is begins.
    pub(super) fn sealed(&self) -> (Vec<Sealed>, Option<u64>) {
        let segments = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some((open, sealed)) = segments.split_last() else { return (Vec::new(), None) };
        let sealed = sealed.iter().map(|segment| Sealed {
            name: segment.name,
            generation: segment.generation,
            bytes: segment.end_position,
        });
        (sealed.collect(), Some(open.name.first))
    }

    /// Changes the list.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Vec<Segment>) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The first offset that the log has, or will have.
    pub(super) fn first(&self) -> u64 {
        let segments = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        segments.first().map_or(1, |segment| segment.name.first)
    }

    /// How many there are, their bytes, and the first offset.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        let segments = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes = segments.iter().map(|segment| segment.end_position).sum();
        (segments.len() as u64, bytes, segments.first().map_or(1, |segment| segment.name.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::chunk::Encoder;
    use crate::event_log::testing::PowerlessDisk;
    use crate::event_log::timestamp::Timestamp;

    const NAME: SegmentName = SegmentName { first: 1, ordinal: 0x2a };

    fn encoded(first: u64, generation: u64) -> Vec<u8> {
        let (received_at, columns) = (Timestamp::MIN, Columns::default());
        let mut encoder = Encoder::new().unwrap();
        encoder.encode(&Chunk { first, received_at, columns, body: Vec::new() }).unwrap();
        encoder.seal(generation).unwrap().1.to_vec()
    }

    #[test]
    fn names_are_read_strictly_and_sort_by_offset() {
        assert_eq!(NAME.to_string(), "00000000000000000001-0000002a.log");
        assert_eq!(SegmentName::parse(&NAME.to_string()), Some(NAME));
        for bad in ["lock", "1-2a.log", "00000000000000000001-0000002A.log", "-.log", "+1-1.log"] {
            assert_eq!(SegmentName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn golden_bytes_of_a_header() {
        let header = SegmentHeader { generation: 2, first: 3, hash_key: HashKey([4; 16]) };
        let bytes = header.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("golden/segment-v1.hex").replace('\n', ""));
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn chunks_of_another_generation_are_never_found() {
        let (disk, path) = (PowerlessDisk::default(), NAME.path(Path::new("/log")));
        let (own, stale) = (encoded(7, 5), encoded(1, 4));
        disk.set_bytes(&path, &[&own[..], &stale, b"HWch", &own].concat());
        let file = SegmentFile { file: disk.open(&path).unwrap(), name: NAME, generation: 5 };
        let found = |at| matches!(file.header_at(at).unwrap(), Found::Chunk(_));
        let len = own.len() as u64;
        assert!(found(0) && !found(len) && found(2 * len + 4));
        assert_eq!(file.scan(1, 0).unwrap().map(|(at, _)| at), Some(2 * len + 4));
        assert_eq!(file.scan(1, 8).unwrap(), None);
    }
}
