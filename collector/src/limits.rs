//! Every bound of the collector in one place, each with its unit and its reason.
//! Promises that memory and waiting are bounded by these numbers and nothing else.
//! Deliberately knows nothing of who enforces them.

use std::time::Duration;

pub use headwater_core::event::{
    MAX_BATCH_BYTES, MAX_DEPTH, MAX_EVENT_BYTES, MAX_MESSAGE_ID_BYTES,
};

/// What a body may have beside its events, for what a client counts differently: the envelope, and the
/// encoding of its text.
pub const ENVELOPE_BYTES: usize = 32 * 1024;
/// Bytes of one request's body once inflated: a batch and its envelope.
pub const MAX_BODY_BYTES: usize = MAX_BATCH_BYTES + ENVELOPE_BYTES;
/// Events of one batch. The smallest valid event has about 45 bytes, so that a full body never has
/// more than 12,000; beyond are only invalid ones, whose receipt would be larger than the request.
pub const MAX_BATCH_EVENTS: usize = 12_000;
/// Largest window of a zstd body, as a power of two: 8 MiB, which RFC 9659 allows HTTP's senders. It is
/// allocated while the body inflates, at once for no more bodies than there are worker threads.
pub const MAX_ZSTD_WINDOW_LOG: u32 = 23;
/// How far in the future an event may claim to be: two clocks kept by NTP agree far better.
pub const MAX_AHEAD_MS: i64 = 5_000;

/// Bytes of one request's head, and of hyper's read buffer: browsers send 1–4 KB, cookies 8 KB more.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Header fields of one request; hyper's default, said here.
pub const MAX_HEADERS: usize = 100;
/// Open connections. Beyond them new ones wait in the system's backlog.
pub const MAX_CONNECTIONS: usize = 4096;
/// Bytes of all request bodies held at once, as received and as inflated: beyond them 503.
pub const MAX_BODIES_BYTES: usize = 64 * 1024 * 1024;
/// From the first byte of a request, or the end of the last one, to the end of its head. Also how
/// long an idle connection is kept.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of a body: a phone in a tunnel; longer than that it retries anyway.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the whole body: 532 KB in that time is 18 KB/s.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may leave the next bytes of an answer in the network before it is let go. As long as a request's
/// head may take: a phone that loses its connection is gone for longer anyway.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// From an accepted connection to the end of its TLS handshake: two round trips and a slow phone's signature.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of one HTTP/2 connection at once: 100 is what RFC 9113 recommends as the least, and browsers assume until told.
pub const MAX_STREAMS: u32 = 100;
/// Bytes of one HTTP/2 request body under way, and of all of a connection's: with as much for what is sent, a connection
/// costs no more than four of HTTP/1.1's buffers.
pub const STREAM_WINDOW: u32 = 64 * 1024;
/// See [`STREAM_WINDOW`].
pub const CONNECTION_WINDOW: u32 = 128 * 1024;
/// HTTP/2 requests that were taken back before anyone looked at them: beyond, the client is only making work
/// (CVE-2023-44487).
pub const MAX_RESET_STREAMS: usize = 20;
/// Files that are no connections: the log's segments and checkpoint, the database's three, sinks' sockets, the SDK.
pub const FILES_BESIDE_CONNECTIONS: u64 = 256;
/// Free bytes below which events are refused with 503, unless configured or a small disk: two segments of the log.
pub const MIN_FREE_BYTES: u64 = 512 * 1024 * 1024;
/// Between two looks at the disk's free space and the admin tokens: at 100 MB/s a disk loses a fifth of
/// [`MIN_FREE_BYTES`] meanwhile.
pub const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How long a reader may leave the next piece of an answer untouched before it is let go.
pub const READER_STALL: Duration = Duration::from_secs(30);
/// How long requests and deliveries in flight get after the signal to stop. Orchestrators kill after
/// 30 s (Kubernetes' default), and the log wants some of that to close.
pub const DRAIN: Duration = Duration::from_secs(15);

/// Records of one `GET /v1/events`: default and maximum. The answer is streamed, so that its size
/// costs no memory; the bound only keeps one request from running for hours.
pub const MAX_EVENTS_PER_READ: u64 = 1_000_000;
/// Records read from the log at once by a reader or a consumer: about 64 KB of typical events.
pub const READ_CHUNK: usize = 128;
/// Between two comments on a silent live stream: proxies cut after 30–60 s of nothing.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// Deliveries of one consumer in flight at once.
pub const DELIVERIES_IN_FLIGHT: usize = 16;
/// Records a consumer holds above its watermark: what one slow event can make it remember.
pub const CONSUMER_WINDOW: usize = 1024;
/// Attempts for an event that a healthy destination refuses, before it is parked.
pub const REFUSALS_BEFORE_PARKING: u32 = 3;
/// Pauses between those attempts.
pub const REFUSAL_PAUSE: Duration = Duration::from_millis(500);
/// A destination that fails is tried again after this, doubled each time, with jitter …
pub const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// … and never later than this: a destination that is back should not wait for us longer.
pub const BACKOFF_LONGEST: Duration = Duration::from_secs(30);
/// The longest `Retry-After` that a destination is granted.
pub const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(3600);
/// One delivery, from connecting to the end of the answer.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// Between two commits of a cursor: what is delivered twice after a crash is at most this much.
pub const CURSOR_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of connections and requests as values, so that a test can make them small.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// [`HEAD_TIMEOUT`].
    pub head_timeout: Duration,
    /// [`BODY_IDLE_TIMEOUT`].
    pub body_idle_timeout: Duration,
    /// [`BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// [`WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// [`HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// [`MAX_CONNECTIONS`].
    pub connections: usize,
    /// [`MAX_BODIES_BYTES`].
    pub bodies_bytes: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            head_timeout: HEAD_TIMEOUT,
            body_idle_timeout: BODY_IDLE_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            connections: MAX_CONNECTIONS,
            bodies_bytes: MAX_BODIES_BYTES,
        }
    }
}
