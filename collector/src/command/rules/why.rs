//! `headwater rules why …`, for people: each time that a rule was looked at, what it was decided by, and what came of it.
//! Promises that whatever is said in JSON is said here too. Deliberately asks nobody: it is given the answer.

use serde_json::Value;

use super::{came_of, items, printable, text};

pub(super) fn shown(answer: &Value) -> String {
    let mut shown = String::new();
    if answer["enabled"] == false {
        shown += "the rule is not enabled: its file says so, and it is not looked at\n";
    }
    if let Some(by) = answer["stopped"]["by"].as_str() {
        let what = if answer["stopped"]["all"] == true { "all rules are" } else { "the rule is" };
        shown += &format!("{what} STOPPED by {}: what is to be done waits\n", printable(by));
    }
    if answer["accounts"].as_array().is_some_and(Vec::is_empty) {
        shown += "the rule is about accounts, and they are of none\n";
    }
    for fired in items(&answer["asked"]) {
        let of = fired["account"].as_str();
        let of = of.map_or_else(String::new, |it| format!(" of {}", printable(it)));
        let (rule, at) = (text(&fired["rule"]), text(&fired["at"]));
        shown += &format!("{rule} was last asked{of} at {at}\n");
        shown += &came_of(fired);
    }
    for fired in items(&answer["others"]) {
        shown += &format!("on record beside what follows: it fired at {}\n", text(&fired["at"]));
        shown += &came_of(fired);
    }
    let head = shown.len();
    for looked in items(&answer["looked"]) {
        let event =
            looked["event"].as_str().map_or_else(String::new, |it| format!(" (event {it})"));
        let account = looked["account"]
            .as_str()
            .map_or_else(String::new, |it| format!(" of {}", printable(it)));
        let (at, outcome) = (text(&looked["at"]), text(&looked["outcome"]));
        shown += &format!("{at}{event}{account}: {outcome}\n");
        let mut firing = looked["firing"].clone();
        // It is in the outcome.
        firing.as_object_mut().map(|firing| firing.remove("held"));
        shown += &came_of(&firing);
        let waits = looked["waited"]["until"].as_str() > looked["at"].as_str();
        for reason in items(&looked["reasons"]) {
            let still = match (reason["still"] == true, waits) {
                (true, true) => "so far still ",
                (true, false) => "still ",
                (false, _) => "",
            };
            shown +=
                &format!("    {}  {still}{}\n", quoted(&reason["value"]), text(&reason["text"]));
            shown += &decided_by(reason, "        ");
        }
        if let Some(until) = looked["waited"]["until"].as_str() {
            let what: Vec<_> = items(&looked["waited"]["for"]).map(text).collect();
            let what = match what.is_empty() {
                true => String::new(),
                false => format!(" for {} to stay away", what.join(" or ")),
            };
            let waits = if looked["outcome"] == "it waits" { "waits" } else { "waited" };
            shown += &format!("    {waits}{what} until {}\n", printable(until));
            for came in items(&looked["waited"]["came"]) {
                let fits = if came["matches"] == true { "" } else { ", which does not match" };
                let (event, at) = (text(&came["event"]), text(&came["at"]));
                shown += &format!("        event {event} came at {at}{fits}\n");
            }
        }
        shown += &measured(&looked["measured"]);
    }
    if answer["partial"] == true {
        shown += "there were more events than are gone through: what came before is not in it\n";
    }
    let has_any = answer["enabled"] != false && items(&answer["accounts"]).next().is_some();
    let is_of_person = answer["enabled"] != false && answer["accounts"].is_null();
    if shown.len() == head && (has_any || is_of_person) {
        shown +=
            "the rule was never looked at for them: none of their events is what it is about\n";
    }
    shown
}

/// What an expression came to a value by, or why to none: what it looked at, and what it called.
pub(super) fn decided_by(reason: &Value, before: &str) -> String {
    let mut shown = String::new();
    if let Some(error) = reason["error"].as_str() {
        shown += &format!("{before}{}\n", printable(error));
    }
    for (name, value) in reason["of"].as_object().into_iter().flatten() {
        shown += &format!("{before}{} = {}\n", printable(name), quoted(value));
    }
    for called in items(&reason["calls"]) {
        let clock = match (called["timezone"].as_str(), called["assumed"] == true) {
            (Some(zone), true) => format!(", in {}: no time zone is known", printable(zone)),
            (Some(zone), false) => format!(", in {}", printable(zone)),
            (None, _) => String::new(),
        };
        let value = quoted(&called["value"]);
        shown += &format!("{before}{} = {value}{clock}\n", text(&called["call"]));
    }
    shown
}

/// A value of a condition: a text in quotes, so that `"900"` is no `900`.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(_) => printable(&value.to_string()),
        other => text(other),
    }
}

/// What is to cross a line, with what it is made of.
fn measured(measured: &Value) -> String {
    let mut shown = String::new();
    if let Some(score) = measured["score"].as_str().or(measured["feature"].as_str()) {
        let lines = ["above", "below"].into_iter();
        let mut lines = lines.filter(|word| measured[*word].is_number());
        let line = lines.next().map_or_else(String::new, |word| {
            format!(", and fires {word} {}", text(&measured[word]))
        });
        shown += &format!("    {} = {}{line}\n", printable(score), text(&measured["value"]));
    }
    let model = &measured["model"];
    if let Some(by) = model["by"].as_str() {
        let fallback = model["fallback"].as_str();
        let said =
            fallback.map_or_else(String::new, |why| format!(", the fallback: {}", printable(why)));
        let asked = model["asked"].as_str();
        let asked = asked.map_or_else(String::new, |at| format!(", asked at {}", printable(at)));
        shown += &format!("        by {}{asked}{said}\n", printable(by));
        for (name, value) in model["inputs"].as_object().into_iter().flatten() {
            shown += &format!("        {} = {}\n", printable(name), quoted(value));
        }
    }
    for term in items(&measured["terms"]) {
        shown += &format!(
            "        {} brings {}  {}\n",
            text(&term["term"]),
            text(&term["brings"]),
            text(&term["text"])
        );
        shown += &decided_by(term, "            ");
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_that_decided_is_printed_and_a_text_is_no_number() {
        let calls = json!([
            {"call": "event_hour()", "value": 22, "timezone": "UTC", "assumed": true},
            {"call": "local_hour()", "value": 0, "timezone": "Europe/Berlin"},
            {"call": "days_since(features.last)", "value": null},
        ]);
        let reason = json!({"text": "event_hour() < 6", "value": false, "calls": calls,
            "of": {"event.properties.a": "900", "event.properties.b": 900}});
        let term = json!({"term": "seats_go", "brings": 0.6, "value": 0.6,
            "text": "double(features.seats_7d) / 10.0", "of": {"features.seats_7d": 6}});
        let answer = json!({"looked": [{"at": "T", "outcome": "it fired", "reasons": [reason],
            "measured": {"score": "s", "value": 0.6, "terms": [term]}}]});
        let expected = "T: it fired
    false  event_hour() < 6
        event.properties.a = \"900\"
        event.properties.b = 900
        event_hour() = 22, in UTC: no time zone is known
        local_hour() = 0, in Europe/Berlin
        days_since(features.last) = nothing
    s = 0.6
        seats_go brings 0.6  double(features.seats_7d) / 10.0
            features.seats_7d = 6
";
        assert_eq!(shown(&answer), expected);
    }
}
