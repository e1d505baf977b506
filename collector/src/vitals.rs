//! The figures that are looked up when someone asks, rather than counted as things happen.
//! Promises that a scrape is consistent enough to compare: all of it is read at one moment.
//! Deliberately changes nothing.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    config::Name,
    event_log::{EventLog, Offset},
    metrics::Metrics,
};

/// Where the figures are found.
#[derive(Debug)]
pub(crate) struct Vitals {
    metrics: Arc<Metrics>,
    log: Arc<EventLog>,
    consumers: Vec<(Name, watch::Receiver<Offset>)>,
}

impl Vitals {
    /// `consumers` with where their cursors stand.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        log: Arc<EventLog>,
        consumers: Vec<(Name, watch::Receiver<Offset>)>,
    ) -> Self {
        Self { metrics, log, consumers }
    }

    /// Where things are counted as they happen.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The page that Prometheus scrapes.
    pub(crate) fn print(&self) -> String {
        let (end, stats) = (*self.log.end().borrow(), self.log.stats());
        self.metrics.log_end(end.since(Offset::START));
        self.metrics.fsync_took(stats.mean_sync);
        for (source, sequences) in &stats.sequences {
            self.metrics.sequences(
                source,
                sequences.open_gaps,
                sequences.missing,
                sequences.dropped,
            );
        }
        for (consumer, cursor) in &self.consumers {
            self.metrics.consumer_lag(consumer.as_str(), end.since(*cursor.borrow()));
        }
        self.metrics.print()
    }
}
