//! One expression of a rule file, held to what its place may look at and to what has to come of it.
//! Promises that whatever it names is there. Deliberately asks for no value.

use std::{collections::BTreeSet, ops::Range};

use super::{
    super::{
        scope::FUNCTIONS,
        set::{Part, Per},
    },
    Mistake, Reading, one_of,
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

impl Reading<'_> {
    pub(super) fn part(&self, text: &Text, place: Place<'_>) -> Result<Part, Mistake> {
        let span = text.span();
        let wrong = |line: usize, message: String| {
            (self.line_of(&span, line), format!("`{}`: {message}", place.key))
        };
        let words = Vocabulary { variables: place.variables, functions: FUNCTIONS };
        let expression = Expression::read(text.get_ref(), &words)
            .map_err(|(line, message)| wrong(line, message))?;
        let known = |name: &str, member: Option<&str>| match (name, member) {
            ("features", Some(feature)) => {
                self.names.kinds.get(feature).copied().unwrap_or(Kind::Any)
            }
            ("scores", Some(_)) => Kind::Fraction,
            (function, None) if FUNCTIONS.contains(&function) => match function {
                "local_hour" | "local_weekday" | "hour_in" | "event_hour" | "event_weekday" => {
                    Kind::Whole
                }
                _ => Kind::Fraction,
            },
            _ => Kind::Any,
        };
        let kind = expression.kind(&known).map_err(|message| wrong(0, message))?;
        let fits = match place.wanted {
            Wanted::Truth => kind.may_be(Kind::Truth),
            Wanted::Number => kind.may_be_number() || kind == Kind::Truth,
            Wanted::Anything => true,
        };
        if !fits {
            let wanted = if place.wanted == Wanted::Truth { "true or false" } else { "a number" };
            return Err(wrong(0, format!("expected {wanted}, and this is {kind}")));
        }
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
                return Err(wrong(0, one_of("member of `person`", &name, known)));
            }
        }
        for variable in ["event", "trigger"] {
            for name in members(variable)? {
                if !OF_EVERY_EVENT.contains(&name.as_str()) {
                    let known = OF_EVERY_EVENT.iter().copied();
                    return Err(wrong(0, one_of(&format!("member of `{variable}`"), &name, known)));
                }
            }
        }
        let _ = (members("traits")?, members("account")?);
        let of_event = ["event_hour", "event_weekday"];
        let of_event = of_event.into_iter().find(|function| expression.calls(function));
        if let Some(function) = of_event.filter(|_| !place.variables.contains(&"event")) {
            let message = format!(
                "`{function}` is of an event, and here is none; the person's clock is `local_hour()`"
            );
            return Err(wrong(0, message));
        }
        let asks_event_time = of_event.is_some();
        let ages = FUNCTIONS.iter().any(|function| expression.calls(function));
        let local = ["local_hour", "local_weekday"];
        let looks_at_profile = ["traits", "person"].iter().any(|it| expression.mentions(it))
            || local.iter().any(|function| expression.calls(function));
        Ok(Part { expression, features, scores, ages, looks_at_profile, asks_event_time })
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
