//! What goes back to a client: bodies, errors and the headers that browsers need.
//! Promises that every error has the same JSON form, and says what to do. Deliberately knows nothing
//! of what was asked.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::{self, HeaderName, HeaderValue},
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    decode::DecodeError,
    ingest::{NotTaken, Receipt},
};

/// Said with a 415, as RFC 9110 12.5.3 has it.
const KNOWN_ENCODINGS: &str = "gzip, deflate, br, zstd, identity";

/// The answer to a request.
pub(super) type Answer = Response<AnswerBody>;

/// Bytes at hand, or a stream of them that holds at most one piece.
#[derive(Debug)]
pub(super) enum AnswerBody {
    Whole(Bytes),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Stream(pieces) => pieces.poll_recv(task),
        };
        piece.map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A 200 with this content.
pub(super) fn ok(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(body.into()));
    set(answer.headers_mut(), header::CONTENT_TYPE, content_type);
    answer
}

/// A 200 whose content comes piece by piece.
pub(super) fn stream(
    content_type: &'static str,
    pieces: mpsc::Receiver<io::Result<Bytes>>,
) -> Answer {
    let mut answer = Response::new(AnswerBody::Stream(pieces));
    set(answer.headers_mut(), header::CONTENT_TYPE, content_type);
    set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
    answer
}

/// A status that says it all.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// The receipt of a batch. In detail only for who asked: Segment's clients look for `success`.
pub(super) fn receipt(receipt: &Receipt, in_detail: bool) -> Answer {
    if !in_detail {
        return ok("application/json", &br#"{"success":true}"#[..]);
    }
    let events: Vec<_> = receipt
        .not_accepted
        .iter()
        .map(|event| match &event.refused {
            None => json!({"index": event.index, "outcome": "duplicate"}),
            Some((reason, detail)) => json!({
                "index": event.index,
                "outcome": "refused",
                "reason": reason.as_str(),
                "detail": detail,
            }),
        })
        .collect();
    let body = json!({
        "success": true,
        "accepted": receipt.accepted,
        "duplicate": receipt.duplicate,
        "events": events,
    });
    ok("application/json", body.to_string())
}

/// A request that is not answered with what it asked for.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
    header: Option<(HeaderName, &'static str)>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, header: None }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Too many bodies at once.
    pub(super) fn overloaded(wait: Duration) -> Self {
        let message = "the collector is busy; send the same batch again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(wait)
    }

    /// One address has too much of its share under way. The others have theirs.
    pub(super) fn too_many_bodies(wait: Duration) -> Self {
        let message = "too many unfinished bodies come from this address; send the same batch again later, fewer at once";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_bodies", message).retry_after(wait)
    }

    /// Of events and of the live stream.
    pub(super) fn too_many_readers() -> Self {
        let message =
            "as many readers of events as may be are there already; come back when one has gone";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_readers", message)
            .retry_after(Duration::from_secs(5))
    }

    /// Taking more could end in a log that cannot be closed in order.
    pub(super) fn disk_nearly_full() -> Self {
        let message = "the collector's disk is nearly full; keep the events and try again";
        // Someone has to make room: minutes. A look each second sees it then.
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "disk_nearly_full", message)
            .retry_after(Duration::from_secs(30))
    }

    pub(super) fn into_answer(self) -> Answer {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(wait) = self.retry_after {
            error["retry_after_ms"] = json!(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
        let mut answer = ok("application/json", json!({ "error": error }).to_string());
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        set(headers, header::CACHE_CONTROL, "no-store");
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: a client that comes too early is only asked again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some((name, value)) = self.header {
            set(headers, name, value);
        }
        answer
    }
}

impl From<NotTaken> for Failure {
    fn from(why: NotTaken) -> Self {
        match why {
            NotTaken::NoKey => Self::new(
                StatusCode::UNAUTHORIZED,
                "no_write_key",
                "no write key: send it as Basic authorization `KEY:`, or as `writeKey` in the body",
            ),
            NotTaken::UnknownKey => Self::new(
                StatusCode::UNAUTHORIZED,
                "unknown_write_key",
                "no source has this write key",
            ),
            NotTaken::OriginNotAllowed => Self::new(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "this write key is not for pages of this origin",
            ),
            NotTaken::TooFast { retry_after } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "the source has sent more events than it may; send the same batch again later",
            )
            .retry_after(retry_after),
            NotTaken::Undecodable(error) => error.into(),
            NotTaken::Overloaded { retry_after } => Self::overloaded(retry_after),
            NotTaken::StorageFailed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_failed",
                "the collector cannot make events durable; keep them and try again",
            )
            .retry_after(Duration::from_secs(5)),
            NotTaken::Closing => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "closing",
                "the collector is shutting down; send the same batch again",
            )
            .retry_after(Duration::from_secs(1)),
        }
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::BodyTooLarge { limit } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("a body has at most {limit} bytes, inflated; send smaller batches"),
            ),
            DecodeError::TooManyEvents { limit } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_many_events",
                format!("a batch has at most {limit} events; send smaller batches"),
            ),
            DecodeError::UnknownEncoding(encoding) => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unknown_encoding",
                format!("content encoding `{encoding}` is not known; {KNOWN_ENCODINGS} are"),
            )
            .with_header(header::ACCEPT_ENCODING, KNOWN_ENCODINGS),
            DecodeError::ManyEncodings => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "many_encodings",
                format!("a body has one content encoding at most: one of {KNOWN_ENCODINGS}"),
            )
            .with_header(header::ACCEPT_ENCODING, KNOWN_ENCODINGS),
            DecodeError::Corrupt(encoding) => Self::new(
                StatusCode::BAD_REQUEST,
                "corrupt_body",
                format!("the body is not intact {encoding}"),
            ),
            DecodeError::NotUtf8 => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_json", "the body is not UTF-8")
            }
            DecodeError::BadJson(why) => Self::new(StatusCode::BAD_REQUEST, "invalid_json", why),
        }
    }
}

/// Lets scripts of any page read the answer; it says nothing about anyone. With credentials only where there is a
/// cookie, and for this origin by name: browsers take no `*` then.
pub(super) fn allow_origin(headers: &mut HeaderMap, with_credentials: Option<&HeaderValue>) {
    set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After");
    let Some(origin) = with_credentials else {
        return set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    set(headers, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    set(headers, header::VARY, "Origin");
}

/// The answer to a browser that asks whether it may send.
pub(super) fn preflight() -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, "POST");
    set(
        headers,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        // The last one is how Segment's browser SDK counts its retries: refused, they would all fail.
        "authorization, content-type, content-encoding, x-retry-count",
    );
    set(headers, header::ACCESS_CONTROL_MAX_AGE, "86400");
    answer
}

pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
