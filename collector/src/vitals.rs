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
    /// How far people are.
    applied: watch::Receiver<Offset>,
    data: PathBuf,
    clock: Clock,
    /// By a clock that nobody sets, and by the one that tells the time.
    started: (Instant, Timestamp),
    moments: Mutex<Option<(Instant, Moments)>>,
    rules_shown: Mutex<Option<Instant>>,
}

/// What has to be read from the disk.
#[derive(Clone, Debug, Default)]
struct Moments {
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
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
        applied: watch::Receiver<Offset>,
        data: PathBuf,
        clock: Clock,
    ) -> Self {
        let started = (Instant::now(), clock());
        let (moments, rules_shown) = (Mutex::default(), Mutex::default());
        Self { metrics, log, consumers, applied, data, clock, started, moments, rules_shown }
    }

    /// Where things are counted as they happen.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The page that Prometheus scrapes. May read a few chunks of the log.
    pub(crate) fn print(&self) -> String {
        let (end, stats) = (*self.log.end().borrow(), self.log.stats());
        self.metrics.log_end(end.since(Offset::START));
        self.metrics.projection_lag(end.since(*self.applied.borrow()));
        for (source, sequences) in &stats.sequences {
            self.metrics.sequences(
                source,
                sequences.open_gaps,
                sequences.missing,
                sequences.dropped,
            );
        }
        let Moments { oldest, newest, ids_from, unread, space } = self.moments(stats.ids_from);
        for ((consumer, cursor), unread) in self.consumers.iter().zip(unread) {
            let lag = end.since(*cursor.borrow());
            self.metrics.consumer_lag(consumer.as_str(), lag);
            let age = unread.map_or(0.0, |at| self.age(at));
            self.metrics.consumer_lag_seconds(consumer.as_str(), if lag == 0 { 0.0 } else { age });
        }
        let writable = self.log.is_healthy();
        let ahead = newest.map_or(0.0, |at| -self.since(at)).max(0.0);
        let (instant, time) = self.started;
        let clock_jump = self.since(time) - instant.elapsed().as_secs_f64();
        self.metrics.log(LogFigures {
            stats,
            writable,
            oldest,
            ids_from,
            space,
            ahead,
            clock_jump,
        });
        self.metrics.print()
    }

    /// Whether it is time to look again how it stands with rules.
    pub(crate) fn rules_are_due(&self) -> bool {
        let mut shown = self.rules_shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some_and(|at| at.elapsed() < VITALS_KEPT) {
            return false;
        }
        *shown = Some(Instant::now());
        true
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
            newest: after((*self.log.end().borrow()).before()),
            ids_from: after(ids_from).or(oldest),
            unread: cursors.map(after).collect(),
            space: rustix::fs::statvfs(&self.data)
                .ok()
                .map(|disk| (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)),
        };
        *kept = Some((Instant::now(), moments.clone()));
        moments
    }

    fn age(&self, at: Timestamp) -> f64 {
        self.since(at).max(0.0)
    }

    /// Seconds; less than none if it is still to come.
    #[expect(clippy::cast_precision_loss, reason = "they are far below 2^53 ms")]
    fn since(&self, at: Timestamp) -> f64 {
        ((self.clock)().unix_ms() - at.unix_ms()) as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::event_log::{FileSystem, NewEvent, Options, body_hash};

    fn event(id: &str) -> NewEvent<'static> {
        NewEvent {
            body_hash: body_hash([id.as_bytes()]),
            ..NewEvent::new("web".parse().unwrap(), id.to_owned(), "d", "{}")
        }
    }

    fn sample(page: &str, name: &str) -> f64 {
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn a_clock_that_leaps_and_comes_back_shows() {
        const AT: i64 = 1_763_769_600_000;
        let folder = tempfile::tempdir().unwrap();
        let ms = Arc::new(AtomicI64::new(AT));
        let told = Arc::clone(&ms);
        let clock: Clock = Arc::new(move || Timestamp::from_unix_ms(told.load(Ordering::SeqCst)));
        let (log, _) = EventLog::open(
            folder.path(),
            Options::default(),
            Arc::new(FileSystem),
            Arc::clone(&clock),
        )
        .unwrap();
        let (log, data) = (Arc::new(log), folder.path().to_owned());
        let vitals = || {
            Vitals::new(
                Arc::default(),
                Arc::clone(&log),
                Vec::new(),
                log.end(),
                data.clone(),
                Arc::clone(&clock),
            )
        };
        let (jump, ahead) = ("headwater_clock_jump_seconds", "headwater_log_ahead_seconds");
        let before = vitals();
        assert_eq!(sample(&before.print(), ahead), 0.0);
        log.append(vec![event("1")]).await.unwrap();
        // A day ahead, and an event in it.
        ms.store(AT + 86_400_000, Ordering::SeqCst);
        let page = vitals().print();
        assert_eq!(sample(&page, ahead), 0.0);
        assert!(sample(&page, jump).abs() < 60.0, "who starts later does not know");
        assert!(sample(&before.print(), jump) > 86_000.0);
        log.append(vec![event("2")]).await.unwrap();
        ms.store(AT + 400_000, Ordering::SeqCst);
        assert_eq!(sample(&vitals().print(), ahead), 86_000.0);
        ms.store(AT - 7_200_000, Ordering::SeqCst);
        assert!(sample(&before.print(), jump) < -7_000.0);
    }
}
