//! The figures that are looked up when someone asks, rather than counted as things happen.
//! Promises that a scrape is consistent enough to compare, and that asking often costs no reading.
//! Deliberately changes nothing.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::sync::watch;

use crate::{
    config::Name,
    event_log::{Clock, EventLog, Offset, Timestamp},
    limits::VITALS_KEPT,
    metrics::{LogFigures, Metrics},
};

/// Where the figures are found.
pub(crate) struct Vitals {
    metrics: Arc<Metrics>,
    log: Arc<EventLog>,
    consumers: Vec<(Name, watch::Receiver<Offset>)>,
    data: PathBuf,
    clock: Clock,
    moments: Mutex<Option<(Instant, Moments)>>,
}

/// What has to be read from the disk.
#[derive(Clone, Debug, Default)]
struct Moments {
    oldest: Option<Timestamp>,
    ids_from: Option<Timestamp>,
    /// Of the first event that each consumer is not done with.
    unread: Vec<Option<Timestamp>>,
    space: Option<(u64, u64)>,
}

impl Vitals {
    /// `consumers` with where their cursors stand.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        log: Arc<EventLog>,
        consumers: Vec<(Name, watch::Receiver<Offset>)>,
        data: PathBuf,
        clock: Clock,
    ) -> Self {
        Self { metrics, log, consumers, data, clock, moments: Mutex::default() }
    }

    /// Where things are counted as they happen.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The page that Prometheus scrapes. May read a few chunks of the log.
    pub(crate) fn print(&self) -> String {
        let (end, stats) = (*self.log.end().borrow(), self.log.stats());
        self.metrics.log_end(end.since(Offset::START));
        for (source, sequences) in &stats.sequences {
            self.metrics.sequences(
                source,
                sequences.open_gaps,
                sequences.missing,
                sequences.dropped,
            );
        }
        let Moments { oldest, ids_from, unread, space } = self.moments(stats.ids_from);
        for ((consumer, cursor), unread) in self.consumers.iter().zip(unread) {
            let lag = end.since(*cursor.borrow());
            self.metrics.consumer_lag(consumer.as_str(), lag);
            let age = unread.map_or(0.0, |at| self.age(at));
            self.metrics.consumer_lag_seconds(consumer.as_str(), if lag == 0 { 0.0 } else { age });
        }
        let writable = self.log.is_healthy();
        self.metrics.log(LogFigures { stats, writable, oldest, ids_from, space });
        self.metrics.print()
    }

    fn moments(&self, ids_from: Offset) -> Moments {
        let mut kept = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, moments)) = &*kept
            && at.elapsed() < VITALS_KEPT
        {
            return moments.clone();
        }
        let after = |offset: Offset| {
            let records = self.log.reader(Some(offset)).next_chunk(1).ok()?;
            records.first().map(|record| record.received_at)
        };
        let cursors = self.consumers.iter().map(|(_, cursor)| *cursor.borrow());
        let oldest = after(Offset::START);
        let moments = Moments {
            oldest,
            ids_from: after(ids_from).or(oldest),
            unread: cursors.map(after).collect(),
            space: rustix::fs::statvfs(&self.data)
                .ok()
                .map(|disk| (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)),
        };
        *kept = Some((Instant::now(), moments.clone()));
        moments
    }

    #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^53 ms")]
    fn age(&self, at: Timestamp) -> f64 {
        ((self.clock)().unix_ms() - at.unix_ms()).max(0) as f64 / 1000.0
    }
}
