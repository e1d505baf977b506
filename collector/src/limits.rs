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
/// Bytes of a webhook that comes in: SendGrid gathers events up to three quarters of this.
pub const MAX_INBOUND_BYTES: usize = 1024 * 1024;
/// Values in it, counted by what stands between them: measured, they take up to 26 MB while they are mapped. A full megabyte of
/// SendGrid's events has 36,000.
pub const MAX_INBOUND_VALUES: usize = 50_000;
/// How long a mapping may look at one webhook, between two events that it makes: without optimisation a thousand of SendGrid's
/// took 0.2 to 0.4 s.
pub const MAPPING_TIME: Duration = Duration::from_secs(2);
/// Webhooks that are mapped at once, each on a thread of its own: others bring events meanwhile.
pub const INBOUND_AT_ONCE: usize = 2;
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

/// Bytes of one request's head: browsers send 1–4 KB, cookies 8 KB more. Node's servers take as much.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Bytes that hyper reads ahead, or keeps of answers, for one connection of HTTP/1.1: a whole head, a typical batch of 20 events.
/// Four thousand connections with half a head each hold 100 MB.
pub const CONNECTION_BUFFER: usize = MAX_HEAD_BYTES;
/// Header fields of one request, of HTTP/2 those with a name of their own; hyper's default, said here.
pub const MAX_HEADERS: usize = 100;
/// Open connections. Beyond them new ones wait in the system's backlog.
pub const MAX_CONNECTIONS: usize = 4096;
/// Bytes of all request bodies held at once, as received and as inflated, and of HTTP/2's open heads: beyond them 503.
pub const MAX_BODIES_BYTES: usize = 64 * 1024 * 1024;
/// One address holds at most one part of so many of [`MAX_BODIES_BYTES`], but always a whole body: 16 MiB are 31 of the
/// largest bodies or 1,024 typical ones at once, more than a house behind one address sends, and three quarters stay.
pub const BODIES_SHARE: usize = 4;
/// One address holds at most one part of so many of the listeners to messages, which are half of [`MAX_CONNECTIONS`]: 256 pages
/// open at once behind one address.
pub const LISTENERS_SHARE: usize = 8;
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
/// Requests of one HTTP/2 connection at once. RFC 9113 recommends 100, for pages with as many pictures; a page sends us one
/// batch or two, and a proxy opens another connection. Each costs memory before anyone has looked at it.
pub const MAX_STREAMS: u32 = 32;
/// Bytes of one HTTP/2 request's head, which has 32 more for each field there (RFC 9113, 6.5.2): browsers send 3 KB, with 8 KB of
/// cookies 11. It also bounds what a head may hold that does not end: 361 fields without text, 65 KB.
pub const MAX_HEADER_LIST: u32 = 12 * 1024;
/// What an open HTTP/2 request counts for in [`MAX_BODIES_BYTES`], beside its fields: 4.6 KB were measured.
pub const REQUEST_BYTES: usize = 5 * 1024;
/// What one of its fields counts for beside its text: 175 bytes were measured, more if the table has just grown.
pub const FIELD_BYTES: usize = 256;
/// Bytes of one HTTP/2 request body under way, and of all of a connection's: with as much for what is sent, a connection
/// costs no more than four of HTTP/1.1's buffers.
pub const STREAM_WINDOW: u32 = 64 * 1024;
/// See [`STREAM_WINDOW`].
pub const CONNECTION_WINDOW: u32 = 128 * 1024;
/// HTTP/2 requests that were taken back before anyone looked at them: beyond, the client is only making work
/// (CVE-2023-44487).
pub const MAX_RESET_STREAMS: usize = 20;
/// HTTP/2 requests beyond [`MAX_STREAMS`], and other mistakes, until the connection ends: clients assume 100 streams until told,
/// and one that begins with as many is told to come again with the rest.
pub const MAX_STREAM_ERRORS: usize = 100;
/// Files that are no connections: the log's segments and checkpoint, the database's three, sinks' sockets, the SDK.
pub const FILES_BESIDE_CONNECTIONS: u64 = 256;
/// Free bytes below which events are refused with 503, unless configured or a small disk: two segments of the log.
pub const MIN_FREE_BYTES: u64 = 512 * 1024 * 1024;
/// Between two looks at the disk's free space and the admin tokens: at 100 MB/s a disk loses a fifth of
/// [`MIN_FREE_BYTES`] meanwhile.
pub const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How long a reader may leave the next piece of an answer untouched before it is let go.
pub const READER_STALL: Duration = Duration::from_secs(30);
/// Readers of `/v1/events` and `/v1/live` at once, with up to four [`READER_PIECE`]s each: 32 MiB if all of them stall.
pub const MAX_READERS: usize = 256;
/// Bytes of such a reader's piece, which it only exceeds for one event: 50 typical ones.
pub const READER_PIECE: usize = 32 * 1024;
/// How long a reader may leave a piece until what is open for it is closed, to be opened again when it comes back.
pub const READER_PATIENCE: Duration = Duration::from_millis(100);
/// Of those readers, how many fetch at once: for a moment each holds a whole commit's events, which can be megabytes.
pub const READERS_FETCHING: usize = 8;
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
/// Events a consumer holds that are not done. Or as many as two rounds of its sink's deliveries, if that is more: one under
/// way, one waiting.
pub const CONSUMER_WINDOW: usize = 1024;
/// Records a consumer remembers above its watermark, in windows: how far the others may get ahead of an event that rests. At
/// worst every second one is done: 4,096 ranges, 80 KiB of the state, when a cursor is saved.
pub const CONSUMER_SPAN: usize = 8;
/// Attempts for an event that a healthy destination refuses, before it is parked.
pub const REFUSALS_BEFORE_PARKING: u32 = 3;
/// Different events that are refused for the first time in a row, nothing delivered among them, until the destination is taken to
/// refuse everything: as many as a webhook has under way at once, so that so many are refused before one is tried a third time.
pub const REFUSALS_OF_EVERYTHING: u32 = 16;
/// Pauses between those attempts.
pub const REFUSAL_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that a retry schedule can have: the last step of Standard Webhooks' schedule.
pub const RETRY_LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The longest `Retry-After` that a destination is granted.
pub const RETRY_AFTER_LONGEST: Duration = RETRY_LONGEST;
/// One delivery, from connecting to the end of the answer.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest time-out that a sink can be given: while it lasts, a place among the deliveries in flight is taken.
pub const LONGEST_DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// Events of one webhook, at most: a consumer holds no more at once.
pub const WEBHOOK_BATCH: usize = 1000;
/// Bytes of an answer to a webhook that are read: enough for a reason, and to use the connection again …
pub const WEBHOOK_ANSWER_READ: usize = 16 * 1024;
/// … and for how long: its status has said what matters.
pub const WEBHOOK_ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// Lines that the file sink syncs at once, at most: a consumer holds no more.
pub const FILE_SINK_BATCH: usize = 1000;
/// Bytes of one of its files, unless it is told otherwise: 250,000 typical events, a second to compress …
pub const FILE_SINK_BYTES: u64 = 128 * 1024 * 1024;
/// … and at most: deliveries wait while a file is compressed.
pub const FILE_SINK_MOST_BYTES: u64 = 1024 * 1024 * 1024;
/// Age of one of its files, unless it is told otherwise: what loads files into warehouses looks hourly …
pub const FILE_SINK_AGE: Duration = Duration::from_secs(3600);
/// … and at most.
pub const FILE_SINK_LONGEST_AGE: Duration = Duration::from_secs(31 * 24 * 3600);
/// Events of one delivery to Kafka, at most, …
pub const KAFKA_BATCH: usize = 500;
/// … and deliveries at once: with a round trip of 10 ms, 100,000 events a second.
pub const KAFKA_IN_FLIGHT: usize = 2;
/// KiB that Kafka's client may hold: more than that many of the largest events, so that it is never full of ours.
pub const KAFKA_QUEUE_KIB: usize = 64 * 1024;
/// Between two commits of a cursor and of what is done above it: what is delivered twice after a crash is at most this much.
pub const CURSOR_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at what is too old: deleting is counted in days, and a checkpoint is worth having after each segment.
pub const UPKEEP_PAUSE: Duration = Duration::from_secs(60);
/// How long a server runs before it believes the clock that an event is old enough to be deleted, and how far that clock may go
/// apart from the time that has passed: machines without a clock of their own get the time within minutes of their start.
pub const CLOCK_TRUSTED_AFTER: Duration = Duration::from_secs(3600);

