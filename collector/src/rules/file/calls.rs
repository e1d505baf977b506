//! The calls of functions in an expression, each as an expression of its own, so that what it came to can be said.
//! Promises that the whole works without them: what cannot stand alone, as of a macro's own variable, is left out.

use std::collections::BTreeSet;

use super::{
    super::{functions::FUNCTIONS, part::Part, wall::Clocks},
    part::Place,
};
use crate::expression::{Expression, Vocabulary};

/// Most that are told of one expression: it has at most 1,000 bytes, and no one reads more.
const MOST: usize = 10;

/// Each once, in the order in which they stand.
pub(super) fn calls(of: &Expression, place: Place<'_>) -> Vec<Part> {
    let words = Vocabulary { variables: place.variables, functions: FUNCTIONS };
    let mut seen = BTreeSet::new();
    let written = of.written_calls(FUNCTIONS).into_iter().filter(|text| seen.insert(*text));
    let read = written.filter_map(|text| Expression::read(text, &words).ok());
    read.take(MOST).filter_map(part).collect()
}

fn part(expression: Expression) -> Option<Part> {
    let features = expression.members("features").ok()?;
    let scores = expression.members("scores").ok()?;
    let clocks = Clocks::of(&expression);
    let looks_at_profile = super::part::looks_at_profile(&expression);
    let asks_event_time = super::part::asks_event_time(&expression).is_some();
    Some(Part {
        expression,
        features,
        scores,
        ages: true,
        clocks,
        looks_at_profile,
        asks_event_time,
        calls: Vec::new(),
    })
}
