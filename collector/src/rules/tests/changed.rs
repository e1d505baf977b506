//! Rules that change under the same revision, over a log that says what was done: who was told is not told again, and what was sent
//! stays on record.

use super::{super::firing::BEFORE, *};

/// Says of all that waits that it is done, as what does it says so.
fn done(world: &mut World, ms: i64, state: ActionState) {
    let lanes: Vec<String> = {
        let query = "SELECT DISTINCT lane FROM action WHERE state = 'pending'";
        let mut query = world.db.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for lane in lanes {
        for waiting in pending(&world.db, &lane, &(0, String::new()), 100).unwrap() {
            let said = said(&waiting, state, None);
            let event = people::said(&waiting.id, DONE, &said);
            let json: Value = serde_json::from_str(&event.json).unwrap();
            world.record(ms, &json, |record| {
                (record.origin, record.source) = (event.origin.clone(), event.source.clone());
            });
        }
    }
}

/// The same log under other rules, which count since its end.
fn again(world: &World, rules: &str, revision: u32) -> World {
    let (end, last) = world.log.0.last_key_value().unwrap();
    let since = (*end, last.received_at.unix_ms());
    let names = set(rules).unwrap();
    let names = names.revisions().map(|(name, ..)| ((name.to_owned(), revision), since));
    let mut other = World::since(rules, Arc::new(names.collect()));
    for record in world.log.0.values() {
        other.next = record.offset.to_number() + 1;
        other.fold(record);
    }
    other
}

/// Rule, minutes after the beginning, whether it was an earlier rule, and what became of its actions.
fn told(world: &World) -> Vec<(String, i64, bool, Vec<&'static str>)> {
    let at = |text: &str| crate::event_time::parse(text).unwrap().unix_ms() - BEGIN_MS;
    let acts = world.fired().into_iter().filter(|fired| fired.held.is_none());
    acts.map(|fired| {
        let states = fired.actions.iter().map(|it| it.state.as_str()).collect();
        (fired.rule, at(&fired.at) / MINUTE, fired.earlier, states)
    })
    .collect()
}

fn often(line: &str) -> String {
    format!(
        "[features.n]\non = 'A'\ncount = true\nwindow = '1d'\n\
         [rules.often]\ncrosses = {{ feature = 'n', {line} }}\nthen = [{{ webhook = 'w', expires = '30d' }}]\n"
    )
}

fn crossed(line: &str) -> World {
    let mut world = World::new(&often(line));
    for minute in 1..=4 {
        world.at(minute * MINUTE, &did("A", "u-1"));
    }
    world
}

#[test]
fn whoever_was_told_is_told_again_only_after_it_was_back_wherever_the_line_is_now() {
    let often_told = |earlier, states| ("often".to_owned(), 3, earlier, states);
    let mut world = crossed("above = 2.0, rearm_below = 1.5");
    done(&mut world, 5 * MINUTE, ActionState::Accepted);
    assert_eq!(told(&world), [("often".to_owned(), 3, false, vec!["accepted"])]);
    for line in ["above = 1.0", "above = 4.0, rearm_below = 1.5", "above = 2.0"] {
        let mut world = again(&world, &often(line), 1);
        // What was sent is on record, at its time, whatever the present line says of it; and nothing else is to be done.
        let is_other = line != "above = 2.0";
        assert_eq!(told(&world), [often_told(is_other, vec!["accepted"])], "{line}");
        // Beyond every line: that is so already.
        for minute in 10..15 {
            world.at(minute * MINUTE, &did("A", "u-1"));
        }
        assert_eq!(told(&world).len(), 1, "{line}");
        // Everything has left the window: it was back, and is beyond the line again.
        for minute in 0..6 {
            world.at(3 * DAY + minute * MINUTE, &did("A", "u-1"));
        }
        assert_eq!(told(&world).len(), 2, "{line}");
    }
}

#[test]
fn whoever_was_not_told_is_told_of_a_line_that_is_crossed_after_the_change() {
    // The destination has refused it, or nobody was beyond the line.
    let mut world = crossed("above = 2.0");
    done(&mut world, 5 * MINUTE, ActionState::Refused);
    let mut world = again(&world, &often("above = 4.0"), 1);
    world.at(10 * MINUTE, &did("A", "u-1"));
    assert_eq!(told(&world).last().unwrap().1, 10);
    assert_eq!(told(&world)[0].3, ["refused"]);
}

#[test]
fn a_wait_that_has_become_longer_says_nothing_twice_because_of_the_same_event() {
    let wait = |within: &str, revision: u32| {
        format!(
            "[rules.left]\non = 'A'\nrevision = {revision}\nwithout = {{ event = 'B', within = '{within}' }}\n\
             then = [{{ emit = 'Left', expires = '30d' }}]\n"
        )
    };
    let mut world = World::new(&wait("1h", 1));
    world.at(0, &did("A", "u-1"));
    world.pass(61 * MINUTE);
    done(&mut world, 62 * MINUTE, ActionState::Accepted);
    let mut same = again(&world, &wait("2h", 1), 1);
    same.pass(DAY);
    assert_eq!(told(&same), [("left".to_owned(), 60, true, vec!["accepted"])]);
    // Another revision is another thing to say.
    let mut other = again(&world, &wait("2h", 2), 2);
    other.pass(DAY);
    assert_eq!(told(&other).len(), 2);
}

#[test]
fn what_is_said_of_an_action_is_said_of_whom_it_was_done_for_while_they_are_known() {
    let mut world = crossed("above = 2.0");
    done(&mut world, 5 * MINUTE, ActionState::Accepted);
    let whom = |world: &World, record: &Record| {
        super::super::earlier::done_for(&world.db, record).unwrap().map(|person| person.to_string())
    };
    let [first, .., last] = &world.log.0.values().collect::<Vec<_>>()[..] else { panic!("some") };
    assert_eq!(whom(&world, last), Some(world.fired()[0].person.clone()));
    assert_eq!(whom(&world, first), None, "what somebody did is no such word");
    let other = World::new(&often("above = 2.0"));
    assert_eq!(whom(&other, last), None, "here they never were");
}

#[test]
fn what_was_sent_to_somebody_who_is_not_known_any_more_is_forgotten() {
    let mut world = crossed("above = 2.0");
    done(&mut world, 5 * MINUTE, ActionState::Accepted);
    world.log.0.retain(|_, record| people::is_ours(record));
    assert!(again(&world, &often("above = 3.0"), 1).fired().is_empty());
}

#[test]
fn what_a_rule_decides_by_is_more_than_its_text_and_less_than_the_folder() {
    let keys = |text: &str| -> BTreeMap<String, String> {
        let set = set(text).unwrap();
        set.revisions().map(|(name, _, key)| (name.to_owned(), key.to_owned())).collect()
    };
    let text = format!(
        "{}[scores.s]\nterms = {{ n = 'double(features.n) / 2.0' }}\n\
         [rules.plain]\non = 'A'\ndescription = 'tpyo'\n[rules.score]\non = 'A'\nif = 'scores.s > 1.0'\n",
        often("above = 2.0")
    );
    let differing = |other: &str| -> Vec<String> {
        let (before, after) = (keys(&text), keys(other));
        let differs = |(name, key): (String, String)| (before[&name] != key).then_some(name);
        after.into_iter().filter_map(differs).collect()
    };
    assert_eq!(differing(&text.replace("tpyo", "typo")), [""; 0]);
    assert_eq!(differing(&format!("[features.a]\non = 'B'\ncount = true\n{text}")), [""; 0]);
    assert_eq!(differing(&text.replace("window = '1d'", "window = '2d'")), ["often", "score"]);
    assert_eq!(differing(&text.replace("/ 2.0", "/ 3.0")), ["score"]);
    assert_eq!(differing(&text.replace("above = 2.0", "above = 3.0")), ["often"]);
    assert_eq!(differing(&text.replace("webhook = 'w'", "webhook = 'v'")), ["often"]);
    let capped = format!("caps.email = {{ times = 1, within = '1d' }}\n{text}");
    assert_eq!(differing(&capped), [""; 0], "none of them sends mail");
    assert_eq!(differing(&capped.replace("email", "webhook")), ["often"]);
}

#[test]
fn a_firing_that_the_changed_rule_comes_to_as_well_stands() {
    let most = |line: &str| {
        format!(
            "[features.most]\non = 'A'\nmax = 'event.properties.v'\n\
             [rules.large]\ncrosses = {{ feature = 'most', above = {line} }}\n\
             then = [{{ webhook = 'w', expires = '30d' }}, {{ emit = 'Large', expires = '30d' }}]\n"
        )
    };
    let mut world = World::new(&most("500.0"));
    let event = json!({"type": "track", "event": "A", "userId": "u-1", "properties": {"v": 900}});
    world.at(MINUTE, &event);
    done(&mut world, 5 * MINUTE, ActionState::Accepted);
    // The same event is beyond either line.
    let large =
        |earlier, states: [&'static str; 2]| ("large".to_owned(), 1, earlier, states.to_vec());
    assert_eq!(told(&again(&world, &most("400.0"), 1)), [large(false, ["accepted"; 2])]);
    // This one it would not have told of.
    let higher = again(&world, &most("1000.0"), 1);
    assert_eq!(told(&higher), [large(true, ["accepted"; 2])]);
}

#[test]
fn what_an_event_is_held_for_itself_is_said_under_a_changed_rule_too() {
    let rule = |then: &str| format!("[rules.a]\non = 'A'\nthen = [{{ emit = '{then}' }}]\n");
    let mut world = World::new(&rule("B"));
    world.record(0, &did("A", "u-1"), |record| record.origin = Origin::Import);
    world.at(MINUTE, &did("A", "u-2"));
    let held = |world: &World| -> Vec<Option<String>> {
        world.fired().into_iter().map(|fired| fired.held).collect()
    };
    assert_eq!(held(&world), [Some("imported".to_owned()), None]);
    let world = again(&world, &rule("C"), 1);
    assert_eq!(held(&world), [Some("imported".to_owned()), Some(BEFORE.to_owned())]);
}
