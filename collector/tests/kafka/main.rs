//! The Kafka sink against a real broker (`make .build/kafka` fetches it), which is killed, stopped and started again.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod broker;
#[path = "../server/mod.rs"]
#[allow(dead_code, reason = "the other program uses the rest")]
mod server;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use broker::{Broker, Read};
use headwater_collector::{
    config::Config,
    sinks::{
        AnySink, Parcel, Sink as _, SinkError, Verdict,
        conformance::{self, Accepted, Condition, Destination},
    },
};
use serde_json::Value;
use server::{Server, client, track};
use tokio::sync::Mutex;

/// One broker at a time: each takes 300 MB, and its start two seconds of two processors.
static ONE_BROKER: Mutex<()> = Mutex::const_new(());

fn open(address: &str, topic: &str, more: &str) -> AnySink {
    try_open(address, topic, more).unwrap()
}

fn try_open(address: &str, topic: &str, more: &str) -> Result<AnySink, SinkError> {
    let text = format!(
        "[consumers.x]\nkind = 'kafka'\nbrokers = ['{address}']\ntopic = '{topic}'\n\
         timeout_seconds = 5\n{more}"
    );
    let config = Config::parse(&text, Path::new("test.toml")).unwrap();
    AnySink::open(config.consumers.into_values().next().unwrap().sink.unwrap())
}

fn parcel(key: &str, n: usize, bytes: usize) -> Parcel {
    let line = format!("{{\"n\":{n},\"filler\":\"{}\"}}", "x".repeat(bytes));
    Parcel { id: format!("msg_{key}_{n}"), order_key: key.into(), line: line.into() }
}

/// Per key, the ids in the order of their first occurrence; and how many came again.
fn first_occurrences(read: &[Read]) -> (BTreeMap<String, Vec<String>>, usize) {
    let (mut seen, mut by_key) = (HashSet::new(), BTreeMap::<_, Vec<_>>::new());
    for message in read {
        if seen.insert(&message.id) {
            by_key.entry(message.key.clone()).or_default().push(message.id.clone());
        }
    }
    (by_key, read.len() - seen.len())
}

const DEVICES: usize = 40;
const EVENTS: usize = 4000;

/// Thousands of events through the whole collector; the broker is killed in mid-stream and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_reaches_the_topic_in_order_although_the_broker_is_killed() {
    let _one = ONE_BROKER.lock().await;
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut broker = Broker::start(folder.path());
    broker.make_topic("events", &[]).await;
    // Longer than the broker is away: how long a consumer rests after a failure is not the question here.
    let toml = format!(
        "[consumers.lake]\nkind = 'kafka'\nbrokers = ['{}']\ntopic = 'events'\ntimeout_seconds = 60\n",
        broker.address()
    );
    let server = Server::start_with(data.path(), &toml).await;
    let device = |n: usize| format!("device-{}", n % DEVICES);
    let all: Vec<Value> = (0..EVENTS).map(|n| track(n, &device(n))).collect();
    for (n, batch) in all.chunks(100).enumerate() {
        server.batch(batch).await;
        if n == EVENTS / 200 {
            let some = wait_for(&server, EVENTS / 10).await;
            assert!(some < EVENTS, "the broker is killed in mid-stream");
            broker.kill();
        }
    }
    broker.start_again();
    wait_for(&server, EVENTS).await;
    let read = broker.read("events");
    server.stop().await;

    let mut ids = HashMap::new();
    let mut by_device = BTreeMap::<String, Vec<usize>>::new();
    for message in &read {
        let event: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["orderKey"], *message.key);
        let n = event["messageId"].as_str().unwrap().parse().unwrap();
        if ids.insert(message.id.clone(), n).is_none() {
            by_device.entry(message.key.clone()).or_default().push(n);
        }
    }
    assert_eq!(ids.len(), EVENTS, "every event is there, under an id of its own");
    assert_eq!(by_device.len(), DEVICES);
    for (device, events) in by_device {
        assert!(events.is_sorted(), "in order for {device}: {events:?}");
    }
    let repeated = read.len() - EVENTS;
    println!("{EVENTS} events, {repeated} of them written again after the broker was killed");
    assert!(repeated < EVENTS / 4, "{repeated} are too many for one outage");
}

