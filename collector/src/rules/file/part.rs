//! One expression of a rule file, held to what its place may look at and to what has to come of it.
//! Promises that whatever it names is there. Deliberately asks for no value.

use std::{collections::BTreeSet, ops::Range};

use super::{
    super::{
        functions::FUNCTIONS,
        part::{Part, Per},
        spelling,
        wall::Clocks,
    },
    Mistake, Reading,
    calls::calls,
    one_of,
    raw::Text,
};
use crate::expression::{Expression, Vocabulary, types::Kind};

/// What expressions of one place may look at.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) key: &'a str,
    pub(super) variables: &'a [&'a str],
    pub(super) per: Per,
    /// What has to come of it.
    pub(super) wanted: Wanted,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    Truth,
    Number,
    Anything,
}

pub(super) const OF_AN_EVENT: &[&str] = &["event"];
pub(super) const OF_A_SUBJECT: &[&str] = &["features", "scores", "traits", "person", "account"];
pub(super) const OF_A_RULE: &[&str] =
    &["event", "features", "scores", "traits", "person", "account"];
pub(super) const OF_A_MATCH: &[&str] = &["event", "trigger"];
/// What there is of a person, beside its traits.
pub(super) const OF_A_PERSON: &[&str] = &[
    "id",
    "country",
    "locale",
    "timezone",
    "bot",
    "events",
    "sessions",
    "first_seen",
    "last_seen",
];

/// The members of an event, beside its properties: Segment's, and what is known of its record.
pub(super) const OF_EVERY_EVENT: &[&str] = &[
    "type",
    "event",
    "name",
    "category",
    "properties",
    "traits",
    "context",
    "userId",
    "anonymousId",
    "groupId",
    "previousId",
    "messageId",
    "integrations",
    "channel",
    "version",
    "timestamp",
    "originalTimestamp",
    "sentAt",
    "time",
    "received",
    "source",
    "trust",
];

/// What can be told of a person's member where it has a value; null goes with all.
fn of_a_person(member: &str) -> Kind {
    match member {
        "id" | "country" | "locale" | "timezone" => Kind::Text,
        "bot" => Kind::Truth,
        "events" | "sessions" | "first_seen" | "last_seen" => Kind::Whole,
        _ => Kind::Any,
    }
}

/// The same of an event's, of what the collector itself says of it.
fn of_an_event(member: &str) -> Kind {
    match member {
        "type" | "source" | "trust" => Kind::Text,
        "time" | "received" => Kind::Whole,
        _ => Kind::Any,
    }
}

/// By which function it asks for the clock where the event happened, if it does.
pub(super) fn asks_event_time(expression: &Expression) -> Option<&'static str> {
    ["event_hour", "event_weekday"].into_iter().find(|function| expression.calls(function))
}

/// Whether it needs what is known of the person.
pub(super) fn looks_at_profile(expression: &Expression) -> bool {
    let named = ["traits", "person"].iter().any(|it| expression.mentions(it));
    named || Clocks::of(expression).are_local()
}

