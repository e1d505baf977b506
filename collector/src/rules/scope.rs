//! What an expression sees when it is asked: one person or account, at one moment, and the event.
//! Promises that the same state and the same moment give the same value, and that nothing is looked up that nobody asks for.
//! Deliberately changes nothing.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use cel::{
    Context, Value,
    common::{
        types::{CelInt, CelMap, CelMapKey},
        value::{CowVal, Val},
    },
    context::VariableResolver,
    objects::Key,
};
use rusqlite::{Connection, Result};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{
    aggregate::Aggregate,
    called::{Called, called},
    calls::{
        CALLS, EVENT_TIME, EVENT_TIMEZONE, NOW, SPANS, TIMEZONE, WALL, number, plain_moment, span,
        timezone_in,
    },
    event::Event,
    fold::{answered, read_answer},
    kept::{self, Kept},
    legible,
    length::ms,
    part::Part,
    rule::Measure,
    set::{Feature, Model, RuleSet, Score, Squash},
};
use crate::{
    event_log::Timestamp,
    event_time,
    expression::{
        self,
        plain::{Around, Plain},
        value,
    },
    people::{self, Profile, Whole},
};

/// One moment of one person or account.
pub(super) struct Scope<'a> {
    pub(super) db: &'a Connection,
    pub(super) set: &'a RuleSet,
    pub(super) kept: &'a RefCell<Kept>,
    pub(super) whose: &'a Whole,
    pub(super) now_ms: i64,
    /// The moment that clocks on walls show: now, but for who asks what would be so at another hour.
    wall_ms: i64,
    /// What is known of the person, once that was asked for.
    profile: RefCell<Option<Rc<Profile>>>,
    /// What was looked at, by its place in the set.
    features: RefCell<HashMap<usize, Value>>,
    plain: RefCell<Vec<(usize, Plain<'static>)>>,
    scores: RefCell<HashMap<usize, f64>>,
}

/// What plain expressions find: the same as the variables of a question.
struct Surroundings<'s, 'a> {
    scope: &'s Scope<'a>,
    about: About<'s>,
}

impl Around for Surroundings<'_, '_> {
    fn member(&self, variable: &str, path: &[String]) -> Option<Plain<'_>> {
        let Scope { set, .. } = self.scope;
        // A table that cannot be read is said by who asks in full.
        match (variable, path) {
            ("event", _) => self.about.event?.plain(&set.wanted, path),
            ("trigger", _) => self.about.trigger?.plain(&set.wanted, path),
            ("features", [name]) => self.scope.plain_feature(set.feature(name)?).ok()?,
            ("scores", [name]) => Some(Plain::Fraction(self.scope.score(set.score(name)?).ok()?)),
            _ => None,
        }
    }

    fn has(&self, variable: &str, path: &[String]) -> Option<bool> {
        match variable {
            "event" => self.about.event?.has(&self.scope.set.wanted, path),
            "trigger" => self.about.trigger?.has(&self.scope.set.wanted, path),
            _ => None,
        }
    }

    fn call(&self, function: &str, of: Plain<'_>) -> Option<Plain<'_>> {
        let (_, unit, sign) = SPANS.iter().find(|(name, ..)| *name == function)?;
        let time = plain_moment(&of)?;
        Some(Plain::Fraction(span(self.scope.now_ms, time, (*unit, *sign))))
    }
}

/// What an expression is about, beside the person.
#[derive(Clone, Copy, Default)]
pub(super) struct About<'e> {
    pub(super) event: Option<&'e Event<'e>>,
    pub(super) trigger: Option<&'e Event<'e>>,
}

/// The variables of one question.
struct Variables<'v> {
    now: CelInt,
    wall: CelInt,
    event: Option<&'v dyn Val>,
    trigger: Option<&'v dyn Val>,
    made: Vec<(&'static str, Box<dyn Val>)>,
}

