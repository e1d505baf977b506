//! A chunk: what one group commit adds to a segment. Header, columns (ids, queues and numbers, readable without inflating
//! anything), body (the records, zstd where that pays).
//! Promises: any changed bit is noticed; the bytes of a released format version stay readable, golden files hold them.
//! Knows nothing of files, and does not decide what belongs in a chunk.
//!
//! Header, 64 bytes, little-endian: magic `HWch` · version u16 · flags u16 · generation u64 · first offset u64 · received_at
//! i64 ms · count u32 · columns length u32 · body length u32 · body length inflated u32 · CRC32C of the columns u32 · CRC32C
//! of the body as stored u32 · zero u32 · CRC32C of these 60 bytes u32.

use super::ids::Id;
use super::record::{Offset, Record, SourceName};
use super::timestamp::Timestamp;
use super::varint;

/// Length of a chunk's header.
pub(super) const HEADER_LEN: usize = 64;
/// No log gets this far; what names a larger offset was not written by one, and adding to it could overflow.
pub(super) const MAX_OFFSET: u64 = 1 << 62;
/// A chunk's magic, its first bytes.
pub(super) const MAGIC: [u8; 4] = *b"HWch";
/// The latest version that is read here.
pub(super) const VERSION: u16 = 1;
const ZSTD: u16 = 1;
/// Bodies inflate to no more than this: bounds what a reader allocates.
pub(super) const MAX_BODY: usize = 64 << 20;
/// Below it a frame's own overhead eats what zstd saves.
const LEAST_TO_COMPRESS: usize = 256;
/// Level 1: on real batches of 20 it costs under 1 us an event; higher levels cost the writer more than disk is worth.
const ZSTD_LEVEL: i32 = 1;
/// A chunk of so many bytes means that more waits than the writer keeps up with: then time is dearer than disk.
const MANY: usize = 128 * 1024;
/// For those: measured on events of varied people and pages in chunks of 640, a third less time, and 29 % of the bytes left
/// instead of 21 %.
const ZSTD_LEVEL_OF_MANY: i32 = -2;

/// Where a chunk's parts are and how to tell that they are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) generation: u64,
    pub(super) first: u64,
    pub(super) received_at: Timestamp,
    pub(super) count: u32,
    pub(super) columns_len: u32,
    pub(super) body_len: u32,
    raw_len: u32,
    columns_crc: u32,
    body_crc: u32,
    flags: u16,
}

impl Header {
    /// `None` if these are not the bytes of a header, whole and of a version known here.
    pub(super) fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        if bytes[..4] != MAGIC || crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return None;
        }
        let u16_at = |at: usize| Some(u16::from_le_bytes(*bytes[at..].first_chunk()?));
        let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes[at..].first_chunk()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes[at..].first_chunk()?));
        if u16_at(4)? != VERSION || u64_at(16)? > MAX_OFFSET {
            return None;
        }
        Some(Self {
            flags: u16_at(6)?,
            generation: u64_at(8)?,
            first: u64_at(16)?,
            received_at: Timestamp::from_unix_ms(u64_at(24)?.cast_signed()),
            count: u32_at(32)?,
            columns_len: u32_at(36)?,
            body_len: u32_at(40)?,
            raw_len: u32_at(44)?,
            columns_crc: u32_at(48)?,
            body_crc: u32_at(52)?,
        })
    }

    /// The version of a header that a later release wrote, whole; `None` for any other bytes.
    pub(super) fn later_version(bytes: &[u8; HEADER_LEN]) -> Option<u16> {
        let (covered, crc) = bytes.split_last_chunk::<4>()?;
        let version = u16::from_le_bytes(*bytes[4..].first_chunk()?);
        let whole = bytes[..4] == MAGIC && crc32c::crc32c(covered) == u32::from_le_bytes(*crc);
        (whole && version > VERSION).then_some(version)
    }

    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.first.to_le_bytes());
        bytes.extend_from_slice(&self.received_at.unix_ms().to_le_bytes());
        for n in [self.count, self.columns_len, self.body_len, self.raw_len] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        for n in [self.columns_crc, self.body_crc, 0] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&bytes);
        header
    }

    /// One past the chunk's last offset.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Bytes of the whole chunk.
    pub(super) fn chunk_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.columns_len) + u64::from(self.body_len)
    }

    /// Reads the columns; `None` if they are damaged.
    pub(super) fn columns(&self, bytes: &[u8]) -> Option<Columns> {
        (crc32c::crc32c(bytes) == self.columns_crc).then(|| Columns::decode(bytes, self.count))?
    }

    /// Whether the body as stored is whole, without inflating it.
    pub(super) fn body_is_whole(&self, bytes: &[u8]) -> bool {
        crc32c::crc32c(bytes) == self.body_crc
    }

    /// Reads the body; `None` if it is damaged.
    pub(super) fn body(&self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let raw_len = usize::try_from(self.raw_len).ok().filter(|len| *len <= MAX_BODY)?;
        if !self.body_is_whole(&bytes) {
            return None;
        }
        let raw = match self.flags {
            0 => bytes,
            ZSTD => zstd::bulk::decompress(&bytes, raw_len).ok()?,
            _ => return None,
        };
        (raw.len() == raw_len).then_some(raw)
    }
}

