//! What a mapping makes of a body, or of a row: the texts of events.
//! Promises that each part is made into one event, is ignored, or is a failure that names the expression, and that no failure
//! repeats what was sent. Deliberately does not judge the events: that is for `validate`, as with any other.

use std::{fmt, time::Instant};

use cel::{Context, Value};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use super::{
    Entry, HEADERS, ITEM, Kind, Mapping, Members, Naming, Part,
    event::{Circumstances, Event, ExternalId},
};
use crate::{
    event_time,
    expression::{self, value},
    limits::{MAX_BATCH_BYTES, MAX_BATCH_EVENTS},
};

/// What a mapping is asked about.
pub struct About<'a> {
    /// The body or the row.
    pub subject: &'a Json,
    /// Names in lower case, and values. None of a row.
    pub headers: &'a [(&'a str, &'a str)],
    /// The id of an event for which the mapping makes none; of several, followed by the place of each. Without it, a hash of
    /// the body or the row.
    pub id: Option<&'a str>,
    /// When to give up.
    pub until: Option<Instant>,
}

/// What became of it all.
#[derive(Debug, Default)]
pub struct Mapped {
    /// In order.
    pub events: Vec<Made>,
    /// Parts that no entry wants.
    pub ignored: u64,
    /// Parts that an entry wants and cannot make an event of.
    pub failures: Vec<Failure>,
}

/// An event.
#[derive(Debug)]
pub struct Made {
    /// Its JSON.
    pub json: String,
    /// The line of the entry that made it.
    pub line: usize,
}

/// Why a part became no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The mapping file.
    pub file: String,
    /// Of the expression, 1-based.
    pub line: usize,
    /// The key of the expression, and what is wrong, without what was sent.
    pub message: String,
    /// Which part, from 0, where there are several.
    pub item: Option<usize>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)?;
        match self.item {
            Some(item) => write!(f, " (item {item})"),
            None => Ok(()),
        }
    }
}

/// A line and what is wrong there.
type Wrong = (usize, String);

impl Mapping {
    /// Makes events of it.
    pub fn map(&self, about: &About<'_>) -> Mapped {
        let mut mapped = Mapped::default();
        let mut context = expression::empty_context();
        context.add_variable_from_value(self.subject.word(), value::of_json(about.subject));
        if self.wants_headers {
            let headers = about.headers.iter().map(|(name, value)| (*name, *value));
            let headers = headers.collect::<std::collections::HashMap<_, _>>();
            context.add_variable_from_value(HEADERS, headers);
        }
        let Some(each) = &self.each else {
            self.one(&context, about, None, &mut mapped);
            return mapped;
        };
        let items = match self.items(each, &context) {
            Ok(items) => items,
            Err((line, message)) => {
                mapped.failures.push(self.failure(line, message, None));
                return mapped;
            }
        };
        for (at, item) in items.iter().enumerate() {
            if about.until.is_some_and(|until| Instant::now() >= until) {
                let message = "the mapping takes too long".to_owned();
                mapped.failures.push(self.failure(each.line, message, Some(at)));
                break;
            }
            let mut context = context.new_inner_scope();
            context.add_variable_from_value(ITEM, item.clone());
            self.one(&context, about, Some(at), &mut mapped);
        }
        mapped
    }

    /// The failure that an event is which is not taken.
    pub fn not_taken(&self, made: &Made, why: &str) -> Failure {
        self.failure(made.line, format!("the event that is made here is not taken: {why}"), None)
    }

    fn failure(&self, line: usize, message: String, item: Option<usize>) -> Failure {
        Failure { file: self.file.clone(), line, message, item }
    }

    fn items(&self, each: &Part, context: &Context<'_, '_>) -> Result<Vec<Value>, Wrong> {
        match each.ask(context)? {
            Some(Value::List(list)) if list.len() > MAX_BATCH_EVENTS => {
                Err(each.wrong(&format!("has more than {MAX_BATCH_EVENTS} elements")))
            }
            Some(Value::List(list)) => Ok(list.to_vec()),
            Some(other) => Err(each.wrong(&format!("expected a list, found {}", other.type_of()))),
            None => Err(each.wrong("expected a list, found nothing")),
        }
    }

    /// The first entry that wants it makes the event.
    fn one(
        &self,
        context: &Context<'_, '_>,
        about: &About<'_>,
        item: Option<usize>,
        mapped: &mut Mapped,
    ) {
        for entry in &self.entries {
            let made = match entry.wants(context) {
                Ok(false) => continue,
                Ok(true) => entry.event(context, || {
                    let id = about.id.map_or_else(|| hash(about.subject), str::to_owned);
                    item.map_or_else(|| id.clone(), |at| format!("{id}:{at}"))
                }),
                Err(wrong) => Err(wrong),
            };
            match made {
                Ok(json) if json.len() > MAX_BATCH_BYTES => {
                    let message = format!(
                        "the event that is made here has more than {MAX_BATCH_BYTES} bytes"
                    );
                    mapped.failures.push(self.failure(entry.line, message, item));
                }
                Ok(json) => mapped.events.push(Made { json, line: entry.line }),
                Err((line, message)) => mapped.failures.push(self.failure(line, message, item)),
            }
            return;
        }
        mapped.ignored += 1;
    }
}

