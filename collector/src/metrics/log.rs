//! The event log's figures in Prometheus' words: size, reach, syncs, repetitions.
//! Promises that a figure that is not known is absent rather than zero, so that no alert takes it for one.
//! Deliberately knows nothing of how they are found.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter},
};

use crate::event_log::{Durations, Stats, Timestamp};

/// What is known of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogFigures {
    /// As of its last commit.
    pub stats: Stats,
    /// Whether it could be written when that was last tried.
    pub writable: bool,
    /// When the oldest event that is kept was received.
    pub oldest: Option<Timestamp>,
    /// When the oldest event was received whose id is remembered.
    pub ids_from: Option<Timestamp>,
    /// Bytes of the data folder's file system that are free for us, and its size.
    pub space: Option<(u64, u64)>,
    /// Seconds that the newest event's time is ahead of the clock.
    pub ahead: f64,
    /// Seconds that the clock has gone further than time has, since the start.
    pub clock_jump: f64,
}

/// The figures to be printed next.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<Mutex<LogFigures>>);

impl Shown {
    pub(super) fn show(&self, figures: LogFigures) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }
}

impl Collector for Shown {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let LogFigures { stats, writable, oldest, ids_from, space, ahead, clock_jump } = figures;
        let mut page = Page(encoder);
        page.gauge(
            "log_writable",
            "1 if the log took the last write, 0 while the disk refuses",
            writable.into(),
        )?;
        page.gauge("log_events", "Events in the log", stats.events)?;
        page.gauge("log_size_bytes", "Bytes of the log's segment files", stats.bytes)?;
        page.gauge("log_segments", "Segment files of the log", stats.segments)?;
        page.moment(
            "log_oldest_event_timestamp_seconds",
            "When the oldest event that is kept was received",
            oldest,
        )?;
        page.gauge(
            "log_damaged_ranges",
            "Runs of stored events that are known to be unreadable",
            stats.damaged_ranges,
        )?;
        page.gauge(
            "log_damaged_events",
            "Stored events that are known to be unreadable",
            stats.damaged_events,
        )?;
        page.seconds(
            "log_ahead_seconds",
            "How far the newest event's time is ahead of the clock; 0 while that is right",
            ahead,
        )?;
        page.seconds(
            "clock_jump_seconds",
            "How much further than time the clock has gone since the start; near 0 while it is right",
            clock_jump,
        )?;
        page.counter("log_failures", "Writes and syncs that the disk refused", stats.failures)?;
        page.durations(
            "inbox_wait_seconds",
            "From a batch's arrival at the log until its commit begins",
            &stats.waits,
        )?;
        page.durations("log_sync_seconds", "Write and fdatasync of one commit", &stats.syncs)?;
        page.gauge("dedup_ids", "Message ids that are remembered", stats.ids)?;
        page.gauge("dedup_ids_bytes", "Memory that the remembered ids take", stats.ids_bytes)?;
        page.moment(
            "dedup_reach_timestamp_seconds",
            "When the oldest event was received whose id is remembered",
            ids_from,
        )?;
        page.gauge("dedup_queues", "Device queues whose numbers are tracked", stats.queues)?;
        page.counter(
            "dedup_other_body",
            "Repetitions of a message id with another body: a client makes one id for two events",
            stats.conflicts.other_body,
        )?;
        page.counter(
            "dedup_other_id",
            "Repetitions of a device's number with another id: its storage forgot. Kept",
            stats.conflicts.other_id + stats.conflicts.unknowable,
        )?;
        if let Some((free, size)) = space {
            page.gauge("disk_free_bytes", "Free bytes where the data folder is", free)?;
            page.gauge(
                "disk_size_bytes",
                "Size of the file system that the data folder is on",
                size,
            )?;
        }
        Ok(())
    }
}

/// Writes figures that are kept elsewhere.
pub(super) struct Page<'a>(pub(super) DescriptorEncoder<'a>);

impl Page<'_> {
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn moment(&mut self, name: &str, help: &str, moment: Option<Timestamp>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 287,396")]
        moment.map_or(Ok(()), |at| self.seconds(name, help, at.unix_ms() as f64 / 1000.0))
    }

    fn durations(&mut self, name: &str, help: &str, durations: &Durations) -> fmt::Result {
        let buckets =
            durations.buckets().map(|(bound, count)| (bound.unwrap_or(f64::INFINITY), count));
        let buckets: Vec<_> = buckets.collect();
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let (sum, count) = (durations.sum().as_secs_f64(), durations.count());
        encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }
}
