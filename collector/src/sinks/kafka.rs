//! Writes events to a topic of Kafka, each under its order key, with its id in the header `headwater-id`.
//! Promises that a delivery counts once all replicas have it, and that the first occurrences of an order key's events are in
//! order, whatever fails. Deliberately leaves repeats to its readers: what was not acknowledged in time is written again, under
//! the same id.

mod config;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError as ClientError, RDKafkaErrorCode as Code},
    message::{Header, OwnedHeaders},
    producer::{
        BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
    },
};
use tokio::{
    sync::{RwLock, oneshot},
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{Parcel, Sink, Verdict};
use crate::limits::{KAFKA_BATCH, KAFKA_IN_FLIGHT, KAFKA_QUEUE_KIB};
pub use config::{KafkaConfig, OptionName, OptionValue};

/// A topic that events are written to.
pub struct Kafka {
    topic: String,
    timeout: Duration,
    client: ClientConfig,
    /// The one in use. One that has failed is thrown away with all that it holds: nothing of an earlier attempt may be written
    /// behind a later one.
    producer: Mutex<Arc<Producer>>,
    /// Held alone by a delivery that must not share a request with another.
    sharing: RwLock<()>,
}

type Producer = ThreadedProducer<Answers>;

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Why Kafka's client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// Correct the option, or, if it wants OpenSSL, use a build that has it.
    #[error("the option `{option}`: {cause}{}", without_tls(.cause))]
    Option {
        /// Its name.
        option: String,
        /// What the client said, without the value.
        cause: String,
    },
    /// Correct what it names.
    #[error("no client for Kafka: {cause}{}", without_tls(.cause))]
    Client {
        /// What the client said.
        cause: String,
    },
}

fn without_tls(cause: &str) -> &'static str {
    if cause.contains("OpenSSL") || cause.to_lowercase().contains("ssl support") {
        "; this build has no TLS for Kafka: build it with `--features rdkafka/ssl`"
    } else {
        ""
    }
}

impl From<ClientError> for KafkaError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::ClientConfig(_, cause, option, value) if value.is_empty() => {
                Self::Option { option, cause }
            }
            ClientError::ClientConfig(_, cause, option, value) => {
                Self::Option { option, cause: cause.replace(&value, "(its value)") }
            }
            other => Self::Client { cause: other.to_string() },
        }
    }
}

/// What the client says beside the results, and where it says the results.
#[derive(Default)]
struct Answers {
    last_error: Mutex<Option<String>>,
}

impl Answers {
    /// What went wrong last, once.
    fn forget_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Answers {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "kafka");
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
        // That all are down is said last; why was said before.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
        }
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), ClientError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waits: Self::DeliveryOpaque) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        // Nobody waits for it any more if the delivery had no more time.
        drop(waits.send(result));
    }
}

impl Kafka {
    /// Makes ready to write. Does not connect yet.
    pub fn open(config: KafkaConfig) -> Result<Self, KafkaError> {
        let mut client = ClientConfig::new();
        client
            // The first half may be changed by the operator's options, the rest may not.
            .set("client.id", "headwater")
            .set("compression.type", "lz4")
            // As Java's clients choose, so that streams of both can be joined.
            .set("partitioner", "murmur2_random")
            // A broker that restarts is looked for more often than every ten seconds, the default.
            .set("reconnect.backoff.max.ms", "1000");
        for (name, value) in &config.options {
            client.set(name.as_str(), value.expose().as_str());
        }
        client
            .set("bootstrap.servers", config.brokers.join(","))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            // For ever, as far as the client is concerned: if it gave up one event and went on with the next, their order
            // would be lost. We give up all at once.
            .set("message.timeout.ms", "0")
            .set("queue.buffering.max.kbytes", KAFKA_QUEUE_KIB.to_string());
        let producer = Mutex::new(Arc::new(start(&client)?));
        let (topic, timeout) = (config.topic, config.timeout);
        Ok(Self { topic, timeout, client, producer, sharing: RwLock::new(()) })
    }

    fn producer(&self) -> Arc<Producer> {
        Arc::clone(&self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes all, and waits for each. The first failure, one that is not an event's fault before others.
    async fn write(&self, parcels: &[Parcel]) -> Result<(), Failure> {
        let (until, producer) = (Instant::now() + self.timeout, self.producer());
        let mut failure = None;
        let mut results = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            let (waits, result) = oneshot::channel();
            let id = Header { key: "headwater-id", value: Some(parcel.id.as_bytes()) };
            let record = BaseRecord::with_opaque_to(&self.topic, Box::new(waits))
                .key(parcel.order_key.as_bytes())
                .payload(&parcel.line[..])
                .headers(OwnedHeaders::new().insert(id));
            if let Err((error, _)) = producer.send(record) {
                failure = Some(Failure::of(&error));
                break;
            }
            results.push(result);
        }
        for result in results {
            let failed = match timeout_at(until, result).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(error))) => Failure::of(&error),
                Ok(Err(_gone)) => {
                    Failure::OfTheDestination("the client was started anew".to_owned())
                }
                Err(_time_out) => {
                    let said = producer.context().forget_error();
                    let late = format!("not acknowledged within {:?}", self.timeout);
                    Failure::OfTheDestination(
                        said.map_or(late.clone(), |said| format!("{late}: {said}")),
                    )
                }
            };
            let stop = matches!(failed, Failure::OfTheDestination(_));
            failure = match failure {
                Some(Failure::OfTheDestination(_)) => failure,
                _ => Some(failed),
            };
            if stop {
                break;
            }
        }
        let Some(failure) = failure else {
            producer.context().forget_error();
            return Ok(());
        };
        if let Failure::OfTheDestination(_) = failure {
            self.start_anew(producer);
        }
        Err(failure)
    }

    /// Throws a producer away, with what it still holds, unless another delivery already has.
    fn start_anew(&self, failed: Arc<Producer>) {
        let mut current = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, &failed) {
            failed.purge(PurgeConfig::default().queue().inflight());
            match start(&self.client) {
                Ok(fresh) => *current = Arc::new(fresh),
                Err(error) => tracing::warn!(%error, "cannot start Kafka's client anew"),
            }
        }
        // Whoever is the last to let go of it waits for its threads to end, up to half a second.
        spawn_blocking(move || drop(failed));
    }
}

