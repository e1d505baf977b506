//! Readers of the log over HTTP: `GET /v1/events` up to where the log ends, `GET /v1/live` from there on.
//! Promises that a reader costs a few pieces of memory whatever it asks for and however slow it is, that it is told of what
//! cannot be read, and that a stream that could not be finished does not end like one that was. Deliberately has no buffer of
//! events: what a slow reader has not fetched yet waits in the log.

use std::{
    io,
    str::FromStr,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::timeout,
};

use super::{
    answer::{Answer, Failure, stream},
    query::{only, parameter, wrong_parameter},
};
use crate::{
    event_log::{EventLog, Offset, ReadError, Reader, Record},
    limits::{
        HEARTBEAT, HttpLimits, MAX_EVENTS_PER_READ, READ_CHUNK, READER_PATIENCE, READER_PIECE,
        READER_STALL, READERS_FETCHING,
    },
};

type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// The places for readers of both kinds: each costs memory for as long as it stays.
#[derive(Debug)]
pub(super) struct Seats {
    all: Arc<Semaphore>,
    fetching: Arc<Semaphore>,
}

/// One of them, and leave to fetch when it is its turn.
pub(super) struct Seat {
    _one: OwnedSemaphorePermit,
    fetching: Arc<Semaphore>,
}

impl Seats {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.readers)),
            fetching: Arc::new(Semaphore::new(READERS_FETCHING)),
        }
    }

    pub(super) fn take(&self) -> Result<Seat, Failure> {
        let one = Arc::clone(&self.all).try_acquire_owned();
        let one = one.map_err(|_| Failure::too_many_readers())?;
        Ok(Seat { _one: one, fetching: Arc::clone(&self.fetching) })
    }
}

/// The records after `after`, at most `limit`, up to where the log ends now: one a line.
pub(super) fn events(
    log: &Arc<EventLog>,
    seats: &Seats,
    query: Option<&str>,
) -> Result<Answer, Failure> {
    only(query, &["after", "limit"])?;
    let after = read(query, "after")?.unwrap_or(Offset::START);
    let limit = read(query, "limit")?.unwrap_or(MAX_EVENTS_PER_READ).min(MAX_EVENTS_PER_READ);
    let end = *log.end().borrow();
    not_beyond(end, after)?;
    let seat = seats.take()?;
    let (pieces, answer) = mpsc::channel(1);
    let place = Place::new(log, seat, after, Form::Lines);
    tokio::spawn(send_events(place, end, limit, pieces));
    Ok(stream("application/x-ndjson", answer))
}

/// Records as they become durable, as server-sent events: from now on, or after the given offset.
pub(super) fn live(
    log: &Arc<EventLog>,
    seats: &Seats,
    query: Option<&str>,
    headers: &HeaderMap,
    draining: watch::Receiver<bool>,
) -> Result<Answer, Failure> {
    only(query, &["after"])?;
    // What a browser saw last counts more than the address it first came with.
    let last_seen = headers.get("last-event-id").map(|id| {
        id.to_str().ok().and_then(|id| Offset::from_str(id).ok()).ok_or_else(|| invalid("after"))
    });
    let after = match last_seen.transpose()? {
        Some(last_seen) => Some(last_seen),
        None => read(query, "after")?,
    };
    let mut end = log.end();
    let now = *end.borrow_and_update();
    let after = after.unwrap_or(now);
    not_beyond(now, after)?;
    let seat = seats.take()?;
    let (pieces, answer) = mpsc::channel(1);
    let place = Place::new(log, seat, after, Form::Stream);
    tokio::spawn(send_live(place, end, draining, pieces));
    Ok(stream("text/event-stream", answer))
}

async fn send_events(mut place: Place, end: Offset, limit: u64, pieces: Pieces) {
    let mut left = limit;
    while left > 0 && place.after < end {
        let Some(room) = place.room(&pieces).await else { return };
        match place.read(Some(end), left).await {
            Ok(read) if read.text.is_empty() => return,
            Ok(read) => {
                left -= read.records;
                room.send(Ok(read.text));
            }
            Err(error) => return room.send(Err(error)),
        }
    }
}

