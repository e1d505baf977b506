//! The names of time zones in rules.

use super::*;

fn errors(condition: &str) -> String {
    let text = format!("[rules.a]\non = 'A'\nif = {condition}\nthen = []\n");
    set(&text).map(drop).map_or_else(|errors| errors.to_string(), |()| String::new())
}

#[test]
fn a_time_zone_that_there_is_not_is_named_with_the_one_that_is_meant() {
    let error = errors("'hour_in(\"Europe/Pariss\") >= 9'");
    let said = "`hour_in`: there is no time zone `Europe/Pariss`; did you mean `Europe/Paris`?";
    assert!(error.contains(said), "{error}");
    // On its own line, and within others.
    let error = errors("'''\nevent.x == 1\n  && [hour_in(\"zzz\")].exists(h, h > 9)'''");
    assert!(error.contains(":5: ") && error.contains("as `Europe/Paris`"), "{error}");
    for fine in
        ["hour_in(\"Europe/Paris\") > 1", "hour_in(\"UTC\") > 1", "hour_in(traits.zone) > 1"]
    {
        assert_eq!(errors(&format!("'{fine}'")), "", "{fine}");
    }
}

#[test]
fn what_a_function_cannot_work_on_is_said_by_the_name_it_is_written_with() {
    for (condition, said) in [
        ("hour_in(event.properties.zone) > 1", "`hour_in`: there is no time zone of this name"),
        ("days_since(event.properties.zone) > 1.0", "`days_since` cannot work on this"),
        ("days_since(traits.nothing) > 1.0", "`days_since` does not work on nothing (null)"),
        ("local_hour() > 1", "`local_hour`: there is no time zone of this name"),
        ("event_weekday() > 1", "`event_weekday`: there is no time zone of this name"),
    ] {
        let rules = format!("[rules.a]\non = 'A'\nif = '{condition}'\nthen = []\n");
        let mut world = World::new(&rules);
        world.rules.watch();
        let zone = json!({"timezone": "Europe/Pariss"});
        world.at(0, &json!({"type": "track", "event": "A", "userId": "u", "context": zone, "properties": {"zone": "Europe/Pariss"}}));
        let looked = world.rules.take_looked();
        assert_eq!(looked[0].reasons[0].error.as_deref(), Some(said), "{condition}");
    }
}
