//! One connection, from its first byte to its last: TLS, the protocol, the time-outs that hyper does not have.
//! Promises that it ends soon if the client sends no request, or does not take an answer, over either protocol.
//! Deliberately knows nothing of what is asked.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hyper::{
    Request,
    body::{Body, Frame, Incoming, SizeHint},
    header::{self, HeaderValue},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Http,
    answer::{Answer, AnswerBody, Failure, allow_origin},
    body::Held,
    client::Peer,
    stream::Stream,
};
use crate::limits::{
    CONNECTION_BUFFER, CONNECTION_WINDOW, HttpLimits, MAX_HEAD_BYTES, MAX_HEADER_LIST, MAX_HEADERS,
    MAX_RESET_STREAMS, MAX_STREAM_ERRORS, MAX_STREAMS, STREAM_WINDOW,
};

/// Bytes of an HTTP/2 request's answer that hyper keeps.
const SEND_BUFFER: usize = 64 * 1024;
/// 10000-01-01T00:00:00Z in seconds: a date of HTTP has four digits for its year.
const DATES_END: u64 = 253_402_300_800;
/// Refused requests of an HTTP/2 connection that are told why before the client has read any of it.
const REFUSALS_IN_WORDS: usize = 4;
/// Of the shortest time-out, between two looks at an HTTP/2 connection.
const LOOKS: u32 = 8;

