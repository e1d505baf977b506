//! What holds firings and actions back, and what uses up a limit.

use super::*;

#[test]
fn what_holds_a_firing_back_is_on_record() {
    let rules = "[rules.a]\non = 'A'\nthen = [{ emit = 'B' }]\nlimit = { times = 2, within = '1d' }\n\
                 [rules.quiet]\non = 'A'\ndry_run = true\nthen = [{ emit = 'C' }]\n";
    let mut world = World::new(rules);
    world.record(0, &did("A", "u-1"), |record| record.origin = Origin::Import);
    let late = |record: &mut Record| {
        record.event_time = Timestamp::from_unix_ms(record.received_at.unix_ms() - 2 * HOUR);
    };
    world.record(DAY, &did("A", "u-2"), late);
    for minute in 0..4 {
        world.at(2 * DAY + minute * MINUTE, &did("A", "u-3"));
    }
    let fired = world.fired();
    let of = |rule: &str| {
        let of_rule = fired.iter().filter(|it| it.rule == rule);
        of_rule.map(|it| (it.held.as_deref(), it.actions.len())).collect::<Vec<_>>()
    };
    let (imported, late) = ((Some("imported"), 0), (Some("late"), 0));
    assert_eq!(of("a"), [imported, late, (None, 1), (None, 1)], "the limit holds for the rest");
    let dry = (Some("dry run"), 0);
    assert_eq!(of("quiet"), [imported, late, dry, dry, dry, dry]);
}

#[test]
fn what_does_nothing_uses_up_no_limit_and_a_late_event_no_crossing() {
    let rules = "[features.n]\non = 'A'\ncount = true\n[rules.a]\non = 'A'\nlimit = { times = 1, within = '7d' }\n\
        [rules.many]\ncrosses = { feature = 'n', above = 1 }\n";
    let mut world = World::new(rules);
    world.record(0, &did("A", "u-1"), |record| record.origin = Origin::Import);
    world.record(DAY, &did("A", "u-1"), |record| {
        record.event_time = Timestamp::from_unix_ms(record.received_at.unix_ms() - 2 * HOUR);
    });
    world.at(DAY + HOUR, &did("A", "u-1"));
    world.at(DAY + 2 * HOUR, &did("A", "u-1"));
    let fired = world.fired();
    let of = |rule: &str| {
        let of_rule = fired.iter().filter(|it| it.rule == rule);
        of_rule.map(|it| it.held.as_deref()).collect::<Vec<_>>()
    };
    assert_eq!(of("a"), [Some("imported"), Some("late"), None]);
    assert_eq!(of("many"), [None]);
}

#[test]
fn rules_that_set_each_other_off_come_to_an_end() {
    let mut world = World::new("[rules.a]\non = 'A'\nthen = [{ emit = 'A' }]\n");
    for depth in 0..8_u8 {
        world.record(i64::from(depth) * MINUTE, &did("A", "u-1"), |record| {
            record.origin = Origin::Derived { by: "a".into(), depth };
        });
    }
    assert_eq!(world.firings().len(), 4);
}

#[test]
fn a_cap_holds_within_one_firing_and_quiet_hours_are_those_of_now() {
    let rules = "[caps.email]\ntimes = 2\nwithin = '1d'\n[quiet_hours]\nfrom = '21:00'\nto = '08:00'\n\
        [rules.a]\non = 'A'\nlate = 'fire'\nthen = [{ email = 'm', template = 't' }, { email = 'm', template = 't' }, \
        { email = 'm', template = 't' }, { webhook = 'w' }]\n";
    let mut world = World::new(rules);
    let waiting = |world: &World| -> Vec<(String, i64)> {
        let query = "SELECT a.state, a.after FROM action a ORDER BY a.firing, a.id";
        let mut query = world.db.prepare(query).unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    // It happened at noon, and came at ten at night in Oslo, on the night in which clocks go forward there.
    let mut event = did("A", "u-1");
    event["context"] = json!({"timezone": "Europe/Oslo"});
    let night = 87 * DAY + 21 * HOUR;
    world.record(night, &event, |record| {
        record.event_time = Timestamp::from_unix_ms(BEGIN_MS + 87 * DAY + 11 * HOUR);
    });
    let morning = BEGIN_MS + 88 * DAY + 6 * HOUR;
    let expected = [("pending", morning), ("pending", morning), ("withheld", 0), ("pending", 0)];
    let expected = expected.map(|(state, after)| (state.to_owned(), after));
    assert_eq!(waiting(&world), expected, "eight o'clock there is six in summer");
}