/// A queue named in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueRef {
    /// Index into the chunk's sources.
    pub(super) source: u32,
    /// The queue's hash.
    pub(super) key: u64,
}

/// Numbers that settle without an event in this chunk: reported dropped, or borne by a duplicate of a stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Index into the chunk's queues.
    pub(super) queue: u32,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) how: super::queues::Settled,
}

/// What the memory of ids and queues is rebuilt from; one entry an event, in order, but for the tables of names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Columns {
    pub(super) ids: Vec<Id>,
    /// [`super::NewEvent::body_hash`].
    pub(super) body_hashes: Vec<u32>,
    /// Index into `sources`.
    pub(super) event_sources: Vec<u32>,
    /// Index into `queues`, and the number there.
    pub(super) sequences: Vec<Option<(u32, u64)>>,
    pub(super) sources: Vec<SourceName>,
    pub(super) queues: Vec<QueueRef>,
    pub(super) marks: Vec<Mark>,
}

impl Columns {
    /// Room for so many events.
    pub(super) fn make_room(&mut self, events: usize) {
        self.ids.reserve(events);
        self.body_hashes.reserve(events);
        self.event_sources.reserve(events);
        self.sequences.reserve(events);
    }

    /// The source's index, added if it is new here.
    pub(super) fn source(&mut self, source: &SourceName) -> u32 {
        let known = self.sources.iter().position(|known| known == source);
        let index = known.unwrap_or_else(|| {
            self.sources.push(source.clone());
            self.sources.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.marks.is_empty()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.ids.iter().for_each(|id| out.extend_from_slice(&id.0));
        self.body_hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
        varint::put(out, self.sources.len() as u64);
        self.sources.iter().for_each(|source| varint::put_bytes(out, source.as_bytes()));
        varint::put(out, self.queues.len() as u64);
        for queue in &self.queues {
            varint::put(out, u64::from(queue.source));
            out.extend_from_slice(&queue.key.to_le_bytes());
        }
        self.event_sources.iter().for_each(|source| varint::put(out, u64::from(*source)));
        for sequence in &self.sequences {
            match sequence {
                None => varint::put(out, 0),
                Some((queue, seq)) => {
                    varint::put(out, u64::from(*queue) + 1);
                    varint::put(out, *seq);
                }
            }
        }
        varint::put(out, self.marks.len() as u64);
        for mark in &self.marks {
            varint::put(out, u64::from(mark.queue));
            varint::put(out, mark.first);
            varint::put(out, mark.last - mark.first);
            out.push(u8::from(mark.how == super::queues::Settled::Dropped));
        }
    }

    fn decode(mut bytes: &[u8], count: u32) -> Option<Self> {
        use super::queues::Settled;
        let input = &mut bytes;
        let count = usize::try_from(count).ok()?;
        // Twenty bytes an event at least: bounds what a forged count can make this allocate.
        if input.len() / 20 < count {
            return None;
        }
        let below = |n: usize, len: usize| (n < len).then(|| u32::try_from(n).ok()).flatten();
        let mut columns = Self::default();
        for _ in 0..count {
            columns.ids.push(Id(varint::take_array(input)?));
        }
        for _ in 0..count {
            columns.body_hashes.push(u32::from_le_bytes(varint::take_array(input)?));
        }
        for _ in 0..varint::take_len(input)? {
            columns.sources.push(varint::take_str(input)?.parse().ok()?);
        }
        for _ in 0..varint::take_len(input)? {
            let source = below(varint::take_len(input)?, columns.sources.len())?;
            let key = u64::from_le_bytes(varint::take_array(input)?);
            columns.queues.push(QueueRef { source, key });
        }
        for _ in 0..count {
            columns.event_sources.push(below(varint::take_len(input)?, columns.sources.len())?);
        }
        for _ in 0..count {
            columns.sequences.push(match varint::take_len(input)? {
                0 => None,
                n => Some((below(n - 1, columns.queues.len())?, varint::take(input)?)),
            });
        }
        for _ in 0..varint::take_len(input)? {
            let queue = below(varint::take_len(input)?, columns.queues.len())?;
            let first = varint::take(input)?;
            let last = first.checked_add(varint::take(input)?)?;
            let [dropped] = varint::take_array(input)?;
            let how = if dropped == 0 { Settled::Arrived } else { Settled::Dropped };
            columns.marks.push(Mark { queue, first, last, how });
        }
        input.is_empty().then_some(columns)
    }
}

/// A chunk in memory: what readers take records from.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) first: u64,
    pub(super) received_at: Timestamp,
    pub(super) columns: Columns,
    /// The records, each with its length in front.
    pub(super) body: Vec<u8>,
}

impl Chunk {
    /// One past the last offset.
    pub(super) fn end(&self) -> u64 {
        self.first + self.columns.ids.len() as u64
    }

