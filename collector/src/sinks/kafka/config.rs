//! What can be said about Kafka in the configuration.
//! Promises that options which would break a promise of the sink are refused, and that no option's value is printed: some are
//! passwords. Deliberately does not know what the other options mean; Kafka's client does.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    config::Secret,
    sinks::{timeout, timeout_seconds},
};

/// `kind = "kafka"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Some of the cluster's brokers, as `["kafka-1:9092"]`; the others are found through them.
    #[serde(deserialize_with = "brokers")]
    pub brokers: Vec<String>,
    /// Where the events go. It must exist, or the cluster must be set to make it.
    #[serde(deserialize_with = "topic")]
    pub topic: String,
    /// Options of librdkafka, as `{ "security.protocol" = "sasl_plaintext" }`. Default none.
    #[serde(default)]
    pub options: BTreeMap<OptionName, Secret<OptionValue>>,
    /// Until a delivery must be acknowledged, in whole seconds, 1 to 60. Default 15.
    #[serde(rename = "timeout_seconds", default = "timeout", deserialize_with = "timeout_seconds")]
    pub timeout: Duration,
}

/// The name of an option that may be set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct OptionName(String);

/// An option's value, as librdkafka reads it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Plain")]
pub struct OptionValue(String);

impl OptionName {
    /// The name as librdkafka has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OptionValue {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the sink sets itself, and why another value would be wrong.
const RESERVED: [(&str, &str); 11] = [
    ("bootstrap.servers", "it is `brokers`"),
    ("metadata.broker.list", "it is `brokers`"),
    ("enable.idempotence", "a retry must neither repeat events nor change their order"),
    ("acks", "an event counts once all replicas have it"),
    ("request.required.acks", "an event counts once all replicas have it"),
    ("message.timeout.ms", "it is `timeout_seconds`"),
    ("delivery.timeout.ms", "it is `timeout_seconds`"),
    ("transactional.id", "a consumer sends no transactions"),
    ("queue.buffering.max.messages", "the collector bounds what waits"),
    ("queue.buffering.max.kbytes", "the collector bounds what waits"),
    ("debug", "it prints what is sent"),
];

impl TryFrom<String> for OptionName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match RESERVED.iter().find(|(reserved, _)| *reserved == name) {
            Some((_, why)) => Err(format!("the option `{name}` cannot be set: {why}")),
            None if name.contains('\0') => Err("an option's name has no NUL".to_owned()),
            None => Ok(Self(name)),
        }
    }
}

/// TOML's ways to write a value.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string, an integer or a boolean")]
enum Plain {
    Text(String),
    Number(i64),
    Switch(bool),
}

impl From<Plain> for OptionValue {
    fn from(value: Plain) -> Self {
        Self(match value {
            Plain::Text(text) => text,
            Plain::Number(number) => number.to_string(),
            Plain::Switch(switch) => switch.to_string(),
        })
    }
}

fn brokers<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<String>, D::Error> {
    let brokers = Vec::<String>::deserialize(list)?;
    let wrong = |broker: &String| broker.is_empty() || broker.contains([',', '\0', ' ', '/']);
    if brokers.is_empty() || brokers.iter().any(wrong) {
        return Err(D::Error::custom("expected a list of brokers as [\"kafka-1:9092\"]"));
    }
    Ok(brokers)
}

fn topic<'de, D: Deserializer<'de>>(name: D) -> Result<String, D::Error> {
    let topic = String::deserialize(name)?;
    // Kafka's own rule: org.apache.kafka.common.internals.Topic.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if (1..=249).contains(&topic.len())
        && topic.bytes().all(plain)
        && !topic.trim_matches('.').is_empty()
    {
        return Ok(topic);
    }
    Err(D::Error::custom("a topic's name is 1 to 249 of a-z, A-Z, 0-9, `.`, `_` and `-`"))
}