/// What a scrape has to read from the disk is read again no sooner: Prometheus asks every 15 s or more, anyone may ask often.
pub const VITALS_KEPT: Duration = Duration::from_secs(2);
/// Bytes of events that a consumer holds above its watermark, but for one reading: 16 of the largest batches.
pub const CONSUMER_WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// Records a consumer reads in one trip to another thread: four commits of 128, or half a window.
pub const CONSUMER_READ: usize = 512;
/// Times that an event fails while others pass before and after it, until it is parked. Eight: a destination
/// that fails half of everything at random parks one event in 256, and the default pauses make it a minute.
pub const FAILURES_BEFORE_PARKING: u32 = 8;
/// The longest rest of an event that fails while others pass: the last of the default pauses within the first minute. Eight of
/// them are four minutes, whatever pauses a destination is given.
pub const EVENT_REST_LONGEST: Duration = Duration::from_secs(30);
/// Different events that are tried, one after the other, before a destination counts as down: where a third of all events fail
/// by themselves, one search of 6,500 finds none that passes.
pub const PROBES: u32 = 8;
/// The longest pause of a destination while there is an event that it has not been tried with: Standard Webhooks would try each
/// at once, and the first of its pauses is this long.
pub const UNTRIED_PAUSE: Duration = Duration::from_secs(300);
/// A destination that took an event this recently is tried every [`UNTRIED_PAUSE`] at least: what fails then may well be the
/// events, and among them are those that failed only in the company of others.
pub const RECENTLY_ALIVE: Duration = Duration::from_secs(3600);
/// Orders that may wait for a consumer: it takes them between two deliveries.
pub const CONSUMER_ORDERS: usize = 64;
/// Parked or replayed events that a consumer delivers again at once, beside those of the log.
pub const AGAIN_AT_ONCE: usize = 128;
/// Replays of one consumer that wait for their turn.
pub const MAX_REPLAYS: u32 = 16;
/// Parked events of one page, and events of one pull or acknowledgement.
pub const MAX_PAGE: usize = 1000;
/// Leases of one consumer at once, and readers that wait for one.
pub const MAX_LEASES: usize = 256;
/// The longest that a reader may wait for events: proxies cut after 30–60 s of nothing.
pub const MAX_PULL_WAIT: Duration = Duration::from_secs(30);
/// Bytes of an order's body: a page of offsets with a reason each.
pub const MAX_ORDER_BYTES: usize = 256 * 1024;
/// Characters of a reason that someone gives.
pub const MAX_REASON: usize = 300;

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
    /// [`MAX_READERS`].
    pub readers: usize,
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
            readers: MAX_READERS,
        }
    }
}