fn start(client: &ClientConfig) -> Result<Producer, KafkaError> {
    Ok(client.create_with_context(Answers::default())?)
}

/// What a write came to, if not to good.
enum Failure {
    /// It is too large, or the topic's rules are against it.
    OfTheEvent(String),
    /// Nothing to do with which events they were.
    OfTheDestination(String),
}

impl Failure {
    fn of(error: &ClientError) -> Self {
        match error.rdkafka_error_code() {
            Some(code @ (Code::MessageSizeTooLarge | Code::InvalidRecord)) => {
                Self::OfTheEvent(code.to_string())
            }
            Some(code) => Self::OfTheDestination(code.to_string()),
            None => Self::OfTheDestination(error.to_string()),
        }
    }
}

impl Sink for Kafka {
    fn most_at_once(&self) -> usize {
        KAFKA_BATCH
    }

    fn most_in_flight(&self) -> usize {
        KAFKA_IN_FLIGHT
    }

    async fn deliver(&self, parcels: &[Parcel]) -> Verdict {
        let shared = self.sharing.read().await;
        let mut written = self.write(parcels).await;
        drop(shared);
        if let ([_], Err(Failure::OfTheEvent(_))) = (parcels, &written) {
            // The broker refuses a request as a whole, and others may have travelled in it. Alone the blame is certain.
            let _alone = self.sharing.write().await;
            written = self.write(parcels).await;
        }
        match written {
            Ok(()) => Verdict::Delivered,
            Err(Failure::OfTheEvent(reason)) => Verdict::Refused { reason },
            Err(Failure::OfTheDestination(reason)) => Verdict::unavailable(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{config::Config, sinks::SinkConfig};

    fn config(lines: &str) -> Result<KafkaConfig, String> {
        let text = format!("[consumers.x]\nkind = 'kafka'\n{lines}");
        let config = Config::parse(&text, Path::new("t.toml")).map_err(|e| e.to_string())?;
        match config.consumers.into_values().next().unwrap().sink.unwrap() {
            SinkConfig::Kafka(config) => Ok(config),
            other => panic!("{other:?}"),
        }
    }

    const WHERE: &str = "brokers = ['127.0.0.1:1']\ntopic = 'events'\n";

    #[test]
    fn what_would_break_a_promise_cannot_be_set() {
        for (lines, line, message) in [
            ("topic = 'a'", 2, "the key `brokers` is missing"),
            ("brokers = []\ntopic = 'a'", 3, "expected a list of brokers"),
            ("brokers = ['a,b']\ntopic = 'a'", 3, "expected a list of brokers"),
            ("brokers = ['kafka:9092']\ntopic = 'a b'", 4, "a topic's name"),
            ("brokers = ['kafka:9092']\ntopic = '..'", 4, "a topic's name"),
            (
                &format!("{WHERE}options = {{ acks = 1 }}"),
                5,
                "`acks` cannot be set: an event counts",
            ),
            (&format!("{WHERE}options = {{ 'linger.ms' = [] }}"), 5, "a string, an integer"),
            (&format!("{WHERE}timeout_seconds = 0"), 5, "within 1 to 60"),
        ] {
            let error = config(lines).unwrap_err();
            let at_its_line = error.starts_with(&format!("t.toml:{line}: "));
            assert!(at_its_line && error.contains(message), "{lines}: {error}");
        }
    }

    #[test]
    fn an_option_that_the_client_does_not_take_is_an_error_without_its_value() {
        for (options, expected) in [
            ("'sasl.passwort' = 'hunter2'", "`sasl.passwort`: No such configuration property"),
            ("'security.protocol' = 'hunter2'", "Invalid value \"(its value)\""),
            ("'linger.ms' = 'hunter2'", "`linger.ms`: "),
        ] {
            let config = config(&format!("{WHERE}options = {{ {options} }}")).unwrap();
            assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
            let error = Kafka::open(config).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_password_is_never_printed() {
        let options = "options = { 'sasl.password' = 'hunter2', 'linger.ms' = 1, 'socket.keepalive.enable' = true }";
        let config = config(&format!("{WHERE}{options}")).unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
        let kafka = Kafka::open(config).unwrap();
        assert!(!format!("{kafka:?}").contains("hunter2"), "{kafka:?}");
    }
}
