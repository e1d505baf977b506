//! What a condition called is said with what it came to: the hour that decided, and by whose clock.

use super::*;

fn called(rule: &str, event: &Value) -> Vec<Called> {
    let mut world = World::new(rule);
    world.rules.watch();
    world.at(22 * HOUR, event);
    let looked = world.rules.take_looked();
    let [looked] = &looked[..] else { panic!("{looked:?}") };
    looked.reasons[0].calls.clone()
}

fn of(call: &str, value: impl Into<Value>, clock: Option<(&str, bool)>) -> Called {
    Called {
        call: call.to_owned(),
        value: value.into(),
        timezone: clock.map(|(zone, _)| zone.to_owned()),
        assumed: clock.is_some_and(|(_, assumed)| assumed),
    }
}

#[test]
fn why_says_the_hour_and_by_whose_clock_it_was() {
    let rule = "[rules.a]\non = 'A'\nif = 'event_hour() < 6 || local_weekday() == 9'\nthen = []\n";
    let mut event = track("A", "u-1", &json!({}));
    let [there, person] = [
        of("event_hour()", 22, Some(("UTC", true))),
        of("local_weekday()", 3, Some(("UTC", true))),
    ];
    assert_eq!(called(rule, &event), [there, person]);
    event["context"] = json!({"timezone": "Asia/Tokyo"});
    let [there, person] = [
        of("event_hour()", 7, Some(("Asia/Tokyo", false))),
        of("local_weekday()", 4, Some(("Asia/Tokyo", false))),
    ];
    assert_eq!(called(rule, &event), [there, person]);
    event["context"] = json!({"timezone": "UTC"});
    assert_eq!(called(rule, &event)[0], of("event_hour()", 22, Some(("UTC", false))), "it is said");
}

#[test]
fn why_says_how_long_ago_it_was_and_leaves_out_what_only_a_macro_knows() {
    let rule = "[rules.a]\non = 'A'\nif = '''days_since(event.properties.at) > 3.0\n\
        || hours_since(event.properties.at) + hours_since(event.properties.at) > 99.0\n\
        || event.properties.all.exists(it, days_since(it) > 30.0) || days_until(event.properties.no) > 1.0\n\
        || hour_in(\"Europe/Berlin\") == 1'''\nthen = []\n";
    let at = Timestamp::from_unix_ms(BEGIN_MS - 14 * HOUR).to_string();
    let event = track("A", "u-1", &json!({"at": at, "all": [at]}));
    let expected = [
        of("days_since(event.properties.at)", 1.5, None),
        of("hours_since(event.properties.at)", 36.0, None),
        of("days_until(event.properties.no)", Value::Null, None),
        of("hour_in(\"Europe/Berlin\")", 23, None),
    ];
    assert_eq!(called(rule, &event), expected);
}

#[test]
fn a_score_says_what_its_terms_called() {
    let mut world = World::new("[scores.s]\nterms = { a = 'hour_in(\"Europe/Paris\")' }\n");
    world.at(0, &track("A", "u-1", &json!({})));
    let node = people::node_of(&world.db, "u-1").unwrap().unwrap();
    let whose = people::Whole::person(&world.db, node).unwrap();
    let scope = world.rules.scope(&world.db, &whose, BEGIN_MS);
    let scored = scope.scored(&scope.set.scores[0]).unwrap();
    assert_eq!(scored.terms[0].reason.calls, [of("hour_in(\"Europe/Paris\")", 1, None)]);
}