impl Variables<'_> {
    fn make(&mut self, name: &'static str, value: Value) {
        // What has no value of its own there is none of in what is asked: JSON has all.
        if let Ok(value) = value.try_into() {
            self.made.push((name, value));
        }
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable {
            "event" => self.event.map(CowVal::Borrowed),
            "trigger" => self.trigger.map(CowVal::Borrowed),
            NOW => Some(CowVal::Borrowed(&self.now)),
            WALL => Some(CowVal::Borrowed(&self.wall)),
            _ => {
                let found = self.made.iter().find(|(name, _)| *name == variable);
                found.map(|(_, value)| CowVal::Borrowed(value.as_ref()))
            }
        }
    }
}

/// One expression with what came of it: why a rule fired, or did not.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reason {
    /// As it was written.
    pub text: String,
    /// What came of it; `null` if nothing did.
    #[serde(serialize_with = "legible::write_json")]
    pub value: Json,
    /// Why nothing did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it looked at: `features.x`, `scores.y`, `event.properties.z`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "legible::write_all")]
    pub of: BTreeMap<String, Json>,
    /// The functions that it called, with what each came to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Called>,
    /// Whether it was to hold still when a timer rang.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub still: bool,
}

/// A score, and what it is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Its name.
    pub score: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Now.
    #[serde(serialize_with = "legible::write_number")]
    pub value: f64,
    /// Each term by name, with what it brings.
    pub terms: Vec<Term>,
    /// Of a score without terms, which a model computes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Answered>,
}