impl Http {
    /// Serves a connection to its end. The error is for the curious: a client went away, or spoke no HTTP.
    pub(super) async fn serve_connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: std::net::SocketAddr,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Answers are small and waited for.
        drop(stream.set_nodelay(true));
        let limits = self.limits;
        let tls = self.door.tls.get();
        let (mut stream, http2) = match &*tls {
            None => (Stream::new(Box::new(stream), limits.write_timeout), None),
            Some(tls) => {
                let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
                let stream = timeout(limits.handshake_timeout, handshake).await??;
                let http2 = stream.get_ref().1.alpn_protocol().map(|protocol| protocol == b"h2");
                (Stream::new(Box::new(stream), limits.write_timeout), http2)
            }
        };
        let peer = Peer { address: peer.ip(), tls: tls.is_some() };
        drop(tls);
        let mut draining = self.draining.clone();
        let http2 = match http2 {
            Some(http2) => http2,
            None => tokio::select! {
                begun = timeout(limits.head_timeout, stream.begins_as_http2()) => begun??,
                () = async { drop(draining.wait_for(|draining| *draining).await) } => return Ok(()),
            },
        };
        if http2 {
            self.serve_http2(stream, peer).await
        } else {
            self.serve_http1(stream, peer).await
        }
    }

    async fn serve_http1(
        self: Arc<Self>,
        stream: Stream,
        peer: Peer,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (limits, mut draining) = (self.limits, self.draining.clone());
        let service = service_fn(move |request| {
            let http = Arc::clone(&self);
            async move { Ok::<_, Infallible>(http.answer(request, peer).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .max_buf_size(CONNECTION_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            ended = while_dated(connection.as_mut()) => return Ok(ended??),
            () = async { drop(draining.wait_for(|draining| *draining).await) } => {}
        }
        connection.as_mut().graceful_shutdown();
        Ok(while_dated(connection).await??)
    }

    async fn serve_http2(
        self: Arc<Self>,
        stream: Stream,
        peer: Peer,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (limits, mut draining) = (self.limits, self.draining.clone());
        let requests = Arc::new(Requests::new());
        let open = Arc::clone(&requests);
        let service = service_fn(move |mut request: Request<Incoming>| {
            // Here and not in the answer's task: all heads that have come are read before the first task gets its turn.
            let admitted = self.admit(&mut request, peer).map(|held| (request, held));
            let (http, open) = (Arc::clone(&self), open.begin());
            async move {
                let mut open = open;
                let (mut answer, held) = match admitted {
                    // In a box: what waits for its first turn is small, and what is refused stays so.
                    Ok((request, held)) => (Box::pin(http.answer(request, peer)).await, Some(held)),
                    Err(refused) => (open.refused(refused), None),
                };
                if let Some(date) = date(SystemTime::now()) {
                    answer.headers_mut().insert(header::DATE, date);
                }
                Ok::<_, Infallible>(answer.map(|body| open.answered(body, held)))
            }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            // Each answer is a task of its own, which `while_dated` does not reach.
            .auto_date_header(false)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
            .max_local_error_reset_streams(MAX_STREAM_ERRORS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut look = interval(limits.head_timeout.min(limits.write_timeout) / LOOKS);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leaving = None;
        loop {
            let leave = tokio::select! {
                ended = while_dated(connection.as_mut()) => return Ok(ended??),
                now = look.tick() => match requests.judge(now, &limits, leaving) {
                    Verdict::Stay => false,
                    Verdict::Leave => true,
                    Verdict::Cut => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                },
                () = async { drop(draining.wait_for(|draining| *draining).await) }, if leaving.is_none() => true,
            };
            if leave && leaving.is_none() {
                connection.as_mut().graceful_shutdown();
                leaving = Some(Instant::now());
            }
        }
    }
}

/// Goes on with a connection for as long as the clock says a time that HTTP has a date for: hyper writes one at each turn, and
/// panics where it cannot. Whoever hangs up keeps his events, and so does the log its times.
async fn while_dated<F: Future>(mut connection: Pin<&mut F>) -> io::Result<F::Output> {
    poll_fn(|task| poll_dated(connection.as_mut(), task, SystemTime::now())).await
}

fn poll_dated<F: Future>(
    connection: Pin<&mut F>,
    task: &mut Context<'_>,
    now: SystemTime,
) -> Poll<io::Result<F::Output>> {
    if !has_date(now) {
        return Poll::Ready(Err(io::Error::other("the clock is before 1970 or beyond 9999")));
    }
    connection.poll(task).map(Ok)
}

pub(super) fn has_date(now: SystemTime) -> bool {
    now.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.as_secs() < DATES_END)
}

/// The header of an answer.
fn date(now: SystemTime) -> Option<HeaderValue> {
    has_date(now).then(|| HeaderValue::from_str(&httpdate::fmt_http_date(now)).ok()).flatten()
}

/// The requests of an HTTP/2 connection, whose waiting hyper does not bound.
struct Requests {
    state: Mutex<Open>,
    next: AtomicU64,
}

struct Open {
    count: usize,
    /// When the last one ended.
    idle_since: Instant,
    /// The answers that the client could go on with, and since when.
    untaken: HashMap<u64, Instant>,
    /// Those for which there was no room.
    refused: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stay,
    Leave,
    Cut,
}

impl Requests {
    fn new() -> Self {
        let idle_since = Instant::now();
        let open = Open { count: 0, idle_since, untaken: HashMap::new(), refused: 0 };
        Self { state: Mutex::new(open), next: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Each change is one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> OneRequest {
        self.lock().count += 1;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        OneRequest { requests: Arc::clone(self), number, refused: false }
    }

    fn judge(&self, now: Instant, limits: &HttpLimits, leaving: Option<Instant>) -> Verdict {
        let open = self.lock();
        let older = |since: Instant, than: Duration| now.saturating_duration_since(since) > than;
        let untaken = open.untaken.values().any(|&since| older(since, limits.write_timeout));
        let idle = open.count == 0 && older(open.idle_since, limits.head_timeout);
        let overdue = leaving.is_some_and(|since| older(since, limits.write_timeout));
        if untaken || overdue && open.count == 0 {
            Verdict::Cut
        } else if idle {
            Verdict::Leave
        } else {
            Verdict::Stay
        }
    }
}

/// One of them, until its answer has been handed over.
struct OneRequest {
    requests: Arc<Requests>,
    number: u64,
    refused: bool,
}

impl OneRequest {
    /// What is said to a request that there is no room for. Nobody counts it, so that beyond a few it is a status alone: that
    /// needs no window, and is gone once it is written.
    fn refused(&mut self, failure: Failure) -> Answer {
        let mut answer = failure.into_answer();
        // A page's script that may send is to see that it is to come again.
        allow_origin(answer.headers_mut(), None);
        self.refused = true;
        let mut open = self.requests.lock();
        open.refused += 1;
        if open.refused > REFUSALS_IN_WORDS {
            *answer.body_mut() = AnswerBody::Whole(Bytes::new());
            answer.headers_mut().remove(header::CONTENT_TYPE);
        }
        drop(open);
        answer
    }

    fn answered(self, body: AnswerBody, held: Option<Held>) -> Watched {
        self.requests.lock().untaken.insert(self.number, Instant::now());
        Watched { body, request: self, _held: held }
    }
}

impl Drop for OneRequest {
    fn drop(&mut self) {
        let mut open = self.requests.lock();
        open.untaken.remove(&self.number);
        open.count -= 1;
        open.refused -= usize::from(self.refused);
        open.idle_since = Instant::now();
    }
}

/// An answer that notes when its next piece is ready and nobody comes for it.
struct Watched {
    body: AnswerBody,
    request: OneRequest,
    /// What the request counted for, and its answer goes on to.
    _held: Option<Held>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(task);
        let mut open = self.request.requests.lock();
        if polled.is_ready() {
            open.untaken.insert(self.request.number, Instant::now());
        } else {
            open.untaken.remove(&self.request.number);
        }
        drop(open);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_without_a_date_ends_a_connection_before_it_panics() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        for (now, text) in [
            (at(784_111_777), Some("Sun, 06 Nov 1994 08:49:37 GMT")),
            (at(DATES_END - 1), Some("Fri, 31 Dec 9999 23:59:59 GMT")),
            (at(DATES_END), None),
            (at(1 << 40), None),
            (before, None),
        ] {
            // As hyper does it.
            let connection = async { httpdate::fmt_http_date(now) };
            tokio::pin!(connection);
            let turned = poll_fn(|task| poll_dated(connection.as_mut(), task, now)).await;
            assert_eq!(turned.ok().as_deref(), text);
            assert_eq!(date(now).as_ref().map(|date| date.to_str().unwrap()), text);
        }
    }
}