async fn send_live(
    mut place: Place,
    mut end: watch::Receiver<Offset>,
    mut draining: watch::Receiver<bool>,
    pieces: Pieces,
) {
    // Browsers wait 3 s after a lost connection unless told otherwise; a restart takes less.
    let Some(room) = place.room(&pieces).await else { return };
    room.send(Ok(Bytes::from_static(b"retry: 1000\n\n")));
    while !*draining.borrow() {
        let Some(room) = place.room(&pieces).await else { return };
        end.borrow_and_update();
        match place.read(None, u64::MAX).await {
            Ok(read) if !read.text.is_empty() => room.send(Ok(read.text)),
            Ok(_) => {
                // Where the log ends, what comes is in memory.
                place.reader = None;
                tokio::select! {
                    changed = end.changed() => if changed.is_err() { return },
                    () = async { drop(draining.wait_for(|draining| *draining).await) } => return,
                    () = pieces.closed() => return,
                    () = tokio::time::sleep(HEARTBEAT) => room.send(Ok(Bytes::from_static(b":\n\n"))),
                }
            }
            Err(error) => return room.send(Err(error)),
        }
    }
}

/// How a record is written.
#[derive(Clone, Copy)]
enum Form {
    /// One a line.
    Lines,
    /// Server-sent events.
    Stream,
}

/// Where a reader is, and what it takes to go on from there.
struct Place {
    log: Weak<EventLog>,
    seat: Seat,
    form: Form,
    after: Offset,
    /// Records to ask for: of large ones a piece has room for few.
    at_once: usize,
    /// Holds a whole commit's events, which for a busy server are megabytes: only while they are fetched.
    reader: Option<Reader>,
}

/// A piece, and how many records are in it.
struct Piece {
    text: Bytes,
    records: u64,
}

impl Place {
    fn new(log: &Arc<EventLog>, seat: Seat, after: Offset, form: Form) -> Self {
        Self { log: Arc::downgrade(log), seat, form, after, at_once: READ_CHUNK, reader: None }
    }

    /// Waits until the connection takes another piece: nothing is read before. `None` if it does not, or is gone.
    async fn room<'p>(
        &mut self,
        pieces: &'p Pieces,
    ) -> Option<mpsc::Permit<'p, io::Result<Bytes>>> {
        if let Ok(room) = timeout(READER_PATIENCE, pieces.reserve()).await {
            return room.ok();
        }
        self.reader = None;
        timeout(READER_STALL, pieces.reserve()).await.ok()?.ok()
    }

    /// The next piece; empty where the log ends now, or at `end`. Reading may wait for the disk, which a task must not.
    async fn read(&mut self, end: Option<Offset>, left: u64) -> io::Result<Piece> {
        let reader = self.reader.take();
        let reader = reader.or_else(|| Some(self.log.upgrade()?.reader(Some(self.after))));
        let mut reader = reader.ok_or_else(|| io::Error::other("the log is closed"))?;
        let most = usize::try_from(left).map_or(self.at_once, |left| left.min(self.at_once));
        let form = self.form;
        let turn = self.seat.fetching.acquire().await.map_err(io::Error::other)?;
        let read = tokio::task::spawn_blocking(move || {
            let read = form.read(&mut reader, most, end);
            read.map(|read| (read, reader))
        });
        let read = read.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        drop(turn);
        let (read, reader) = read?;
        self.after = reader.position();
        self.reader = Some(reader);
        let records = usize::try_from(read.records).unwrap_or(READ_CHUNK);
        let full = read.text.len() >= READER_PIECE;
        self.at_once = if full { records } else { self.at_once * 2 }.clamp(1, READ_CHUNK);
        Ok(read)
    }
}

impl Form {
    /// Reads at most this many records, and no more than fit into a piece: but one, however large.
    fn read(self, reader: &mut Reader, most: usize, end: Option<Offset>) -> io::Result<Piece> {
        let beyond = |offset: Offset| end.is_some_and(|end| offset > end);
        let (mut text, mut records) = (Vec::with_capacity(READER_PIECE + READER_PIECE / 8), 0);
        loop {
            match reader.next_chunk(most) {
                Ok(found) => {
                    for record in &found {
                        if beyond(record.offset) || text.len() >= READER_PIECE {
                            reader.seek(record.offset.before());
                            break;
                        }
                        self.write(record, &mut text);
                        records += 1;
                    }
                    // Of what a piece has not filled, nothing is held while it waits.
                    let text = match text.len() > READER_PIECE / 2 {
                        true => text.into(),
                        false => Bytes::copy_from_slice(&text),
                    };
                    return Ok(Piece { text, records });
                }
                Err(ReadError::Io(error)) => return Err(error),
                // The reader stands behind the damage now: the rest is still worth having.
                Err(ref damage @ ReadError::Damaged { first, last, .. }) => {
                    if !beyond(first) {
                        self.write_damage(first, last, &damage.to_string(), &mut text);
                    }
                }
            }
        }
    }