/// How a score by a model has come about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answered {
    /// The destination by way of which it was asked.
    pub by: String,
    /// As of when its last answer is, or the fallback in its place: when it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// What it was told, by name.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Json>,
    /// Why the fallback stands, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// A part of a score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Term {
    /// Its name.
    pub term: String,
    /// What it brings; 0 where there is nothing to go by.
    #[serde(serialize_with = "legible::write_number")]
    pub brings: f64,
    /// Its expression.
    #[serde(flatten)]
    pub reason: Reason,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        db: &'a Connection,
        set: &'a RuleSet,
        kept: &'a RefCell<Kept>,
        whose: &'a Whole,
        now_ms: i64,
    ) -> Self {
        Self {
            db,
            set,
            kept,
            whose,
            now_ms,
            wall_ms: now_ms,
            profile: RefCell::default(),
            features: RefCell::default(),
            plain: RefCell::default(),
            scores: RefCell::default(),
        }
    }

    /// The same person or account at another moment, with clocks on walls as they are at a third one.
    pub(super) fn at(&self, now_ms: i64, wall_ms: i64) -> Self {
        let other = Self::new(self.db, self.set, self.kept, self.whose, now_ms);
        Self { wall_ms, profile: RefCell::new(self.profile.borrow().clone()), ..other }
    }

    /// What is known of the person.
    fn profile(&self) -> Result<Rc<Profile>> {
        if let Some(known) = &*self.profile.borrow() {
            return Ok(Rc::clone(known));
        }
        let profile = Rc::new(people::profile(self.db, self.whose.id())?);
        *self.profile.borrow_mut() = Some(Rc::clone(&profile));
        Ok(profile)
    }

    /// Where the person is by the clock, or UTC.
    pub(super) fn timezone(&self) -> Result<String> {
        Ok(timezone_in(&*self.profile()?))
    }

    /// What comes of an expression; an error says why nothing does.
    pub(super) fn ask(
        &self,
        part: &Part,
        about: About<'_>,
    ) -> Result<std::result::Result<Value, String>> {
        match self.plain(part, about).and_then(Plain::into_value) {
            Some(value) => Ok(Ok(value)),
            None => self.ask_in_full(part, about),
        }
    }

    /// What comes of an expression that has no need of the crate.
    pub(super) fn plain(&self, part: &Part, about: About<'_>) -> Option<Plain<'static>> {
        let surroundings = Surroundings { scope: self, about };
        part.expression.plain(&surroundings).map(Plain::into_owned)
    }

    /// The same from the crate.
    fn ask_in_full(
        &self,
        part: &Part,
        about: About<'_>,
    ) -> Result<std::result::Result<Value, String>> {
        let looks_at = |name: &str| part.expression.mentions(name);
        let mut variables = Variables {
            now: CelInt::from(self.now_ms),
            wall: CelInt::from(self.wall_ms),
            event: about.event.filter(|_| looks_at("event")).map(Event::seen),
            trigger: about.trigger.filter(|_| looks_at("trigger")).map(Event::seen),
            made: Vec::new(),
        };
        if looks_at("features") {
            let mut features: HashMap<CelMapKey<'static>, Box<dyn Val>> = HashMap::new();
            for name in &part.features {
                if let Some(at) = self.set.feature(name)
                    && let Ok(value) = self.feature(at)?.try_into()
                {
                    features.insert(CelMapKey::from(name.clone()), value);
                }
            }
            variables.made.push(("features", Box::new(CelMap::from(features))));
        }
        if looks_at("scores") {
            let mut scores = HashMap::new();
            for name in &part.scores {
                if let Some(at) = self.set.score(name) {
                    scores.insert(Key::from(name.clone()), Value::Float(self.score(at)?));
                }
            }
            variables.make("scores", scores.into());
        }
        if let Some(event) = about.event.filter(|_| part.asks_event_time) {
            variables.make(EVENT_TIME, Value::Int(event.record.event_time.unix_ms()));
            variables.make(EVENT_TIMEZONE, Value::from(event.timezone()));
        }
        if part.looks_at_profile {
            let profile = self.profile()?;
            let text = |said: &people::Said| serde_json::from_str(said.value.get());
            let fact = |name: &str| {
                let json: Option<Json> = profile.facts.get(name).and_then(|it| text(it).ok());
                json.map_or(Value::Null, |json| value::of_json(&json))
            };
            variables.make(TIMEZONE, fact("timezone"));
            if looks_at("traits") {
                // What nobody said is null, so that a rule can ask for it.
                let mut traits: HashMap<Key, Value> = part
                    .expression
                    .members("traits")
                    .unwrap_or_default()
                    .into_iter()
                    .map(|name| (Key::from(name), Value::Null))
                    .collect();
                for (name, said) in &profile.traits {
                    let json: Json = text(said).unwrap_or_default();
                    traits.insert(Key::from(name.clone()), value::of_json(&json));
                }
                variables.make("traits", traits.into());
            }
            if looks_at("person") {
                let time = |text: &Option<String>| {
                    let time = text.as_deref().and_then(event_time::parse);
                    time.map_or(Value::Null, |time| Value::Int(time.unix_ms()))
                };
                let count = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
                let person = HashMap::from([
                    (Key::from("id"), Value::from(profile.id.to_string())),
                    (Key::from("country"), fact("country")),
                    (Key::from("locale"), fact("locale")),
                    (Key::from("timezone"), fact("timezone")),
                    (Key::from("bot"), Value::Bool(profile.bot)),
                    (Key::from("events"), count(profile.events)),
                    (Key::from("sessions"), count(profile.sessions)),
                    (Key::from("first_seen"), time(&profile.first_seen)),
                    (Key::from("last_seen"), time(&profile.last_seen)),
                ]);
                variables.make("person", person.into());
            }
        }
        if looks_at("account") {
            let mut of = HashMap::new();
            if let Some((_, id)) = &self.whose.account {
                let now = Timestamp::from_unix_ms(self.now_ms);
                for name in part.expression.members("account").unwrap_or_default() {
                    of.insert(Key::from(name), Value::Null);
                }
                if let Some(account) = people::account(self.db, id, now)? {
                    for (name, said) in &account.traits {
                        let json = serde_json::from_str(said.value.get()).unwrap_or_default();
                        of.insert(Key::from(name.clone()), value::of_json(&json));
                    }
                    let main = account.members.first().map(|member| member.person.to_string());
                    of.insert(Key::from("main_user"), main.map_or(Value::Null, Value::from));
                }
                of.insert(Key::from("id"), Value::from(id.clone()));
            }
            variables.make("account", of.into());
        }
        let functions: &Context<'_, '_> = &CALLS;
        let mut context = functions.new_inner_scope();
        context.set_variable_resolver(&variables);
        Ok(part.expression.ask(&context).map(|value| value.unwrap_or(Value::Null)))
    }

    /// The same as JSON; `None` where nothing comes of it.
    pub(super) fn json(&self, part: &Part, about: About<'_>) -> Result<Option<Json>> {
        if let Some(Ok(json)) = self.plain(part, about).map(Json::try_from) {
            return Ok(Some(json));
        }
        let found = self.ask_in_full(part, about)?.ok();
        Ok(found.map(|found| value::to_json(&found).unwrap_or_default()))
    }

    /// Whether a condition holds; an error says why that cannot be told.
    pub(super) fn judge(
        &self,
        part: &Part,
        about: About<'_>,
    ) -> Result<std::result::Result<bool, String>> {
        if let Some(Plain::Truth(is)) = self.plain(part, about) {
            return Ok(Ok(is));
        }
        Ok(self.ask_in_full(part, about)?.and_then(|value| match value {
            Value::Bool(is) => Ok(is),
            other => Err(expression::no_truth(&other)),
        }))
    }

    /// Whether a condition holds. What cannot be told does not.
    pub(super) fn holds(&self, part: &Part, about: About<'_>) -> Result<bool> {
        Ok(self.judge(part, about)? == Ok(true))
    }

    /// A feature as it stands.
    pub(super) fn feature(&self, at: usize) -> Result<Value> {
        if let Some(known) = self.features.borrow().get(&at) {
            return Ok(known.clone());
        }
        let feature: &Feature = &self.set.features[at];
        let span = feature.span(self.now_ms);
        let value = self.kept(at, |kept| feature.operation.value(kept, span))?;
        self.features.borrow_mut().insert(at, value.clone());
        Ok(value)
    }

    /// When these features will next come to something else if nothing happens: what they have kept enters a window, or leaves it.
    pub(super) fn steps(&self, features: &[usize]) -> Result<Vec<i64>> {
        let mut steps = Vec::new();
        for at in features {
            let feature = &self.set.features[*at];
            let Some(window) = feature.window else { continue };
            let times = self.kept(*at, |kept| kept.map(Aggregate::times))?;
            for enters in times.into_iter().flatten().map(|time| time + ms(feature.ago)) {
                steps.extend([enters, enters + ms(window)]);
            }
        }
        steps.retain(|step| *step > self.now_ms);
        steps.sort_unstable();
        steps.dedup();
        Ok(steps)
    }

    /// What a feature has kept of all that is known to be one person, or one account.
    fn kept<R>(&self, at: usize, of: impl FnOnce(Option<&Aggregate>) -> R) -> Result<R> {
        let mut kept = self.kept.borrow_mut();
        Ok(match self.whose.nodes[..] {
            [node] => of(kept.of(self.db, node)?.of(at)),
            _ => {
                let operation = self.set.features[at].operation;
                let mut joined = None;
                for node in &self.whose.nodes {
                    let Some(part) = kept.of(self.db, *node)?.of(at) else { continue };
                    joined = Some(match joined {
                        Some(joined) => operation.joined(joined, part.clone()),
                        None => part.clone(),
                    });
                }
                of(joined.as_ref())
            }
        })
    }

    /// The same, if it is plain.
    fn plain_feature(&self, at: usize) -> Result<Option<Plain<'static>>> {
        if let Some((_, known)) = self.plain.borrow().iter().find(|(known, _)| *known == at) {
            return Ok(Some(known.clone()));
        }
        let feature = &self.set.features[at];
        let span = feature.span(self.now_ms);
        let plain =
            self.kept(at, |kept| feature.operation.plain(kept, span).map(Plain::into_owned))?;
        if let Some(plain) = &plain {
            self.plain.borrow_mut().push((at, plain.clone()));
        }
        Ok(plain)
    }

    /// A score as it stands.
    pub(super) fn score(&self, at: usize) -> Result<f64> {
        if let Some(known) = self.scores.borrow().get(&at) {
            return Ok(*known);
        }
        let score = &self.set.scores[at];
        if let Some(model) = &score.model {
            let value = self.answer(model)?.map_or(model.fallback, |(_, value, _)| value);
            self.scores.borrow_mut().insert(at, value);
            return Ok(value);
        }
        let mut sum = 0.0;
        for (_, term) in &score.terms {
            let brings = self.ask(term, About::default())?.ok();
            sum += brings.as_ref().and_then(number).unwrap_or(0.0);
        }
        let value = squashed(score.squash, sum);
        self.scores.borrow_mut().insert(at, value);
        Ok(value)
    }

    /// What a model has answered last: the firing that asked, the number, and why it is the fallback if it is.
    pub(super) fn answer(&self, model: &Model) -> Result<Option<(String, f64, String)>> {
        let kept = match (&self.whose.account, self.answer_of_account(model)?) {
            (Some(_), found) => found.map(|(_, kept)| kept),
            (None, _) => match self.feature(model.feature)? {
                Value::String(kept) => Some(kept.to_string()),
                _ => None,
            },
        };
        let read = kept.as_deref().and_then(read_answer);
        Ok(read.map(|(firing, value, reason)| (firing.to_owned(), value, reason.to_owned())))
    }

    /// What a model has said of this account last; `None` of a person.
    fn answer_of_account(&self, model: &Model) -> Result<Option<(i64, String)>> {
        match &self.whose.account {
            Some((number, _)) => kept::answer(self.db, (*number, model.feature)),
            None => Ok(None),
        }
    }

    /// As of when that is, in milliseconds of unix time.
    pub(super) fn answered_ms(&self, model: &Model) -> Result<Option<i64>> {
        match &self.whose.account {
            Some(_) => Ok(self.answer_of_account(model)?.map(|(time_ms, _)| time_ms)),
            None => self.kept(model.feature, |kept| kept.and_then(Aggregate::moment)),
        }
    }

    /// What crosses a line, as it stands; `None` if it has no number yet.
    pub(super) fn measure(&self, measure: &Measure) -> Result<Option<f64>> {
        match measure {
            Measure::Score(at) => self.score(*at).map(Some),
            Measure::Feature(at) => Ok(number(&self.feature(*at)?)),
        }
    }

    /// A condition with all that it looked at.
    pub(super) fn reason(&self, part: &Part, about: About<'_>) -> Result<Reason> {
        let (value, error) = match self.ask(part, about)? {
            Ok(found) => (value::to_json(&found).unwrap_or_default(), None),
            Err(error) => (Json::Null, Some(error)),
        };
        let mut of = BTreeMap::new();
        for name in &part.features {
            if let Some(at) = self.set.feature(name) {
                let found = value::to_json(&self.feature(at)?).unwrap_or_default();
                of.insert(format!("features.{name}"), found);
            }
        }
        for name in &part.scores {
            if let Some(at) = self.set.score(name) {
                of.insert(format!("scores.{name}"), Json::from(self.score(at)?));
            }
        }
        if let Some(event) = about.event {
            of.extend(event.members(&part.expression.paths("event")));
        }
        let calls = called(self, part, about)?;
        let text = part.expression.text().to_owned();
        Ok(Reason { text, value, error, of, calls, still: false })
    }

    /// A score with all that it is made of.
    pub(super) fn scored(&self, score: &Score) -> Result<Scored> {
        let mut terms = Vec::new();
        let mut sum = 0.0;
        for (name, term) in &score.terms {
            let reason = self.reason(term, About::default())?;
            let brings = number(&value::of_json(&reason.value)).unwrap_or(0.0);
            sum += brings;
            terms.push(Term { term: name.clone(), brings, reason });
        }
        Ok(Scored {
            score: score.name.clone(),
            description: score.description.clone(),
            value: match &score.model {
                Some(model) => self.answer(model)?.map_or(model.fallback, |(_, value, _)| value),
                None => squashed(score.squash, sum),
            },
            terms,
            model: score
                .model
                .as_ref()
                .map(|model| answered(self, &score.name, model))
                .transpose()?,
        })
    }
}

fn squashed(squash: Squash, sum: f64) -> f64 {
    match squash {
        Squash::None => sum,
        Squash::Logistic => 1.0 / (1.0 + (-sum).exp()),
        Squash::Clamp => sum.clamp(0.0, 1.0),
    }
}
