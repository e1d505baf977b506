//! What rule files hold, as TOML has it: each key with its default. Promises that an unknown key is an error with its line.
//! Deliberately judges nothing else.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use toml::Spanned;

use super::super::{
    aggregate::Operation,
    length::{Length, ms},
    part::Per,
    rule::{Cap, Late, Pending},
    set::Squash,
};
use crate::expression::types::Kind;

pub(super) type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    dead_code,
    reason = "the three tables are read one thing at a time, and are named here for who mistypes one"
)]
pub(super) struct RawSettings {
    features: Option<IgnoredAny>,
    scores: Option<IgnoredAny>,
    rules: Option<IgnoredAny>,
    /// By kind of action: how often somebody is written to.
    #[serde(default)]
    pub(super) caps: BTreeMap<Text, Cap>,
    pub(super) quiet_hours: Option<Spanned<RawQuiet>>,
    pub(super) default_decision: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQuiet {
    pub(super) from: String,
    pub(super) to: String,
    #[serde(default = "to_people")]
    pub(super) kinds: Vec<String>,
}

/// What reaches the customer, and not the team.
pub(super) fn to_people() -> Vec<String> {
    vec!["email".to_owned(), "sms".to_owned()]
}

/// A text, or a list of them.
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<Text>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text in quotes, or a list of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany::Many(texts))
            }
        }
        value.deserialize_any(Either)
    }
}

pub(super) type Texts = Spanned<OneOrMany>;

pub(super) fn all(texts: Texts) -> Vec<Text> {
    let span = texts.span();
    match texts.into_inner() {
        OneOrMany::One(text) => vec![Spanned::new(span, text)],
        OneOrMany::Many(texts) => texts,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFeature {
    pub(super) on: Texts,
    #[serde(rename = "if")]
    pub(super) condition: Option<Text>,
    #[serde(default)]
    pub(super) per: Per,
    pub(super) window: Option<Length>,
    pub(super) ago: Option<Spanned<Length>>,
    pub(super) count: Option<bool>,
    pub(super) sum: Option<Text>,
    pub(super) min: Option<Text>,
    pub(super) max: Option<Text>,
    pub(super) last: Option<Text>,
    pub(super) first: Option<Text>,
    pub(super) distinct: Option<Text>,
    pub(super) top: Option<Text>,
    pub(super) dwell: Option<Length>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScore {
    #[serde(default)]
    pub(super) per: Per,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) terms: BTreeMap<Text, Text>,
    #[serde(default)]
    pub(super) squash: Squash,
    pub(super) model: Option<Text>,
    pub(super) on: Option<Texts>,
    #[serde(rename = "if")]
    pub(super) conditions: Option<Texts>,
    #[serde(default)]
    pub(super) inputs: BTreeMap<Text, Text>,
    pub(super) timeout: Option<Length>,
    pub(super) fallback: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) description: Option<String>,
    #[serde(default = "first")]
    pub(super) revision: u32,
    pub(super) per: Option<Per>,
    pub(super) on: Option<Texts>,
    #[serde(rename = "if")]
    pub(super) conditions: Option<Texts>,
    pub(super) from: Option<From>,
    pub(super) without: Option<Spanned<RawWithout>>,
    pub(super) sequence: Option<Spanned<RawSequence>>,
    pub(super) at: Option<Text>,
    pub(super) still: Option<Texts>,
    pub(super) before: Option<Length>,
    pub(super) after: Option<Length>,
    pub(super) crosses: Option<Spanned<RawCrosses>>,
    pub(super) limit: Option<Spanned<RawLimit>>,
    #[serde(default)]
    pub(super) late: Late,
    #[serde(default)]
    pub(super) pending: Pending,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    #[serde(default)]
    pub(super) dry_run: bool,
    #[serde(default = "hundred")]
    pub(super) percent: Spanned<u8>,
    #[serde(default, deserialize_with = "actions")]
    pub(super) then: Option<Vec<Spanned<RawDo>>>,
    pub(super) decision: Option<String>,
    #[serde(default)]
    pub(super) urgent: bool,
}

/// A list, which is said of the one action that stands without it.
fn actions<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Spanned<RawDo>>>, D::Error> {
    struct Actions;
    impl<'de> Visitor<'de> for Actions {
        type Value = Vec<Spanned<RawDo>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of actions, as in `then = [{ emit = \"…\" }]`")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(list))
        }
    }
    from.deserialize_any(Actions).map(Some)
}

pub(super) fn first() -> u32 {
    1
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn hundred() -> Spanned<u8> {
    Spanned::new(0..0, 100)
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum From {
    Server,
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWithout {
    pub(super) event: Texts,
    pub(super) within: Length,
    #[serde(rename = "match")]
    pub(super) matches: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSequence {
    pub(super) steps: Option<Vec<Text>>,
    pub(super) times: Option<Spanned<usize>>,
    pub(super) within: Length,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCrosses {
    pub(super) score: Option<Text>,
    pub(super) feature: Option<Text>,
    pub(super) above: Option<f64>,
    pub(super) below: Option<f64>,
    pub(super) rearm_below: Option<f64>,
    pub(super) rearm_above: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimit {
    pub(super) times: u32,
    pub(super) within: Length,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDo {
    pub(super) emit: Option<Text>,
    pub(super) set: Option<BTreeMap<String, toml::Value>>,
    pub(super) slack: Option<Text>,
    pub(super) webhook: Option<Text>,
    pub(super) email: Option<Text>,
    pub(super) sms: Option<Text>,
    pub(super) in_app: Option<Text>,
    pub(super) template: Option<Text>,
    pub(super) expires: Option<Length>,
}

impl RawFeature {
    /// What can be told of its value.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self { count: Some(_), .. } => Kind::Whole,
            Self { sum: Some(_), .. } | Self { dwell: Some(_), .. } => Kind::Fraction,
            Self { distinct: Some(_), .. } => Kind::List,
            // Null before there is one.
            _ => Kind::Any,
        }
    }

    pub(super) fn operation(&mut self) -> Result<(Operation, Option<Text>), String> {
        let mut found = Vec::new();
        if self.count == Some(false) {
            return Err("`count` is `true`, or not there".to_owned());
        }
        if self.count.is_some() {
            found.push((Operation::Count, None));
        }
        found.extend(self.dwell.map(|pause| (Operation::Dwell(ms(pause.0)), None)));
        for (operation, text) in [
            (Operation::Sum, &mut self.sum),
            (Operation::Min, &mut self.min),
            (Operation::Max, &mut self.max),
            (Operation::Last, &mut self.last),
            (Operation::First, &mut self.first),
            (Operation::Distinct, &mut self.distinct),
            (Operation::Top, &mut self.top),
        ] {
            found.extend(text.take().map(|text| (operation, Some(text))));
        }
        match (found.pop(), found.is_empty()) {
            (Some(found), true) => Ok(found),
            _ => Err(
                "a feature has one of `count = true`, `sum`, `min`, `max`, `last`, `first`, `distinct`, `top` and `dwell`".to_owned()
            ),
        }
    }
}
