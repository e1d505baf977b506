//! A data folder as some release wrote it, harmed in every way that the input says, and opened again.
//! Promises that an input means the same harm for ever: the folder is one of `tests/formats`. Checksums are made whole again
//! where the input says so, since hardly any chance input would get past them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use headwater_collector::event_log::{
    Appended, Check, Clock, Disk as _, EventLog, NewEvent, Offset, Options, ReadError, Reader,
    Snapshot, Timestamp, testing::PowerlessDisk,
};

macro_rules! files {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../../tests/formats/v1/stored/log/", $name)).as_slice())),*]
    };
}

/// The folder before it is harmed.
const STORED: [(&str, &[u8]); 11] = files!(
    "00000000000000000001-00000002.log"
    "00000000000000000006-00000002.log"
    "00000000000000000011-00000003.log"
    "00000000000000000016-00000004.log"
    "00000000000000000021-00000005.log"
    "00000000000000000026-00000006.log"
    "00000000000000000031-00000007.log"
    "00000000000000000036-00000008.log"
    "00000000000000000041-00000009.log"
    "00000000000000000043-0000000a.log"
    "queues-00000000000000000043.fold"
);

const DIR: &str = "/log";
/// Headers of segments and of chunks: magic at 0, version at 4, CRC32C of the first 60 bytes at 60.
const HEADER: usize = 64;
/// Most harm done to one folder.
const HARMS: usize = 24;
/// What fields of headers are set to: the ends of their ranges.
const EXTREMES: [u64; 8] =
    [0, 1, u64::MAX, i64::MAX.cast_unsigned(), 1 << 31, u32::MAX as u64, (1 << 38) - 1, 64 << 20];

/// Eight bytes are one harm. What opens afterwards is read to its end, written to, and opened again.
pub(crate) fn recovery(input: &[u8]) {
    let mut files: BTreeMap<String, Vec<u8>> =
        STORED.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
    for harm in input.chunks_exact(8).take(HARMS) {
        let [what, which, at0, at1, a, b, c, d] = *harm else { continue };
        let Some(name) = files.keys().nth(usize::from(which) % files.len().max(1)).cloned() else {
            break;
        };
        let other = files.values().nth(usize::from(c) % files.len()).cloned().unwrap_or_default();
        let Some(file) = files.get_mut(&name) else { continue };
        let at = usize::from(u16::from_le_bytes([at0, at1])) % (file.len() + 1);
        let len = usize::from(u16::from_le_bytes([a, b])).min(file.len() - at);
        match what % 10 {
            0 => file.truncate(at),
            1 => file[at..at + len].fill(c),
            2 if at < file.len() => file[at] ^= a.max(1),
            3 => file.extend(std::iter::repeat_n(c, usize::from(u16::from_le_bytes([a, b])))),
            4 => drop(files.remove(&name)),
            5 => {
                let copy = file.clone();
                let first = if d & 1 == 0 { u64::from(a) } else { EXTREMES[usize::from(a) % 8] };
                files.insert(format!("{first:020}-{:08x}.log", u32::from(b)), copy);
            }
            6 => {
                let piece = other[..len.min(other.len())].to_vec();
                file[at..at + piece.len()].copy_from_slice(&piece);
            }
            // A field of a header, which is then whole again.
            7 => set_field(
                file,
                usize::from(at0),
                a,
                if d & 1 == 0 { u64::from(c) } else { EXTREMES[usize::from(b) % 8] },
            ),
            // A byte of a chunk's columns or body, which is then whole again.
            8 => set_byte(file, usize::from(at0), usize::from(u16::from_le_bytes([a, b])), c),
            _ => {
                let empty = format!("{:020}-{:08x}.log", u64::from(a), u32::from(b));
                files.insert(empty, vec![c; usize::from(d)]);
            }
        }
        if files.is_empty() {
            break;
        }
    }
    let disk = PowerlessDisk::default();
    for (name, bytes) in &files {
        disk.set_bytes(&Path::new(DIR).join(name), bytes);
    }
    // What a forged header says cannot be told from the truth: then it is only about ending, and not in a panic.
    let forged = input.chunks_exact(8).take(HARMS).any(|harm| matches!(harm[0] % 10, 7 | 8));
    look(&disk);
    live(&disk, forged);
}