    /// Bytes of memory, nearly.
    pub(super) fn memory(&self) -> usize {
        self.body.len() + self.columns.ids.len() * 44 + self.columns.queues.len() * 16 + 256
    }

    /// At most `limit` records from offset `from` on; `None` if the body is not what a writer wrote.
    pub(super) fn records(&self, from: u64, limit: usize) -> Option<Vec<Record>> {
        let mut input = self.body.as_slice();
        let mut records = Vec::with_capacity(limit.min(self.columns.ids.len()));
        for (offset, &source) in (self.first..).zip(&self.columns.event_sources) {
            if records.len() >= limit {
                break;
            }
            let bytes = varint::take_bytes(&mut input)?;
            if offset >= from {
                let source = self.columns.sources.get(usize::try_from(source).ok()?)?.clone();
                records.push(Record::decode(bytes, Offset(offset), self.received_at, source)?);
            }
        }
        Some(records)
    }
}

/// Makes chunks' bytes; keeps its compressor and buffers from one to the next.
pub(super) struct Encoder {
    zstd: zstd::bulk::Compressor<'static>,
    header: Option<Header>,
    bytes: Vec<u8>,
    compressed: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> std::io::Result<Self> {
        let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
        Ok(Self { zstd, header: None, bytes: Vec::new(), compressed: Vec::new() })
    }

    /// Encodes a chunk, all but the generation of its segment, and says how long it is; `None` if it is larger than the
    /// format allows.
    pub(super) fn encode(&mut self, chunk: &Chunk) -> Option<u64> {
        self.header = None;
        let raw_len = u32::try_from(chunk.body.len()).ok()?;
        self.bytes.clear();
        self.bytes.resize(HEADER_LEN, 0);
        chunk.columns.encode(&mut self.bytes);
        let columns = &self.bytes[HEADER_LEN..];
        let (columns_len, columns_crc) =
            (u32::try_from(columns.len()).ok()?, crc32c::crc32c(columns));
        let worth = chunk.body.len() - chunk.body.len() / 8;
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(chunk.body.len()));
        let level = if chunk.body.len() < MANY { ZSTD_LEVEL } else { ZSTD_LEVEL_OF_MANY };
        let shrunk = chunk.body.len() >= LEAST_TO_COMPRESS
            && self
                .zstd
                .set_compression_level(level)
                .and_then(|()| self.zstd.compress_to_buffer(&chunk.body, &mut self.compressed))
                .is_ok_and(|len| len <= worth);
        let (flags, stored) = if shrunk { (ZSTD, &self.compressed) } else { (0, &chunk.body) };
        let header = Header {
            generation: 0,
            first: chunk.first,
            received_at: chunk.received_at,
            count: u32::try_from(chunk.columns.ids.len()).ok()?,
            columns_len,
            body_len: u32::try_from(stored.len()).ok()?,
            raw_len,
            columns_crc,
            body_crc: crc32c::crc32c(stored),
            flags,
        };
        self.bytes.extend_from_slice(stored);
        self.header = Some(header);
        Some(header.chunk_len())
    }

    /// The chunk encoded last, as it stands in a segment of this generation.
    pub(super) fn seal(&mut self, generation: u64) -> Option<(Header, &[u8])> {
        let header = Header { generation, ..self.header? };
        self.bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        Some((header, &self.bytes))
    }