/// Waits until the consumer is done with so many events, and says with how many it is.
async fn wait_for(server: &Server, done: usize) -> usize {
    let start = Instant::now();
    loop {
        let metrics = client().get(server.at("/metrics")).send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let figure = |name: &str| {
            let line = metrics.lines().find(|line| line.starts_with(name));
            line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        };
        let count = figure("headwater_log_end_offset ") - figure("headwater_consumer_lag_events{");
        if count >= done {
            return count;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{count} of {done}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_hangs_is_unavailable_in_time_and_what_it_missed_is_written_later() {
    let _one = ONE_BROKER.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    broker.make_topic("events", &[]).await;
    broker.make_topic("narrow", &[("max.message.bytes", "2000")]).await;
    let sink = open(&broker.address(), "events", "");
    let parcels: Vec<_> = (0..200).map(|n| parcel("a", n, 10)).collect();
    assert_eq!(sink.deliver(&parcels[..100]).await, Verdict::Delivered);

    broker.signal("STOP");
    let start = Instant::now();
    for _ in 0..2 {
        let verdict = sink.deliver(&parcels[100..]).await;
        let Verdict::Unavailable { reason, .. } = verdict else { panic!("{verdict:?}") };
        assert!(reason.starts_with("not acknowledged within 5s"), "{reason}");
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    broker.signal("CONT");
    while sink.deliver(&parcels[100..]).await != Verdict::Delivered {
        assert!(start.elapsed() < Duration::from_secs(90), "it is back and takes nothing");
    }
    let (by_key, repeated) = first_occurrences(&broker.read("events"));
    println!("{repeated} of 200 were written again after the broker had hung");
    assert_eq!(by_key["a"], parcels.iter().map(|parcel| parcel.id.clone()).collect::<Vec<_>>());

    too_large(&broker).await;
    let nowhere = open(&broker.address(), "no-such-topic", "");
    assert_eq!(nowhere.deliver(&parcels[..1]).await.as_str(), "unavailable");
}

/// Only the event that is too large is refused, not those that travel beside it.
async fn too_large(broker: &Broker) {
    let sink = open(
        &broker.address(),
        "narrow",
        "options = { 'linger.ms' = 50, 'compression.type' = 'none' }",
    );
    let (large, small) = ([parcel("a", 0, 3000)], [parcel("a", 1, 10)]);
    let (one, other) = tokio::join!(sink.deliver(&large), sink.deliver(&small));
    let Verdict::Refused { reason } = one else { panic!("{one:?}") };
    assert!(reason.to_lowercase().contains("too large"), "{reason}");
    assert_eq!(other, Verdict::Delivered);
    // Larger than the client itself lets through.
    let huge = sink.deliver(&[parcel("a", 2, 2_000_000)]).await;
    assert_eq!(huge.as_str(), "refused");
    let (by_key, _) = first_occurrences(&broker.read("narrow"));
    assert_eq!(by_key["a"], ["msg_a_1"]);
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_unavailable_in_time() {
    // Bound and never accepted: the system takes the connection, and nobody answers. And one that refuses it.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refuses = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), refuses] {
        let sink = open(&address.to_string(), "events", "");
        let start = Instant::now();
        let verdict = sink.deliver(&[parcel("a", 0, 10)]).await;
        let Verdict::Unavailable { reason, .. } = verdict else { panic!("{verdict:?}") };
        assert!(address != refuses || reason.contains("Connection refused"), "{reason}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

/// For the script that every kind of sink is run through.
struct Cluster {
    broker: Broker,
    condition: Condition,
}

impl Destination for Cluster {
    type Sink = AnySink;

    fn open(&self) -> AnySink {
        open(&self.broker.address(), "events", "options = { 'sasl.password' = 'hunter2' }")
    }

    async fn turn(&mut self, condition: Condition) -> bool {
        match (self.condition, condition) {
            (_, Condition::Down) => self.broker.kill(),
            (_, Condition::Hanging) => self.broker.signal("STOP"),
            (Condition::Hanging, _) => self.broker.signal("CONT"),
            (Condition::Down, _) => self.broker.start_again(),
            _ => {}
        }
        self.condition = condition;
        true
    }

    async fn accepted(&mut self) -> Vec<Accepted> {
        let read = self.broker.read("events").into_iter();
        let line = |payload| String::from_utf8(payload).unwrap();
        read.map(|read| Accepted { id: Some(read.id), line: line(read.payload) }).collect()
    }

    fn bound(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// Larger than a topic takes, unless it is told otherwise.
    fn spoil(&self, parcel: Parcel) -> Parcel {
        Parcel { line: vec![b'x'; 2_000_000].into(), ..parcel }
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hunter2".to_owned()]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_conforms() {
    let _one = ONE_BROKER.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    broker.make_topic("events", &[]).await;
    conformance::run(&mut Cluster { broker, condition: Condition::Healthy }).await;
}

/// A build without OpenSSL says so as it starts; one with it (`--features rdkafka/ssl`) speaks TLS, to those it trusts only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_by_a_build_that_has_it_and_refused_by_one_that_has_not() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (trusted, identity) = (folder.path().join("ca.pem"), folder.path().join("identity.pem"));
    fs::write(&trusted, made.cert.pem()).unwrap();
    fs::write(&identity, made.signing_key.serialize_pem() + &made.cert.pem()).unwrap();
    let tls =
        format!("options = {{ 'security.protocol' = 'ssl', 'ssl.ca.location' = {trusted:?} }}\n");
    if let Err(error) = try_open("127.0.0.1:1", "events", &tls) {
        let error = error.to_string();
        assert!(error.contains("build it with `--features rdkafka/ssl`"), "{error}");
        return;
    }
    let _one = ONE_BROKER.lock().await;
    let broker = Broker::start_with(folder.path(), Some(&identity));
    broker.make_topic("events", &[]).await;
    let parcels: Vec<_> = (0..200).map(|n| parcel("a", n, 10)).collect();
    let address = broker.tls_address();
    let untrusted = open(&address, "events", "options = { 'security.protocol' = 'ssl' }");
    let verdict = untrusted.deliver(&parcels[..1]).await;
    let Verdict::Unavailable { reason, .. } = verdict else { panic!("{verdict:?}") };
    assert!(reason.contains("certificate"), "{reason}");
    let plain = open(&address, "events", "").deliver(&parcels[..1]).await;
    assert_eq!(plain.as_str(), "unavailable");
    assert_eq!(open(&address, "events", &tls).deliver(&parcels).await, Verdict::Delivered);
    let (by_key, repeated) = first_occurrences(&broker.read("events"));
    assert_eq!((by_key["a"].len(), repeated), (200, 0));
}
