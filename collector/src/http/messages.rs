//! `POST /v1/messages`: what is meant for the page or the app that somebody has open, as a stream or as one answer.
//! Promises that a write key alone reads nothing: a device reads what is meant for whoever it belongs to, with the token that it made
//! itself; that listeners leave room for those who send; and that a listener costs nothing while nothing is said to it. Deliberately
//! does not know what messages say.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Request, StatusCode, body::Body, header};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    Http,
    answer::{Answer, Failure, stream},
    body::{self, Held},
    client::{Client, Peer},
    door::Front,
    people::answer,
    routes::origin,
};
use crate::{
    event_log::Offset,
    ingest::NotTaken,
    limits::{HEARTBEAT, MAX_PULL_WAIT},
    messages::{Device, MessageError, Messages, Waiting},
    people::Node,
    sources::Source,
};

/// Bytes of what a listener says of itself.
const MOST_BYTES: usize = 4 * 1024;
/// Of a token: 128 random bits, in an alphabet of 64 letters …
const SHORTEST_TOKEN: usize = 22;
/// … and what nobody needs.
const LONGEST_TOKEN: usize = 128;
/// How soon it is looked again whether anyone knows a device that has just come.
const UNKNOWN: Duration = Duration::from_secs(1);
/// A comment: says that the stream is alive.
const ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// Who listens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listener {
    write_key: Option<String>,
    anonymous_id: String,
    token: String,
    #[serde(default)]
    wait_ms: u64,
}

impl Http {
    /// Answers what waits for a device, and goes on with what comes, if it wants a stream.
    pub(super) async fn messages<B>(
        &self,
        request: Request<B>,
        peer: Peer,
        front: &Front,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let from = Client::of(peer, &head.headers, &front.trusted_proxies);
        let by_header = self.source(&head.headers)?;
        let held = self.bodies.of_client(from.address);
        let (body, held) = body::read_at_most(MOST_BYTES, body, held, &self.limits).await?;
        let listener = listener(&body)?;
        drop((body, held));
        self.admit_listener(by_header, &listener, origin(&head.headers).as_deref())?;
        let seat = self.listeners.of_client(from.address);
        let seat = take(seat)?;
        let messages = self.desk.messages.clone();
        // Before it is looked for what waits: what comes meanwhile is heard of.
        let arrivals = messages.arrivals();
        let device = messages.device(&listener.anonymous_id, &listener.token).await?;
        let accepts = head.headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
        let Some(true) = accepts.map(|it| it.contains("text/event-stream")) else {
            let wait = Duration::from_millis(listener.wait_ms).min(MAX_PULL_WAIT);
            let mut listening = Listening::new(messages, device, arrivals);
            let found = self.within(&mut listening, wait).await?;
            let found: Vec<_> = found.into_iter().map(|waiting| waiting.message).collect();
            return Ok(answer(&json!({ "messages": found })));
        };
        let (pieces, answer) = mpsc::channel(1);
        let draining = self.draining.clone();
        tokio::spawn(async move {
            let _seat = seat;
            let mut draining = draining;
            let mut listening = Listening::new(messages, device, arrivals);
            tokio::select! {
                () = listening.tell(&pieces) => {}
                () = async { drop(draining.wait_for(|draining| *draining).await) } => {}
                () = pieces.closed() => {}
            }
        });
        Ok(stream("text/event-stream", answer))
    }

    /// Whether this source may ask from there.
    fn admit_listener(
        &self,
        by_header: Option<Arc<Source>>,
        listener: &Listener,
        origin: Option<&str>,
    ) -> Result<(), Failure> {
        let source = match (by_header, &listener.write_key) {
            (Some(source), _) => source,
            (None, Some(key)) => self.ingest.sources.with_key(key).ok_or(NotTaken::UnknownKey)?,
            (None, None) => return Err(NotTaken::NoKey.into()),
        };
        if !source.admits_origin(origin) {
            return Err(NotTaken::OriginNotAllowed.into());
        }
        Ok(())
    }

