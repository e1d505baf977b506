//! One plain struct: every bound and every wait of the client, with unit, default and reason.
//! Promises that any combination is safe (see [`Config::checked`]); knows nothing of where values come from.

/// Numbers of events stay below it: exact in JavaScript, and far from where adding to them could overflow.
pub(crate) const MAX_SEQ: u64 = 1 << 53;

/// The most bytes that the core ever asks a platform to save: fifteen words of eight and [`MAX_DROPPED_RANGES`] ranges of two.
pub const MAX_STATE_BYTES: usize = 120 + MAX_DROPPED_RANGES * 16;

/// Reported ranges kept at once. More need more than 512 separate holes in one outage; the oldest are then given up, and
/// the collector counts them as what they look like to it: losses.
pub const MAX_DROPPED_RANGES: usize = 512;

/// The client's bounds and waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Events kept while they cannot be sent. Default 10,000: a day of a busy page; 48 bytes of memory each.
    pub max_queue_events: u32,
    /// Bytes of their texts, kept in storage. Default 10 MiB: a tenth of what the strictest browser grants an origin.
    pub max_queue_bytes: u64,
    /// Age at which an event is given up, milliseconds, judged when a request fails. Default none: the queue is bounded by
    /// events and bytes, and a device whose clock was wrong for one visit must not throw its backlog away.
    pub max_age_ms: u64,
    /// Bytes of one event's text. Default 32,512: Segment's limit of 32 KiB, less what a stamp adds.
    pub max_event_bytes: u32,
    /// Events in a batch. Default 100: one storage record of the browser's.
    pub max_batch_events: u32,
    /// Bytes of the texts of a batch. Default 48,000: browsers cap the keepalive bodies in flight at 64 KiB, and each
    /// request should be able to outlive its page.
    pub max_batch_bytes: u32,
    /// How many times both bounds a batch of a backlog may be: each full batch that is delivered doubles the next one. Default
    /// 8: a thousand events in five requests instead of fourteen, and 384 KB at most, below what any collector takes.
    pub max_batch_growth: u32,
    /// How long a request made while leaving may take to arrive, milliseconds: what the collector does not have then goes again.
    /// Default 2,000.
    pub doubt_ms: u64,
    /// How long the first event of a batch waits for others, milliseconds. Default 20: below what a person notices.
    pub gather_ms: u64,
    /// Least time between the starts of two requests, milliseconds. Default 200: a request costs a page 1.3 ms of its main
    /// thread.
    pub interval_ms: u64,
    /// First wait after a failure, milliseconds. Default 1,000.
    pub backoff_base_ms: u64,
    /// Longest wait after failures, milliseconds. Default 60,000.
    pub backoff_max_ms: u64,
    /// Longest wait that a `Retry-After` can demand, milliseconds. Default 3,600,000: an hour; a typing error of the
    /// server's must not silence a device for a year.
    pub retry_after_max_ms: u64,
    /// When a request without an answer is given up, milliseconds. Default 30,000. The platform should abort it then; the
    /// core goes on in any case 5 s later.
    pub request_timeout_ms: u64,
    /// Bytes of texts in a request made while leaving a page. Default 55,000: of the browsers' 64 KiB, less a stamp of 85
    /// bytes for each of a hundred events, and the envelope.
    pub leaving_bytes: u32,
    /// Inactivity after which a session ends, milliseconds. Default 1,800,000: the 30 minutes of every analytics product.
    pub session_ms: u64,
    /// Entries asked for by one `Load`. Default 500.
    pub load_limit: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Config {
    /// The default of each.
    pub const DEFAULT: Self = Self {
        max_queue_events: 10_000,
        max_queue_bytes: 10 * 1024 * 1024,
        max_age_ms: u64::MAX,
        max_event_bytes: 32_512,
        max_batch_events: 100,
        max_batch_bytes: 48_000,
        max_batch_growth: 8,
        doubt_ms: 2_000,
        gather_ms: 20,
        interval_ms: 200,
        backoff_base_ms: 1_000,
        backoff_max_ms: 60_000,
        retry_after_max_ms: 3_600_000,
        request_timeout_ms: 30_000,
        leaving_bytes: 55_000,
        session_ms: 30 * 60_000,
        load_limit: 500,
    };

    /// The same configuration with every value moved into the range in which the client works: at least one event, one byte
    /// and one millisecond everywhere, and a batch that can hold the largest event.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.max_queue_events = self.max_queue_events.clamp(1, 1_000_000);
        self.max_event_bytes = self.max_event_bytes.clamp(1, 500_000);
        self.max_queue_bytes = self.max_queue_bytes.max(u64::from(self.max_event_bytes));
        self.max_age_ms = self.max_age_ms.max(1);
        self.max_batch_events = self.max_batch_events.clamp(1, 10_000);
        self.max_batch_bytes = self.max_batch_bytes.max(self.max_event_bytes);
        self.max_batch_growth = self.max_batch_growth.clamp(1, 100);
        self.doubt_ms = self.doubt_ms.min(3_600_000);
        self.backoff_base_ms = self.backoff_base_ms.clamp(1, 3_600_000);
        self.backoff_max_ms = self.backoff_max_ms.clamp(self.backoff_base_ms, 24 * 3_600_000);
        self.retry_after_max_ms = self.retry_after_max_ms.clamp(1, 24 * 3_600_000);
        self.request_timeout_ms = self.request_timeout_ms.clamp(1, 3_600_000);
        self.gather_ms = self.gather_ms.min(3_600_000);
        self.interval_ms = self.interval_ms.min(3_600_000);
        self.session_ms = self.session_ms.clamp(1, 7 * 24 * 3_600_000);
        self.load_limit = self.load_limit.clamp(1, 10_000);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_needs_no_check() {
        assert_eq!(Config::default().checked(), Config::default());
    }
}