    /// Gives back what an unusually large chunk made the buffers grow to.
    pub(super) fn trim(&mut self, limit: usize) {
        for buffer in [&mut self.bytes, &mut self.compressed] {
            if buffer.capacity() > limit {
                *buffer = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::ids::HashKey;
    use crate::event_log::queues::Settled;
    use crate::event_log::{Flags, NewEvent, Origin, Sequence, Trust};

    /// Fixed in every field: what golden files are made of.
    fn chunk(json: &str) -> Chunk {
        let (web, app): (SourceName, SourceName) = ("web".parse().unwrap(), "app".parse().unwrap());
        let key = HashKey([1; 16]);
        let mut chunk = Chunk {
            first: 1000,
            received_at: Timestamp::from_unix_ms(1_763_769_600_000),
            columns: Columns::default(),
            body: Vec::new(),
        };
        let columns = &mut chunk.columns;
        for (n, source) in [(1, &web), (2, &app), (3, &web)] {
            let id = format!("message-{n}");
            let event = NewEvent {
                message_id: id.as_str().into(),
                source: source.clone(),
                trust: if n == 2 { Trust::Server } else { Trust::Client },
                origin: match n {
                    1 => Origin::Sent,
                    2 => Origin::Import,
                    _ => Origin::Derived { by: "rule".into(), depth: 1 },
                },
                order_key: "device".into(),
                sequence: (n != 2).then(|| Sequence { queue: "queue".into(), seq: n }),
                dropped: Vec::new(),
                event_time: (n == 1).then(|| Timestamp::from_unix_ms(1_763_769_599_000)),
                claimed_time: (n == 1).then(|| Timestamp::from_unix_ms(-1)),
                schema_version: u32::from(n == 3) * 300,
                flags: Flags { test: n == 2, no_actions: n == 3, ..Flags::default() },
                body_hash: 0,
                json: json.into(),
            };
            let mut record = Vec::new();
            event.encode(&mut record);
            varint::put_bytes(&mut chunk.body, &record);
            columns.ids.push(key.of(source).id(&id));
            columns.body_hashes.push(u32::try_from(n * 7).unwrap());
            let source = columns.source(source);
            columns.event_sources.push(source);
            columns.sequences.push((n != 2).then_some((0, n)));
        }
        columns.queues.push(QueueRef { source: 0, key: key.of(&web).queue("queue") });
        columns.marks.push(Mark { queue: 0, first: 5, last: 300, how: Settled::Dropped });
        columns.marks.push(Mark { queue: 0, first: 2, last: 2, how: Settled::Arrived });
        chunk
    }

    fn encoded(chunk: &Chunk) -> Vec<u8> {
        let mut encoder = Encoder::new().unwrap();
        let len = encoder.encode(chunk).unwrap();
        let (header, bytes) = encoder.seal(0x0102_0304_0506_0708).unwrap();
        assert_eq!((len, header.chunk_len()), (bytes.len() as u64, len));
        bytes.to_vec()
    }

    fn decoded(bytes: &[u8]) -> Option<Chunk> {
        let header = Header::decode(bytes.first_chunk()?)?;
        assert_eq!(header.generation, 0x0102_0304_0506_0708);
        let (columns, body) = bytes[HEADER_LEN..].split_at_checked(header.columns_len as usize)?;
        Some(Chunk {
            first: header.first,
            received_at: header.received_at,
            columns: header.columns(columns)?,
            body: header.body(body.to_vec())?,
        })
    }

    fn from_hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn to_hex(bytes: &[u8]) -> String {
        let line = |line: &[u8]| line.iter().map(|b| format!("{b:02x}")).collect::<String>();
        bytes.chunks(32).map(|bytes| line(bytes) + "\n").collect()
    }

    /// A released format version's file is never edited: a new version adds one.
    #[test]
    fn golden_bytes_of_format_version_1() {
        let plain = chunk(r#"{"type":"track"}"#);
        let golden = include_str!("golden/chunk-v1-plain.hex");
        assert_eq!(to_hex(&encoded(&plain)), golden);
        // zstd may compress otherwise one day; what it once wrote must stay readable.
        let long = chunk(&format!(r#"{{"type":"{}"}}"#, "track ".repeat(50)));
        let golden = from_hex(include_str!("golden/chunk-v1-zstd.hex"));
        assert!(golden.len() < long.body.len());
        for (bytes, chunk) in [(encoded(&plain), plain), (golden, long)] {
            let read = decoded(&bytes).unwrap();
            assert_eq!(
                (read.first, &read.columns, &read.body),
                (1000, &chunk.columns, &chunk.body)
            );
            assert_eq!(read.records(1001, 9).unwrap().len(), 2);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = encoded(&chunk(&format!(r#"{{"type":"{}"}}"#, "track ".repeat(50))));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decoded(&flipped).is_none(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(decoded(&bytes[..len]).is_none(), "cut at {len}");
        }
    }

    #[test]
    fn columns_that_no_writer_wrote_are_refused() {
        let mut bytes = Vec::new();
        chunk("{}").columns.encode(&mut bytes);
        assert!(Columns::decode(&bytes, 3).is_some());
        for count in [0, 1, 2, 4, u32::MAX] {
            assert_eq!(Columns::decode(&bytes, count), None);
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut forged = bytes.clone();
                forged[at] = value;
                // Must not panic; some forgeries are columns, of other events.
                drop(Columns::decode(&forged, 3));
            }
        }
    }
}