    /// What waits, or the first that comes within so long.
    async fn within(
        &self,
        listening: &mut Listening,
        wait: Duration,
    ) -> Result<Vec<Waiting>, Failure> {
        let until = Instant::now() + wait;
        let mut draining = self.draining.clone();
        loop {
            let found = listening.look().await?;
            if !found.is_empty() || Instant::now() >= until || *draining.borrow() {
                return Ok(found);
            }
            let next = until.min(Instant::now() + HEARTBEAT);
            tokio::select! {
                _ = timeout_at(next, listening.something()) => {}
                () = async { drop(draining.wait_for(|draining| *draining).await) } => {}
            }
        }
    }
}

/// A device that waits for messages.
struct Listening {
    messages: Messages,
    device: Device,
    arrivals: broadcast::Receiver<Arc<[Node]>>,
    /// The identifier that it is known by, once it is.
    node: Option<Node>,
    /// What it was told, and has not shown.
    told: Vec<Offset>,
}

impl Listening {
    fn new(messages: Messages, device: Device, arrivals: broadcast::Receiver<Arc<[Node]>>) -> Self {
        Self { messages, device, arrivals, node: None, told: Vec::new() }
    }

    /// What it was not told yet.
    async fn look(&mut self) -> Result<Vec<Waiting>, MessageError> {
        let found = self.messages.waiting(&self.device, &self.told).await?;
        self.node = found.node;
        self.told.retain(|at| found.waits.contains(at));
        self.told.extend(found.messages.iter().map(|it| it.at));
        Ok(found.messages)
    }

    /// Waits until something may have come for it. As long as nobody knows it, that is looked at now and then, and not each time that
    /// something comes for others.
    async fn something(&mut self) {
        if self.node.is_none() {
            return sleep(UNKNOWN).await;
        }
        loop {
            match self.arrivals.recv().await {
                Ok(nodes) => match self.node {
                    Some(node) if !nodes.contains(&node) => {}
                    _ => return,
                },
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The collector stops.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Says all that waits and all that comes, each once, until nobody listens.
    async fn tell(&mut self, pieces: &mpsc::Sender<io::Result<Bytes>>) {
        if pieces.send(Ok(ALIVE)).await.is_err() {
            return;
        }
        loop {
            let found = match self.look().await {
                Ok(found) => found,
                // It was erased meanwhile, and another has come with its id.
                Err(MessageError::OtherToken) => return,
                Err(error) => return tracing::warn!(%error, "a device is not told of its messages"),
            };
            let mut text = String::new();
            for Waiting { at, message } in found {
                text += &format!("event: message\nid: {at}\ndata: {message}\n\n");
            }
            if !text.is_empty() {
                if pieces.send(Ok(text.into())).await.is_err() {
                    return;
                }
                // There may be more than are handed over at once.
                continue;
            }
            let alive = Instant::now() + HEARTBEAT;
            tokio::select! {
                () = self.something() => {}
                // Whoever the device belongs to may have become somebody else meanwhile: looked at as often.
                () = sleep_until(alive) => if pieces.send(Ok(ALIVE)).await.is_err() { return },
            }
        }
    }
}

fn listener(body: &[u8]) -> Result<Listener, Failure> {
    let wrong =
        |message: String| Failure::new(StatusCode::BAD_REQUEST, "invalid_parameter", message);
    let listener: Listener = serde_json::from_slice(body).map_err(|error| {
        wrong(format!(
            "a listener says `{{\"writeKey\", \"anonymousId\", \"token\"}}` as JSON: {error}"
        ))
    })?;
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let length = listener.token.len();
    if !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&length) || !listener.token.chars().all(is_letter)
    {
        return Err(wrong(format!(
            "`token` has {SHORTEST_TOKEN} to {LONGEST_TOKEN} letters, digits, `-` and `_`: random, made and kept by the device"
        )));
    }
    Ok(listener)
}

fn take(mut seat: Held) -> Result<Held, Failure> {
    let full = |_| {
        let message =
            "as many devices listen as may, or too many from this address; come back later";
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", message)
            .retry_after(Duration::from_secs(30))
    };
    seat.grow(1).map_err(full)?;
    Ok(seat)
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        match &error {
            MessageError::NoDevice => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_parameter", error.to_string())
            }
            MessageError::OtherToken => {
                Self::new(StatusCode::FORBIDDEN, "other_token", error.to_string())
            }
            MessageError::Database(_) | MessageError::Thread(_) | MessageError::State(_) => {
                tracing::warn!(%error, "a device is not told of its messages");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", error.to_string())
                    .retry_after(Duration::from_secs(5))
            }
        }
    }
}
