//! An event as expressions see it: plain members of those that are named, read in one go, and for the crate all of it, where it is asked.
//! Promises that both say the same. Deliberately decides nothing.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeSet, HashMap},
    fmt,
};

use cel::common::value::Val;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value as Json;

use crate::{
    event_log::Record,
    expression::{plain::Plain, value::Seen},
};

/// Members of events that somebody names, and theirs.
#[derive(Debug)]
pub(super) struct Wanted(Vec<Member>);

#[derive(Debug, Default)]
struct Member {
    name: String,
    /// By their names, in order: large folders of rules name thousands, and each name of an event is looked for.
    members: Vec<usize>,
}

/// Bytes of an event's member beyond which it is no reason that anybody reads.
const SHOWN_BYTES: usize = 200;
/// Where the event as a whole stands.
const WHOLE: usize = 0;

impl Default for Wanted {
    fn default() -> Self {
        Self(vec![Member::default()])
    }
}

impl Wanted {
    pub(super) fn add(&mut self, path: &[String]) {
        let mut at = WHOLE;
        for name in path {
            at = match self.search(at, name) {
                Ok(place) => self.0[at].members[place],
                Err(place) => {
                    self.0.push(Member { name: name.clone(), members: Vec::new() });
                    let member = self.0.len() - 1;
                    self.0[at].members.insert(place, member);
                    member
                }
            };
        }
    }

    fn member(&self, of: usize, name: &str) -> Option<usize> {
        self.search(of, name).ok().map(|place| self.0[of].members[place])
    }

    /// The place of a member; else where it would have to be.
    fn search(&self, of: usize, name: &str) -> Result<usize, usize> {
        self.0[of].members.binary_search_by(|it| self.0[*it].name.as_str().cmp(name))
    }

    fn at(&self, path: &[String]) -> Option<usize> {
        path.iter().try_fold(WHOLE, |at, name| self.member(at, name))
    }
}

/// What stands under a name.
#[derive(Clone, Debug)]
enum Place {
    /// Nothing, where what it would be a member of is an object.
    Nothing,
    Plain(Plain<'static>),
    Object,
    /// A list, or a number that is none of the plain ones.
    Other,
}

/// An event as expressions see it: made when the first of them looks.
pub(super) struct Event<'r> {
    pub(super) record: &'r Record,
    named: OnceCell<Vec<Place>>,
    made: OnceCell<Seen>,
}

impl<'r> Event<'r> {
    pub(super) fn of(record: &'r Record) -> Self {
        Self { record, named: OnceCell::new(), made: OnceCell::new() }
    }