/// The same for the same content, in every release.
fn hash(subject: &Json) -> String {
    let hash = Sha256::digest(subject.to_string());
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Entry {
    /// All of its expressions.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        let single = [
            &self.on,
            &self.user_id,
            &self.anonymous_id,
            &self.group_id,
            &self.message_id,
            &self.timestamp,
        ];
        let name = match &self.name {
            Some(Naming::From(part)) => Some(part),
            _ => None,
        };
        single
            .into_iter()
            .flatten()
            .chain(name)
            .chain(self.properties.iter().flat_map(Members::parts))
            .chain(self.traits.iter().flat_map(Members::parts))
            .chain(self.external_ids.iter().map(|(_, part)| part))
    }

    fn wants(&self, context: &Context<'_, '_>) -> Result<bool, Wrong> {
        let Some(on) = &self.on else { return Ok(true) };
        match on.ask(context)? {
            Some(Value::Bool(wants)) => Ok(wants),
            Some(other) => {
                Err(on.wrong(&format!("expected true or false, found {}", other.type_of())))
            }
            None => Err(on.wrong("expected true or false, found nothing")),
        }
    }

    fn event(
        &self,
        context: &Context<'_, '_>,
        id: impl FnOnce() -> String,
    ) -> Result<String, Wrong> {
        let text = |part: &Option<Part>| match part {
            Some(part) => part.text(context),
            None => Ok(None),
        };
        let mut external_ids = Vec::with_capacity(self.external_ids.len());
        for (word, part) in &self.external_ids {
            if let Some(id) = part.text(context)? {
                external_ids.push(ExternalId {
                    id,
                    r#type: word,
                    collection: "users",
                    encoding: "none",
                });
            }
        }
        let (user_id, mut anonymous_id) = (text(&self.user_id)?, text(&self.anonymous_id)?);
        if user_id.is_none() && anonymous_id.is_none() {
            let Some(ExternalId { id, r#type, .. }) = external_ids.first() else {
                let message = "says nothing of who it is about: `user_id`, `anonymous_id` and `external_ids` are empty";
                return Err((self.line, message.to_owned()));
            };
            anonymous_id = Some(format!("{type}:{id}"));
        }
        let event = match &self.name {
            Some(Naming::Fixed(name)) => Some(name.clone()),
            Some(Naming::From(part)) => {
                Some(part.text(context)?.ok_or_else(|| part.wrong("the event has no name"))?)
            }
            None => None,
        };
        let group_id = text(&self.group_id)?;
        if let (Some(part), None) = (&self.group_id, &group_id) {
            return Err(part.wrong("is empty"));
        }
        let object = |members: &Option<Members>| match members {
            Some(members) => members.object(context),
            None => Ok(None),
        };
        let (properties, traits) = (object(&self.properties)?, object(&self.traits)?);
        let (traits, context_traits) =
            if self.kind == Kind::Track { (None, traits) } else { (traits, None) };
        let event = Event {
            r#type: match self.kind {
                Kind::Track => "track",
                Kind::Identify => "identify",
                Kind::Group => "group",
            },
            event,
            message_id: text(&self.message_id)?.unwrap_or_else(id),
            timestamp: self.timestamp.as_ref().map(|it| it.time(context)).transpose()?.flatten(),
            user_id,
            anonymous_id,
            group_id,
            properties,
            traits,
            context: Circumstances { external_ids, traits: context_traits },
        };
        serde_json::to_string(&event).map_err(|error| (self.line, error.to_string()))
    }
}

impl Members {
    fn parts(&self) -> Vec<&Part> {
        match self {
            Self::Whole(part) => vec![part],
            Self::Each(parts) => parts.iter().map(|(_, part)| part).collect(),
        }
    }

    /// Members without value are left out.
    fn object(&self, context: &Context<'_, '_>) -> Result<Option<Json>, Wrong> {
        match self {
            Self::Whole(part) => match part.ask(context)? {
                Some(object @ Value::Map(_)) => Ok(Some(part.json(&object)?)),
                Some(other) => {
                    Err(part.wrong(&format!("expected an object, found {}", other.type_of())))
                }
                None => Ok(None),
            },
            Self::Each(parts) => {
                let mut object = Map::with_capacity(parts.len());
                for (name, part) in parts {
                    if let Some(found) = part.ask(context)? {
                        object.insert(name.clone(), part.json(&found)?);
                    }
                }
                Ok((!object.is_empty()).then_some(Json::Object(object)))
            }
        }
    }
}

impl Part {
    fn ask(&self, context: &Context<'_, '_>) -> Result<Option<Value>, Wrong> {
        self.expression.ask(context).map_err(|message| self.wrong(&message))
    }

    fn wrong(&self, message: &str) -> Wrong {
        (self.line, format!("`{}`: {message}", self.key))
    }

    fn json(&self, found: &Value) -> Result<Json, Wrong> {
        value::to_json(found).map_err(|message| self.wrong(&message))
    }

    /// A text that is not empty; numbers count as such, since many ids are.
    fn text(&self, context: &Context<'_, '_>) -> Result<Option<String>, Wrong> {
        let text = match self.ask(context)? {
            Some(Value::String(text)) => text.to_string(),
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::UInt(number)) => number.to_string(),
            Some(other) => {
                return Err(self.wrong(&format!("expected a text, found {}", other.type_of())));
            }
            None => return Ok(None),
        };
        Ok((!text.is_empty()).then_some(text))
    }

    /// As the sender wrote it, if that is a time.
    fn time(&self, context: &Context<'_, '_>) -> Result<Option<Json>, Wrong> {
        let Some(found) = self.ask(context)? else { return Ok(None) };
        let json = self.json(&found)?;
        let time = match &json {
            Json::String(text) if text.is_empty() => return Ok(None),
            Json::String(text) => event_time::parse(text),
            Json::Number(number) => number.as_f64().and_then(event_time::from_unix),
            _ => None,
        };
        if time.is_none() {
            let message = "is no time: expected ISO 8601 in a text, or a number of seconds or milliseconds since 1970 \
                           (of a text with digits, `int(…)`)";
            return Err(self.wrong(message));
        }
        Ok(Some(json))
    }
}
