//! The values by which a condition came out as it did, as people read them.

use serde_json::json;

use super::*;

fn of(noted: &Json) -> Vec<String> {
    reason(noted).of.iter().map(|it| format!("{}: {}", it.label, it.value)).collect()
}

#[test]
fn a_call_says_what_it_came_to_and_by_whose_clock() {
    let calls = json!([
        {"call": "event_hour()", "value": 22, "timezone": "Europe/Berlin"},
        {"call": "local_hour()", "value": 7, "timezone": "UTC", "assumed": true},
        {"call": "days_since(features.core_last)", "value": 11.504},
        {"call": "hour_in('Europe/Paris')", "value": 3},
        {"call": "days_until(event.properties.a + 1)", "value": null},
    ]);
    let said = of(&json!({"text": "…", "value": false, "calls": calls}));
    let expected = [
        "Hour where it happened: 22 in Europe/Berlin",
        "Hour where they are: 7 in UTC, as no time zone is known",
        "Days since core last: 11.5",
        "Hour in “Europe/Paris”: 3",
        "days_until(event.properties.a + 1): nothing yet",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_text_is_told_from_the_number_that_it_looks_like() {
    let of_it = json!({"event.properties.a": "900", "event.properties.b": 900, "features.c": ["1", "x"], "features.d": [1]});
    let said = of(&json!({"text": "…", "value": true, "of": of_it}));
    assert_eq!(said, ["A: “900”", "B: 900", "C: “1”, “x”", "D: [1]"]);
}