    /// What stands under a path, if that is wanted and plain.
    pub(super) fn plain(&self, wanted: &Wanted, path: &[String]) -> Option<Plain<'_>> {
        match &self.named(wanted)[wanted.at(path)?] {
            Place::Plain(plain) => Some(match plain {
                Plain::Text(text) => Plain::Text(Cow::Borrowed(text)),
                plain => plain.clone(),
            }),
            _ => None,
        }
    }

    /// Whether anything stands there, if that is wanted, and is asked of an object.
    pub(super) fn has(&self, wanted: &Wanted, path: &[String]) -> Option<bool> {
        let (at, (_, above)) = (wanted.at(path)?, path.split_last()?);
        let named = self.named(wanted);
        match named[wanted.at(above)?] {
            Place::Object => Some(!matches!(named[at], Place::Nothing)),
            _ => None,
        }
    }

    /// Where it happened by the clock: what its device says, or UTC.
    pub(super) fn timezone(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Told {
            context: Where,
        }
        #[derive(serde::Deserialize)]
        struct Where {
            timezone: String,
        }
        let told: Option<Told> = serde_json::from_str(&self.record.json).ok();
        told.map_or_else(|| "UTC".to_owned(), |told| told.context.timezone)
    }

    /// What stands at these places, as it came: `event.properties.amount`. Of what is not there, nothing; of what is large, too.
    pub(super) fn members(&self, paths: &BTreeSet<Vec<String>>) -> Vec<(String, Json)> {
        if paths.is_empty() {
            return Vec::new();
        }
        let known: Option<serde_json::Map<String, Json>> =
            serde_json::from_str(&self.record.json).ok();
        let mut members = known.unwrap_or_default();
        let record = self.record;
        members.insert("time".to_owned(), record.event_time.unix_ms().into());
        members.insert("received".to_owned(), record.received_at.unix_ms().into());
        members.insert("source".to_owned(), record.source.to_string().into());
        members.insert("trust".to_owned(), record.trust.as_str().into());
        let found = |path: &Vec<String>| {
            let (first, rest) = path.split_first()?;
            let value = rest.iter().try_fold(members.get(first)?, |of, name| of.get(name))?;
            let is_short = match value {
                Json::Object(_) => false,
                Json::String(text) => text.len() <= SHOWN_BYTES,
                Json::Array(all) => all.len() <= 10 && value.to_string().len() <= SHOWN_BYTES,
                _ => true,
            };
            is_short.then(|| (format!("event.{}", path.join(".")), value.clone()))
        };
        paths.iter().filter_map(found).collect()
    }

    fn named(&self, wanted: &Wanted) -> &[Place] {
        self.named.get_or_init(|| {
            let record = self.record;
            let mut places = vec![Place::Nothing; wanted.0.len()];
            let mut json = serde_json::Deserializer::from_str(&record.json);
            let all = Named { wanted, at: WHOLE, places: &mut places };
            let read = all.deserialize(&mut json).and_then(|()| json.end());
            if read.is_err() || !matches!(places[WHOLE], Place::Object) {
                places.fill(Place::Nothing);
                places[WHOLE] = Place::Object;
            }
            let mut put = |name: &str, place: Place| {
                if let Some(at) = wanted.member(WHOLE, name) {
                    forget(wanted, at, &mut places);
                    places[at] = place;
                }
            };
            let text = |text: &str| Place::Plain(Plain::Text(Cow::Owned(text.to_owned())));
            put("time", Place::Plain(Plain::Whole(record.event_time.unix_ms())));
            put("received", Place::Plain(Plain::Whole(record.received_at.unix_ms())));
            put("source", text(&record.source));
            put("trust", text(record.trust.as_str()));
            // Where there are none, looking for one of them says so, and not that there are none.
            if let Some(at) = wanted.member(WHOLE, "properties")
                && matches!(places[at], Place::Nothing)
            {
                places[at] = Place::Object;
            }
            places
        })
    }

    /// All of it.
    pub(super) fn seen(&self) -> &dyn Val {
        let record = self.record;
        let make = || {
            let known: Option<HashMap<String, Seen>> = serde_json::from_str(&record.json).ok();
            let mut members = known.unwrap_or_default();
            members.insert("time".to_owned(), Seen::whole(record.event_time.unix_ms()));
            members.insert("received".to_owned(), Seen::whole(record.received_at.unix_ms()));
            members.insert("source".to_owned(), Seen::text(&record.source));
            members.insert("trust".to_owned(), Seen::text(record.trust.as_str()));
            // As above.
            members.entry("properties".to_owned()).or_insert_with(|| Seen::object([]));
            Seen::object(members)
        };
        self.made.get_or_init(make).0.as_ref()
    }
}

/// Nothing stands there, nor under it.
fn forget(wanted: &Wanted, at: usize, places: &mut [Place]) {
    places[at] = Place::Nothing;
    for member in &wanted.0[at].members {
        forget(wanted, *member, places);
    }
}

/// Puts what is wanted in its place. What is not wanted is read like it, so that an event of which a part cannot be read is one of
/// which nothing can, whoever looks.
struct Named<'p> {
    wanted: &'p Wanted,
    at: usize,
    places: &'p mut [Place],
}

