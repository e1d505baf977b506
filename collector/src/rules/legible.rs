//! Numbers as reasons tell them: of a sum of tenths nobody reads `0.8999999999999999`.
//! Promises twelve digits that count, and that a whole number, and what is in front of the point, stays as it is. Deliberately touches
//! nothing that is kept, compared or asked: it is what reasons are written with, and with nothing else.

use std::collections::BTreeMap;

use serde::{Serialize as _, Serializer};
use serde_json::Value as Json;

/// Digits that are told. Sums of a few tenths differ in the sixteenth from what was meant, of many terms in an earlier one.
const DIGITS: i32 = 12;

/// A number.
pub(super) fn number(exact: f64) -> f64 {
    if exact.fract() == 0.0 || !exact.is_finite() {
        return exact;
    }
    #[allow(clippy::cast_possible_truncation, reason = "a double has at most 324 places")]
    let in_front = exact.abs().log10().floor() as i32 + 1;
    let places = usize::try_from(DIGITS - in_front).unwrap_or(0);
    format!("{exact:.places$}").parse().unwrap_or(exact)
}

/// A number for people, with at most two places, and a minus that is as wide as a plus: `0.82`, `12`, `−0.5`.
pub(crate) fn rounded(exact: f64) -> String {
    let text = format!("{exact:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text.strip_prefix('-') {
        Some("0") => "0".to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text.to_owned(),
    }
}

/// The same of what a term brings to a score: `+0.42`, `−0.5`, `0`.
pub(crate) fn brought(brings: f64) -> String {
    match rounded(brings) {
        text if brings > 0.0 && text != "0" => format!("+{text}"),
        text => text,
    }
}

/// All numbers in a value.
pub(super) fn json(exact: &Json) -> Json {
    match exact {
        Json::Number(found) if found.is_f64() => {
            found.as_f64().map_or_else(|| exact.clone(), |found| Json::from(number(found)))
        }
        Json::Array(list) => list.iter().map(json).collect(),
        Json::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), json(value))).collect()
        }
        other => other.clone(),
    }
}

/// For serde, of a number.
pub(super) fn write_number<S: Serializer>(exact: &f64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(number(*exact))
}

/// For serde, of a value.
pub(super) fn write_json<S: Serializer>(exact: &Json, to: S) -> Result<S::Ok, S::Error> {
    json(exact).serialize(to)
}

/// For serde, of values by their names.
pub(super) fn write_all<S: Serializer>(
    exact: &BTreeMap<String, Json>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_map(exact.iter().map(|(name, value)| (name, json(value))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_two_places_and_which_way_a_term_goes() {
        let numbers = [0.8176, 12.0, 100.0, -0.5, -0.001, 0.0];
        assert_eq!(numbers.map(rounded), ["0.82", "12", "100", "−0.5", "0", "0"]);
        assert_eq!(numbers.map(brought), ["+0.82", "+12", "+100", "−0.5", "0", "0"]);
        assert_eq!(brought(0.001), "0", "what is not seen goes neither way");
    }

    #[test]
    fn what_was_meant_is_told_and_what_is_exact_stays() {
        for (exact, told) in [
            (0.3 + 0.6, 0.9),
            (0.1 + 0.2, 0.3),
            (-(0.1 + 0.7), -0.8),
            ((0..100).map(|_| 0.01).sum(), 1.0),
            (0.400_000_027_88, 0.400_000_027_88),
            (1.0 / 3.0, 0.333_333_333_333),
            (1e-9 / 3.0, 3.333_333_333_33e-10),
            // A moment in milliseconds keeps all of them.
            (1_735_689_612_345.0, 1_735_689_612_345.0),
            (1_735_689_612_345.5, 1_735_689_612_346.0),
            (9.007e15, 9.007e15),
            (0.0, 0.0),
            (5e-324, 5e-324),
            (f64::MAX, f64::MAX),
        ] {
            assert!((number(exact) - told).abs() == 0.0, "{exact}: {}", number(exact));
        }
        let exact =
            json!({"list": [0.1 + 0.2, 7, null], "n": 0.1 + 0.7, "text": "0.30000000000000004"});
        let told = json!({"list": [0.3, 7, null], "n": 0.8, "text": "0.30000000000000004"});
        assert_eq!(super::json(&exact), told);
    }

    proptest! {
        /// What is told is all but what it is, and told once more it is the same.
        #[test]
        fn nothing_is_told_that_is_far_from_it(exact in any::<f64>().prop_filter("JSON has none", |it| it.is_finite())) {
            let told = number(exact);
            prop_assert!((told - exact).abs() <= exact.abs() * 1e-11, "{exact}: {told}");
            prop_assert!((number(told) - told).abs() == 0.0, "{exact}: {told}");
        }
    }
}
