//! The functions that rules have beside CEL's own: what each is given, what it gives, and how it is written.
//! Deliberately computes nothing: see `calls`.

use crate::expression::{
    Function,
    Takes::{self, Text, Time},
    types::Kind::{self, Fraction, Whole},
};

/// In the order in which they are told of.
pub(super) const FUNCTIONS: &[Function] = &[
    of("days_since", &[Time], Fraction, "days_since(person.last_seen)"),
    of("hours_since", &[Time], Fraction, "hours_since(person.last_seen)"),
    of("minutes_since", &[Time], Fraction, "minutes_since(person.last_seen)"),
    of("days_until", &[Time], Fraction, "days_until(traits.trial_ends)"),
    of("hours_until", &[Time], Fraction, "hours_until(traits.trial_ends)"),
    of("minutes_until", &[Time], Fraction, "minutes_until(traits.trial_ends)"),
    of("local_hour", &[], Whole, "local_hour()"),
    of("local_weekday", &[], Whole, "local_weekday()"),
    of("hour_in", &[Text], Whole, "hour_in(\"Europe/Paris\")"),
    of("event_hour", &[], Whole, "event_hour()"),
    of("event_weekday", &[], Whole, "event_weekday()"),
];

const fn of(
    name: &'static str,
    takes: &'static [Takes],
    gives: Kind,
    example: &'static str,
) -> Function {
    Function { name, takes, gives, example }
}
