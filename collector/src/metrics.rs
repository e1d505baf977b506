//! What the collector counts and measures, in Prometheus' words.
//! Promises that the registry is a value, not a global, and that labels have few values: names that
//! the operator configured and words of the code. Deliberately knows nothing of where events go.

mod log;
mod process;
mod rules;

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use crate::event_log::BOUNDS;

pub use log::LogFigures;

/// Every metric, and the registry that prints them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events: Family<EventLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    append_seconds: Histogram,
    log_end: Gauge<u64, AtomicU64>,
    projection_lag: Gauge<u64, AtomicU64>,
    sequence_gaps: Family<SourceLabel, Gauge<u64, AtomicU64>>,
    sequence_missing: Family<SourceLabel, Gauge<u64, AtomicU64>>,
    sequence_dropped: Family<SourceLabel, Gauge<u64, AtomicU64>>,
    consumer_lag: Family<ConsumerLabel, Gauge<u64, AtomicU64>>,
    deliveries: Family<DeliveryLabels, Counter>,
    parked: Family<ConsumerLabel, Gauge<u64, AtomicU64>>,
    decode_seconds: Histogram,
    connections: Gauge<i64, AtomicI64>,
    consumer_lag_seconds: Family<ConsumerLabel, Gauge<f64, AtomicU64>>,
    log: log::Shown,
    consumer_state: Family<StateLabels, Gauge<u64, AtomicU64>>,
    inbound: Family<InboundLabels, Counter>,
    rules: rules::OfRules,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    source: String,
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConsumerLabel {
    consumer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeliveryLabels {
    consumer: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    consumer: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InboundLabels {
    source: String,
    reason: &'static str,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let histogram = || Histogram::new(BOUNDS);
        let mut registry = Registry::default();
        let rules = rules::OfRules::new(registry.sub_registry_with_prefix("headwater"));
        let mut metrics = Self {
            registry,
            rules,
            events: Family::default(),
            requests: Family::default(),
            request_seconds: histogram(),
            append_seconds: histogram(),
            log_end: Gauge::default(),
            projection_lag: Gauge::default(),
            sequence_gaps: Family::default(),
            sequence_missing: Family::default(),
            sequence_dropped: Family::default(),
            consumer_lag: Family::default(),
            deliveries: Family::default(),
            parked: Family::default(),
            decode_seconds: histogram(),
            connections: Gauge::default(),
            consumer_lag_seconds: Family::default(),
            log: log::Shown::default(),
            consumer_state: Family::default(),
            inbound: Family::default(),
        };
        metrics.registry.register_collector(Box::new(process::Process::new()));
        let to = metrics.registry.sub_registry_with_prefix("headwater");
        to.register("events", "Events by what became of them", metrics.events.clone());
        to.register("requests", "Requests by route and status", metrics.requests.clone());
        let help = "From a request's head to its answer's, for requests that bring events";
        to.register("request_duration_seconds", help, metrics.request_seconds.clone());
        let help = "From handing a batch to the log until it is on disk";
        to.register("append_duration_seconds", help, metrics.append_seconds.clone());
        to.register("log_end_offset", "Where the log ends", metrics.log_end.clone());
        to.register(
            "projection_lag_events",
            "Events that people do not have yet",
            metrics.projection_lag.clone(),
        );
        let help = "Runs of numbers that devices gave out, and that neither came nor were reported dropped";
        to.register("sequence_gaps", help, metrics.sequence_gaps.clone());
        let help = "Events in those runs: lost, or still under way";
        to.register("sequence_missing_events", help, metrics.sequence_missing.clone());
        let help = "Events that devices reported as dropped";
        to.register("sequence_dropped_events", help, metrics.sequence_dropped.clone());
        let help = "Events between the consumer's cursor and the end of the log";
        to.register("consumer_lag_events", help, metrics.consumer_lag.clone());
        to.register("deliveries", "Attempts to deliver, by result", metrics.deliveries.clone());
        to.register("parked_events", "Events that a consumer set aside", metrics.parked.clone());
        let help = "Inflating, parsing and checking the body of a request";
        to.register("decode_duration_seconds", help, metrics.decode_seconds.clone());
        to.register("connections", "Open connections", metrics.connections.clone());
        let help = "Age of the oldest event that the consumer is not done with; 0 if there is none";
        to.register("consumer_lag_seconds", help, metrics.consumer_lag_seconds.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "The release that runs", version);
        to.register_collector(Box::new(metrics.log.clone()));
        let help = "1 for the state that a consumer is in, 0 for the others";
        to.register("consumer_state", help, metrics.consumer_state.clone());
        let help = "What came in as webhooks and became no event";
        to.register("inbound_not_events", help, metrics.inbound.clone());
        metrics
    }

    /// The text that Prometheus scrapes.
    pub fn print(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("a String takes every write");
        page
    }

    /// `count` events of a source had this outcome, for this reason, if there is one.
    pub fn events(&self, source: &str, outcome: &'static str, reason: &'static str, count: u64) {
        if count > 0 {
            let labels = EventLabels { source: source.to_owned(), outcome, reason };
            self.events.get_or_create(&labels).inc_by(count);
        }
    }

    /// So much of what an inbound webhook brought became no event, for this reason.
    pub fn inbound_not_events(&self, source: &str, reason: &'static str, count: u64) {
        if count > 0 {
            let labels = InboundLabels { source: source.to_owned(), reason };
            self.inbound.get_or_create(&labels).inc_by(count);
        }
    }

    /// A request was answered.
    pub fn request(&self, route: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
    }

    /// A request that brought events took this long.
    pub fn request_took(&self, time: Duration) {
        self.request_seconds.observe(time.as_secs_f64());
    }

    /// The log took this long to make a batch durable.
    pub fn append_took(&self, time: Duration) {
        self.append_seconds.observe(time.as_secs_f64());
    }

    /// How many events people do not have yet.
    pub fn projection_lag(&self, events: u64) {
        self.projection_lag.set(events);
    }

    /// Where the log ends.
    pub fn log_end(&self, offset: u64) {
        self.log_end.set(offset);
    }

    /// What is known of the numbers that a source's devices gave out.
    pub fn sequences(&self, source: &str, gaps: u64, missing: u64, dropped: u64) {
        let label = SourceLabel { source: source.to_owned() };
        self.sequence_gaps.get_or_create(&label).set(gaps);
        self.sequence_missing.get_or_create(&label).set(missing);
        self.sequence_dropped.get_or_create(&label).set(dropped);
    }

    /// How far a consumer is behind.
    pub fn consumer_lag(&self, consumer: &str, events: u64) {
        self.consumer_lag
            .get_or_create(&ConsumerLabel { consumer: consumer.to_owned() })
            .set(events);
    }

    /// One attempt to deliver ended like this.
    pub fn delivery(&self, consumer: &str, result: &'static str) {
        let labels = DeliveryLabels { consumer: consumer.to_owned(), result };
        self.deliveries.get_or_create(&labels).inc();
    }

    /// How many events a consumer has parked.
    pub fn parked(&self, consumer: &str, count: u64) {
        self.parked.get_or_create(&ConsumerLabel { consumer: consumer.to_owned() }).set(count);
    }

    /// Which of these states a consumer is in.
    pub fn consumer_state(&self, consumer: &str, words: &[&'static str], now: &str) {
        for &state in words {
            let labels = StateLabels { consumer: consumer.to_owned(), state };
            self.consumer_state.get_or_create(&labels).set(u64::from(state == now));
        }
    }

    /// The body of a request took this long to be understood.
    pub fn decode_took(&self, time: Duration) {
        self.decode_seconds.observe(time.as_secs_f64());
    }

    /// Counts a connection until the value is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// How old the oldest event is that a consumer is not done with.
    pub fn consumer_lag_seconds(&self, consumer: &str, seconds: f64) {
        let label = ConsumerLabel { consumer: consumer.to_owned() };
        self.consumer_lag_seconds.get_or_create(&label).set(seconds);
    }

    /// What the log says of itself.
    pub fn log(&self, figures: LogFigures) {
        self.log.show(figures);
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct OpenConnection(Gauge<i64, AtomicI64>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
