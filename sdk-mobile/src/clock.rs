//! Both clocks of the device, read together. Promises a monotonic one that counts from the start of this client; a test moves them by
//! hand (feature `testing`). Knows nothing of what is done at which time.

#[cfg(feature = "testing")]
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Instant, SystemTime};

use headwater_core::platform::Now;

/// The clocks of one client.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    #[cfg(feature = "testing")]
    passed_ms: AtomicI64,
    #[cfg(feature = "testing")]
    set_off_ms: AtomicI64,
}

impl Clock {
    /// The device's.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            #[cfg(feature = "testing")]
            passed_ms: AtomicI64::new(0),
            #[cfg(feature = "testing")]
            set_off_ms: AtomicI64::new(0),
        }
    }

    /// What they say now.
    pub(crate) fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_ms = since_epoch.map_or(0, |since| millis(since.as_millis()));
        let monotonic_ms = millis(self.start.elapsed().as_millis());
        #[cfg(feature = "testing")]
        let (unix_ms, monotonic_ms) = {
            let (passed, off) = (self.passed_ms.load(SeqCst), self.set_off_ms.load(SeqCst));
            (
                unix_ms.saturating_add_signed(passed + off),
                monotonic_ms.saturating_add_signed(passed),
            )
        };
        Now { monotonic_ms, unix_ms }
    }

    /// Moves both on, as time does.
    #[cfg(feature = "testing")]
    pub(crate) fn pass(&self, ms: u32) {
        self.passed_ms.fetch_add(ms.into(), SeqCst);
    }

    /// Sets the device's clock, as somebody does in its settings; the monotonic one goes on.
    #[cfg(feature = "testing")]
    pub(crate) fn set_by(&self, ms: i64) {
        self.set_off_ms.fetch_add(ms, SeqCst);
    }
}

fn millis(ms: u128) -> u64 {
    u64::try_from(ms).unwrap_or(u64::MAX)
}