impl Reading<'_> {
    pub(super) fn part(&self, text: &Text, place: Place<'_>) -> Result<Part, Mistake> {
        let span = text.span();
        let wrong = |line: usize, message: String| {
            (self.line_of(&span, line), format!("`{}`: {message}", place.key))
        };
        let words = Vocabulary { variables: place.variables, functions: FUNCTIONS };
        let expression = Expression::read(text.get_ref(), &words)
            .map_err(|(line, message)| wrong(line, self.elsewhere(&message, place)))?;
        let known = |name: &str, member: &str| match name {
            "features" => self.names.kinds.get(member).copied().unwrap_or(Kind::Any),
            "scores" => Kind::Fraction,
            "person" => of_a_person(member),
            "event" | "trigger" => of_an_event(member),
            _ => Kind::Any,
        };
        let kind =
            expression.kind(&known, FUNCTIONS).map_err(|(line, message)| wrong(line, message))?;
        let fits = |kind: Kind| match place.wanted {
            Wanted::Truth => kind.may_be(Kind::Truth),
            Wanted::Number => kind.may_be_number() || kind == Kind::Truth,
            Wanted::Anything => true,
        };
        let wanted = if place.wanted == Wanted::Truth { "true or false" } else { "a number" };
        if !fits(kind) {
            return Err(wrong(0, format!("expected {wanted}, and this is {kind}")));
        }
        // Of a choice, each side.
        let sides = expression.outcomes(&known, FUNCTIONS);
        if let Some((kind, side)) = sides.into_iter().find(|(kind, _)| !fits(*kind)) {
            return Err(wrong(0, format!("expected {wanted}, and `{side}` is {kind}")));
        }
        super::zone::refuse_unknown(&expression).map_err(|(line, message)| wrong(line, message))?;
        self.refuse_out_of_reach(&expression, place).map_err(|message| wrong(0, message))?;
        let members = |variable: &str| match place.variables.contains(&variable) {
            true => expression.members(variable).map_err(|message| wrong(0, message)),
            false => Ok(BTreeSet::new()),
        };
        let (features, scores) = (members("features")?, members("scores")?);
        for (what, mentioned, known) in
            [("feature", &features, &self.names.features), ("score", &scores, &self.names.scores)]
        {
            for name in mentioned {
                let Some(per) = known.get(name) else {
                    let message = one_of(what, name, known.keys().map(String::as_str));
                    return Err(wrong(0, message));
                };
                // An account is not one person; a person can be of several accounts.
                if *per != place.per {
                    let (is, here) = match per {
                        Per::Person => ("a person", "an account"),
                        Per::Account => ("an account", "a person"),
                    };
                    let message = format!(
                        "the {what} `{name}` is of {is}, and this is about {here}; set `per`"
                    );
                    return Err(wrong(0, message));
                }
            }
        }
        for name in members("person")? {
            if !OF_A_PERSON.contains(&name.as_str()) {
                let known = OF_A_PERSON.iter().copied();
                let hint = match name.as_str() {
                    "traits" => "; a person's traits are `traits.x`".to_owned(),
                    name => format!("; a trait is `traits.{name}`"),
                };
                let message = one_of("member of `person`", &name, known);
                let hint = if message.contains("did you mean") { String::new() } else { hint };
                return Err(wrong(0, message + &hint));
            }
        }
        for variable in ["event", "trigger"] {
            for name in members(variable)? {
                if !OF_EVERY_EVENT.contains(&name.as_str()) {
                    let known = OF_EVERY_EVENT.iter().copied();
                    let message = one_of(&format!("member of `{variable}`"), &name, known);
                    let is_near = message.contains("did you mean");
                    let hint = format!("; a property is `{variable}.properties.{name}`");
                    return Err(wrong(0, message + if is_near { "" } else { &hint }));
                }
            }
        }
        let (traits, _) = (members("traits")?, members("account")?);
        let at = text.span().start;
        traits.iter().for_each(|name| self.write(at, spelling::Kind::Trait, name));
        for path in expression.paths("event").iter().chain(&expression.paths("trigger")) {
            match &path[..] {
                [of, name, ..] if of == "properties" => {
                    self.write(at, spelling::Kind::Property, name);
                }
                [of, name, ..] if of == "traits" => self.write(at, spelling::Kind::Trait, name),
                _ => {}
            }
        }
        let of_event = asks_event_time(&expression);
        if let Some(function) = of_event.filter(|_| !place.variables.contains(&"event")) {
            let message = format!(
                "`{function}` is of an event, and here is none; the person's clock is `local_hour()`"
            );
            return Err(wrong(0, message));
        }
        let asks_event_time = of_event.is_some();
        let ages = FUNCTIONS.iter().any(|function| expression.calls(function.name));
        let clocks = Clocks::of(&expression);
        let looks_at_profile = looks_at_profile(&expression);
        let calls = calls(&expression, place);
        Ok(Part {
            expression,
            features,
            scores,
            ages,
            clocks,
            looks_at_profile,
            asks_event_time,
            calls,
        })
    }

    /// Refuses what there never is in a place, by whom it is about: then nothing would ever come of it.
    fn refuse_out_of_reach(&self, expression: &Expression, place: Place<'_>) -> Result<(), String> {
        let is_there = |variable: &str| place.variables.contains(&variable);
        if is_there("account") && expression.mentions("account") {
            // A person may be of several accounts, or of none.
            if place.per == Per::Person {
                let message = "`account` is there where it is about accounts, and this is about a person: set `per = \"account\"`, \
                               or say it as a trait of the person, `traits.x`";
                return Err(message.to_owned());
            }
            if expression.members("account")?.contains("traits") {
                let path = expression.paths("account").into_iter().find(|path| path[0] == "traits");
                let name = path.and_then(|path| path.get(1).cloned()).unwrap_or("x".to_owned());
                return Err(format!("an account's traits stand right below it: `account.{name}`"));
            }
        }
        // Time alone asks of an account, and nobody has done anything.
        if place.per == Per::Account && is_there("person") && !is_there("event") {
            let of_one = ["person", "traits"].into_iter().find(|it| expression.mentions(it));
            if let Some(variable) = of_one {
                return Err(format!(
                    "`{variable}` is of a person, and this is about an account: its own are `account.x`, its most active person \
                     `account.main_user`"
                ));
            }
            let local = ["local_hour", "local_weekday"];
            if let Some(function) = local.into_iter().find(|it| expression.calls(it)) {
                return Err(format!(
                    "`{function}` is by a person's clock, and this is about an account: write `hour_in(\"Europe/Paris\")`"
                ));
            }
        }
        Ok(())
    }

    /// Of a variable that is not known here, where it is.
    fn elsewhere(&self, message: &str, place: Place<'_>) -> String {
        let unknown = message.strip_prefix("the variable `").and_then(|it| it.split('`').next());
        let hint = match unknown {
            Some("properties") if place.variables.contains(&"event") => {
                "; an event's properties are `event.properties.x`"
            }
            Some("trigger") => "; `trigger` is the first event, in `without.match` alone",
            Some("event") => {
                "; no one event sets it off: keep what it said as a feature, with `last`"
            }
            Some("features" | "scores" | "traits" | "person" | "account")
                if place.variables == OF_AN_EVENT =>
            {
                "; a feature is made of its events alone: ask for the rest in a rule or a score"
            }
            Some("features" | "scores" | "traits" | "person" | "account")
                if place.variables == OF_A_MATCH =>
            {
                "; `match` is about two events alone: ask for the rest in `if` or `still`"
            }
            _ => "",
        };
        format!("{message}{hint}")
    }

    /// Where a line of an expression begins, from 0.
    fn line_of(&self, span: &Range<usize>, within: usize) -> usize {
        let quoted = &self.file.text[span.clone()];
        // TOML drops a line's end right after the three quotes.
        let opening = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"];
        let first = usize::from(opening.iter().any(|quotes| quoted.starts_with(quotes)));
        let lines = quoted.match_indices('\n').map(|(at, _)| span.start + at + 1);
        std::iter::once(span.start).chain(lines).nth(first + within).unwrap_or(span.start)
    }
}