impl<'de> DeserializeSeed<'de> for Named<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl Named<'_> {
    fn put<E>(self, plain: Plain<'static>) -> Result<(), E> {
        self.places[self.at] = Place::Plain(plain);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Named<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(Plain::Null)
    }

    fn visit_bool<E>(self, is: bool) -> Result<(), E> {
        self.put(Plain::Truth(is))
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.put(Plain::Whole(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        match i64::try_from(number) {
            Ok(number) => self.put(Plain::Whole(number)),
            Err(_) => {
                self.places[self.at] = Place::Other;
                Ok(())
            }
        }
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.put(Plain::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(Plain::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.places[self.at] = Place::Other;
        while seq.next_element::<Unwanted>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { wanted, at, places } = self;
        places[at] = Place::Object;
        while let Some(member) = map.next_key_seed(Name { wanted, of: at })? {
            match member {
                Some(at) => {
                    // Of a repeated name the last counts.
                    if !matches!(places[at], Place::Nothing) {
                        forget(wanted, at, places);
                    }
                    map.next_value_seed(Named { wanted, at, places })?;
                }
                None => {
                    map.next_value::<Unwanted>()?;
                }
            }
        }
        Ok(())
    }
}

/// A member's name: where it has its place, if it is wanted.
struct Name<'p> {
    wanted: &'p Wanted,
    of: usize,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.wanted.member(self.of, name))
    }
}

/// JSON that nobody wants.
struct Unwanted;

impl<'de> Deserialize<'de> for Unwanted {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unwanted {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        event_log::{Flags, Offset, Origin, Timestamp, Trust},
        expression::{Expression, Vocabulary, empty_context},
    };

    fn record(json: String) -> Record {
        let time = Timestamp::from_unix_ms(1_735_689_600_000);
        Record {
            offset: Offset::from_number(1),
            received_at: time,
            event_time: time,
            claimed_time: None,
            source: "web".parse().unwrap(),
            trust: Trust::Client,
            origin: Origin::Sent,
            order_key: "d".into(),
            message_id: "1".into(),
            sequence: None,
            schema_version: 0,
            flags: Flags::default(),
            json: json.into(),
        }
    }

    const PATHS: [&str; 10] = [
        "event.event",
        "event.properties",
        "event.properties.a",
        "event.properties.a.b",
        "event.properties.c",
        "event.time",
        "event.time.a",
        "event.source",
        "event.trust",
        "event.received",
    ];

    /// Objects' texts, with names that come twice and values that nothing can be made of.
    fn texts() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "1",
            "-7",
            "18446744073709551615",
            "0.5",
            "1e999",
            "null",
            "true",
            r#""x""#,
            r#""\u00e9""#,
            r#""\ud800""#,
            "[1,{}]",
            "{}",
        ])
        .prop_map(str::to_owned);
        let name =
            || prop::sample::select(vec!["event", "properties", "a", "b", "c", "time", "source"]);
        leaf.prop_recursive(3, 16, 4, move |inner| {
            prop::collection::vec((name(), inner), 0..5).prop_map(|members| {
                let members = members.iter().map(|(name, value)| format!("\"{name}\":{value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        /// Whatever an event is like, its named members are those of the whole.
        #[test]
        fn what_is_named_is_what_the_whole_has(text in texts(), cut in prop::bool::weighted(0.1)) {
            let record = record(if cut { format!("{text} x") } else { text });
            let event = Event::of(&record);
            let mut wanted = Wanted::default();
            let split = |path: &str| path.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>();
            PATHS.iter().for_each(|path| wanted.add(&split(path)));
            let ask = |text: &str| {
                let mut context = empty_context();
                context.add_variable_as_val("event", event.seen().clone_as_boxed());
                Expression::read(text, &Vocabulary::of(&["event"])).unwrap().ask(&context)
            };
            for path in PATHS {
                let plain = event.plain(&wanted, &split(path)).and_then(Plain::into_value);
                let whole = ask(path).ok().map(|value| value.unwrap_or(cel::Value::Null));
                let is_plain = whole.as_ref().is_some_and(|value| {
                    use cel::Value as V;
                    matches!(value, V::Null | V::Bool(_) | V::Int(_) | V::Float(_) | V::String(_))
                });
                prop_assert_eq!(&plain, &whole.filter(|_| is_plain), "{} of {}", path, record.json);
                let has = match ask(&format!("has({path})")) {
                    Ok(Some(cel::Value::Bool(has))) => Some(has),
                    _ => None,
                };
                prop_assert_eq!(event.has(&wanted, &split(path)), has, "{} of {}", path, record.json);
            }
            prop_assert!(event.plain(&wanted, &split("event.nobody.asked")).is_none());
        }
    }
}