/// Where headers begin: at the start of a file, and wherever a chunk says so.
fn headers(file: &[u8]) -> Vec<usize> {
    let chunks = file.windows(4).enumerate().filter(|(_, four)| four == b"HWch");
    [0].into_iter().chain(chunks.map(|(at, _)| at)).filter(|at| at + HEADER <= file.len()).collect()
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = file.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn make_whole(file: &mut [u8], header: usize) {
    let crc = crc32c::crc32c(&file[header..header + 60]);
    put(file, header + 60, &crc.to_le_bytes());
}

fn set_field(file: &mut [u8], which: usize, field: u8, value: u64) {
    let headers = headers(file);
    let Some(&header) = headers.get(which % headers.len().max(1)) else { return };
    let value = value.to_le_bytes();
    // Version, flags, generation, first offset, received_at, count, three lengths, two checksums.
    let fields = [
        (4, 2),
        (6, 2),
        (8, 8),
        (16, 8),
        (24, 8),
        (32, 4),
        (36, 4),
        (40, 4),
        (44, 4),
        (48, 4),
        (52, 4),
    ];
    let (at, len) = fields[usize::from(field) % fields.len()];
    put(file, header + at, &value[..len]);
    make_whole(file, header);
}

fn set_byte(file: &mut [u8], which: usize, at: usize, byte: u8) {
    let headers = headers(file);
    let Some(&header) = headers.get(1 + which % headers.len().max(2).saturating_sub(1)) else {
        return;
    };
    let len = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| file[header + at + n])) as usize;
    let (columns, body) = (len(36), len(40));
    let begin = header + HEADER;
    let Some(end) = begin.checked_add(columns).and_then(|end| end.checked_add(body)) else {
        return;
    };
    if end > file.len() || begin == end {
        return;
    }
    file[begin + at % (end - begin)] = byte;
    let (columns_crc, body_crc) = (
        crc32c::crc32c(&file[begin..begin + columns]),
        crc32c::crc32c(&file[begin + columns..end]),
    );
    put(file, header + 48, &columns_crc.to_le_bytes());
    put(file, header + 52, &body_crc.to_le_bytes());
    make_whole(file, header);
}

fn open(disk: &PowerlessDisk) -> Option<EventLog> {
    let clock: Clock = Arc::new(|| Timestamp::from_unix_ms(1_763_769_700_000));
    let options = Options {
        segment_bytes: 4096,
        zero_ahead_bytes: 0,
        remembered_ids: 64,
        tracked_queues: 64,
        tail_bytes: 4096,
        ..Options::default()
    };
    EventLog::open(Path::new(DIR), options, Arc::new(disk.clone()), clock).ok().map(|(log, _)| log)
}

/// What doctor, export and backup do: to look changes nothing, whatever is there.
fn look(disk: &PowerlessDisk) {
    let dir = Path::new(DIR);
    let bytes = || -> Vec<_> {
        let mut names = disk.list(dir).expect("a folder");
        names.sort();
        names.iter().map(|name| disk.bytes(&dir.join(name))).collect()
    };
    let before = bytes();
    for check in [Check::Headers, Check::Everything] {
        let Ok(snapshot) = Snapshot::take(Arc::new(disk.clone()), dir, check) else { return };
        let survey = snapshot.survey();
        read(snapshot.reader(None), survey.end);
        let copy = PowerlessDisk::default();
        snapshot.copy_to(&copy, dir).expect("a disk in memory takes a copy");
    }
    assert!(bytes() == before, "to look changes nothing");
}

/// Opens, reads, writes, opens again. A log that says it cannot be opened has kept its promise.
fn live(disk: &PowerlessDisk, forged: bool) {
    let Some(log) = open(disk) else { return };
    let before = read(log.reader(None), *log.end().borrow());
    let event = NewEvent {
        body_hash: 1,
        ..NewEvent::new("web".parse().expect("a name"), "a new one", "d", r#"{"type":"track"}"#)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let answer = runtime.block_on(log.append(vec![event]));
    assert_eq!(answer, Ok(vec![Appended::Accepted]), "the disk takes what is written");
    let end = *log.end().borrow();
    drop(log);

    let Some(log) = open(disk) else {
        assert!(forged, "what was opened and written can be opened");
        return;
    };
    let (found, after) = (*log.end().borrow(), read(log.reader(None), *log.end().borrow()));
    if forged {
        return;
    }
    assert_eq!(found, end, "an acknowledged event is there");
    assert_eq!(after.last(), Some(&(end, "a new one".into())));
    assert_eq!(&after[..after.len() - 1], before, "what could be read can be read");
}

/// All that can be read, in order.
fn read(mut reader: Reader, end: Offset) -> Vec<(Offset, Box<str>)> {
    let mut found = Vec::<(Offset, Box<str>)>::new();
    // Damage costs one error a run of it at most, and each moves the reader.
    for _ in 0..10_000 {
        match reader.next_chunk(100) {
            Ok(records) if records.is_empty() => return found,
            Ok(records) => {
                for record in records {
                    let last = found.last().map_or(Offset::START, |(offset, _)| *offset);
                    assert!(
                        last < record.offset && record.offset <= end,
                        "offsets ascend, up to the end"
                    );
                    found.push((record.offset, record.message_id));
                }
            }
            Err(ReadError::Damaged { first, last, .. }) => {
                assert!(first <= last && last <= end, "{first} to {last}, the end is {end}");
            }
            Err(ReadError::Io(error)) => panic!("the disk is sound: {error}"),
        }
    }
    panic!("reading does not end");
}