    fn write(self, record: &Record, text: &mut Vec<u8>) {
        match self {
            Self::Lines => {
                record.write_line(text);
                text.push(b'\n');
            }
            Self::Stream => {
                text.extend_from_slice(format!("id: {}\ndata: ", record.offset).as_bytes());
                record.write_line(text);
                text.extend_from_slice(b"\n\n");
            }
        }
    }

    /// What stands in the place of records that cannot be read. Reading on after its offset passes them over.
    fn write_damage(self, from: Offset, to: Offset, detail: &str, text: &mut Vec<u8>) {
        let (from, to) = (from.to_string(), to.to_string());
        let line = json!({"offset": to, "type": "damage", "damaged": {"from": from, "to": to}, "detail": detail});
        let line = match self {
            Self::Lines => format!("{line}\n"),
            Self::Stream => format!("event: damage\nid: {to}\ndata: {line}\n\n"),
        };
        text.extend_from_slice(line.as_bytes());
    }
}

/// A parameter of the query.
fn read<T: FromStr>(query: Option<&str>, name: &'static str) -> Result<Option<T>, Failure> {
    let value = parameter(query, name)?;
    value.map(|value| value.parse().map_err(|_| invalid(name))).transpose()
}

/// A reader that has seen more than there is was reading another log, or one that has lost its end: to wait until this one is
/// as long would skip what comes meanwhile.
fn not_beyond(end: Offset, after: Offset) -> Result<(), Failure> {
    if after <= end {
        return Ok(());
    }
    let message = format!(
        "the log ends at {end}, before `after`: it was begun anew or restored; read from its beginning, or after {end}"
    );
    Err(Failure::new(StatusCode::GONE, "offset_beyond_end", message))
}

fn invalid(name: &'static str) -> Failure {
    let message = match name {
        "limit" => "`limit` is a number of events",
        _ => "`after` is the `offset` of an event, as it was read",
    };
    wrong_parameter(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{FileSystem, NewEvent, Options, system_clock};

    fn event(id: usize, bytes: usize) -> NewEvent<'static> {
        NewEvent::new(
            "web".parse().unwrap(),
            id.to_string(),
            "d",
            format!(r#"{{"messageId":"{id}","x":"{}"}}"#, "x".repeat(bytes)),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stalls_holds_pieces_and_no_commit_and_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        // Nothing stays in the log's own memory.
        let options = Options { tail_bytes: 0, ..Options::default() };
        let disk = Arc::new(FileSystem);
        let (log, _) = EventLog::open(folder.path(), options, disk, system_clock()).unwrap();
        let log = Arc::new(log);
        let large = READER_PIECE * 2;
        let sizes = (0..3000).map(|id| if id % 500 == 0 { large } else { 600 });
        log.append(sizes.enumerate().map(|(id, size)| event(id, size)).collect::<Vec<_>>())
            .await
            .unwrap();

        let limits = HttpLimits { readers: 1, ..HttpLimits::default() };
        let seats = Seats::new(&limits);
        let mut place = Place::new(&log, seats.take().unwrap(), Offset::START, Form::Lines);
        assert!(seats.take().is_err(), "there is one seat");
        let (pieces, mut taken) = mpsc::channel(1);
        let (mut seen, mut turns) = (0, 0);
        loop {
            place.room(&pieces).await.unwrap();
            let read = place.read(None, u64::MAX).await.unwrap();
            if read.text.is_empty() {
                break;
            }
            let lines = read.text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let largest = lines.clone().map(<[u8]>::len).max().unwrap();
            assert!(read.text.len() < READER_PIECE + largest + 1, "{}", read.text.len());
            assert_eq!(read.records, lines.clone().count() as u64);
            for line in lines {
                let line: serde_json::Value = serde_json::from_slice(line).unwrap();
                assert_eq!(line["messageId"], seen.to_string());
                seen += 1;
            }
            if turns % 7 == 0 {
                // Nobody takes a piece for a while.
                pieces.send(Ok(read.text)).await.unwrap();
                assert!(place.reader.is_some());
                let late = async {
                    tokio::time::sleep(READER_PATIENCE * 2).await;
                    taken.recv().await.unwrap().unwrap()
                };
                let (room, _) = tokio::join!(place.room(&pieces), late);
                drop(room.expect("it came back"));
                assert!(place.reader.is_none(), "what was open for it is closed");
            }
            turns += 1;
        }
        assert_eq!(seen, 3000);
        pieces.send(Ok(Bytes::new())).await.unwrap();
        assert!(place.room(&pieces).await.is_none(), "who never comes is let go");
        drop(place);
        seats.take().expect("the seat is free again");
    }
}
