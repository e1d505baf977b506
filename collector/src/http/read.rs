//! Readers of the log over HTTP: `GET /v1/events` up to where the log ends, `GET /v1/live` from there on.
//! Promises that a reader costs one piece of memory whatever it asks for, and that a stream that
//! could not be finished does not end like one that was. Deliberately has no buffer of events: what a
//! slow reader has not fetched yet waits in the log.

use std::{io, str::FromStr};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::answer::{Answer, Failure, stream};
use crate::{
    event_log::{EventLog, Offset, ReadError, Reader, Record},
    limits::{HEARTBEAT, MAX_EVENTS_PER_READ, READ_CHUNK, READER_STALL},
};

type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// The records after `after`, at most `limit`, up to where the log ends now: one a line.
pub(super) fn events(log: &EventLog, query: Option<&str>) -> Result<Answer, Failure> {
    let after = parameter(query, "after")?.unwrap_or(Offset::START);
    let limit = parameter(query, "limit")?.unwrap_or(MAX_EVENTS_PER_READ).min(MAX_EVENTS_PER_READ);
    let (pieces, answer) = mpsc::channel(1);
    let end = *log.end().borrow();
    not_beyond(end, after)?;
    tokio::spawn(send_events(log.reader(Some(after)), end, limit, pieces));
    Ok(stream("application/x-ndjson", answer))
}

/// Records as they become durable, as server-sent events: from now on, or after the given offset.
pub(super) fn live(
    log: &EventLog,
    query: Option<&str>,
    headers: &HeaderMap,
    draining: watch::Receiver<bool>,
) -> Result<Answer, Failure> {
    // What a browser saw last counts more than the address it first came with.
    let last_seen = headers.get("last-event-id").map(|id| {
        id.to_str().ok().and_then(|id| Offset::from_str(id).ok()).ok_or_else(|| invalid("after"))
    });
    let after = match last_seen.transpose()? {
        Some(last_seen) => Some(last_seen),
        None => parameter(query, "after")?,
    };
    let mut end = log.end();
    let now = *end.borrow_and_update();
    let after = after.unwrap_or(now);
    not_beyond(now, after)?;
    let (pieces, answer) = mpsc::channel(1);
    tokio::spawn(send_live(log.reader(Some(after)), end, draining, pieces));
    Ok(stream("text/event-stream", answer))
}

async fn send_events(mut reader: Reader, end: Offset, limit: u64, pieces: Pieces) {
    let mut left = limit;
    while left > 0 {
        let most = usize::try_from(left).map_or(READ_CHUNK, |left| left.min(READ_CHUNK));
        let records;
        (reader, records) = match next(reader, most).await {
            Ok(read) => read,
            Err(error) => return drop(pieces.send(Err(error)).await),
        };
        let mut lines = Vec::with_capacity(records.len() * 768);
        for record in records.iter().take_while(|record| record.offset <= end) {
            record.write_line(&mut lines);
            lines.push(b'\n');
            left -= 1;
        }
        let more = records.last().is_some_and(|record| record.offset < end);
        if !(lines.is_empty() || send(&pieces, lines).await) || !more {
            return;
        }
    }
}

async fn send_live(
    mut reader: Reader,
    mut end: watch::Receiver<Offset>,
    mut draining: watch::Receiver<bool>,
    pieces: Pieces,
) {
    // Browsers wait 3 s after a lost connection unless told otherwise; a restart takes less.
    if !send(&pieces, b"retry: 1000\n\n".to_vec()).await {
        return;
    }
    loop {
        end.borrow_and_update();
        let records;
        (reader, records) = match next(reader, READ_CHUNK).await {
            Ok(read) => read,
            Err(error) => return drop(pieces.send(Err(error)).await),
        };
        let mut text = Vec::with_capacity(records.len() * 768);
        for record in &records {
            write_event(record, &mut text);
        }
        if records.is_empty() {
            tokio::select! {
                changed = end.changed() => if changed.is_err() { return },
                () = async { drop(draining.wait_for(|draining| *draining).await) } => return,
                () = pieces.closed() => return,
                () = tokio::time::sleep(HEARTBEAT) => text.extend_from_slice(b":\n\n"),
            }
        }
        if !(text.is_empty() || send(&pieces, text).await) || *draining.borrow() {
            return;
        }
    }
}

fn write_event(record: &Record, text: &mut Vec<u8>) {
    text.extend_from_slice(format!("id: {}\ndata: ", record.offset).as_bytes());
    record.write_line(text);
    text.extend_from_slice(b"\n\n");
}

/// The next records. Reading may wait for the disk, which a task must not.
async fn next(mut reader: Reader, most: usize) -> io::Result<(Reader, Vec<Record>)> {
    let read = tokio::task::spawn_blocking(move || {
        loop {
            match reader.next_chunk(most) {
                Ok(records) => return Ok((reader, records)),
                Err(ReadError::Io(error)) => return Err(error),
                // The reader stands behind the damage now: the rest is still worth having.
                Err(damage) => tracing::error!(%damage, "stored events are lost to readers"),
            }
        }
    });
    read.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Hands a piece to the connection; false if nobody takes it.
async fn send(pieces: &Pieces, piece: Vec<u8>) -> bool {
    matches!(timeout(READER_STALL, pieces.send(Ok(piece.into()))).await, Ok(Ok(())))
}

/// A parameter of the query. Offsets and numbers have no character that an address would escape.
fn parameter<T: FromStr>(query: Option<&str>, name: &'static str) -> Result<Option<T>, Failure> {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back();
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
    Failure::new(StatusCode::BAD_REQUEST, "invalid_parameter", message)
}
