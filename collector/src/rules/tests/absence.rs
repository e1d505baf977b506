//! What does not happen within its time, whoever it turns out to be.

use super::*;

#[test]
fn a_cart_is_abandoned_an_hour_later_unless_it_was_ordered() {
    let mut world = World::new(CART);
    world.at(0, &track("Product Added", "u-1", &cart("a")));
    world.at(10 * MINUTE, &track("Product Added", "u-2", &cart("b")));
    world.at(20 * MINUTE, &track("Order Completed", "u-2", &cart("b")));
    world.at(21 * MINUTE, &track("Order Completed", "u-1", &cart("another")));
    world.pass(HOUR - 1);
    assert_eq!(world.firings(), []);
    world.pass(3 * HOUR);
    assert_eq!(world.firings(), [("cart_abandoned".to_owned(), HOUR)]);
    let fired = &world.fired()[0];
    assert_eq!((fired.name.as_str(), fired.held.as_deref()), ("u-1", None));
    assert_eq!(fired.actions[0].kind, "emit");
}

#[test]
fn an_order_on_another_device_counts_once_it_is_known_to_be_the_same_person() {
    for merged in [true, false] {
        let mut world = World::new(CART);
        world.at(0, &seen("Product Added", "laptop", &cart("a")));
        world.at(MINUTE, &seen("Order Completed", "phone", &cart("a")));
        if merged {
            for (ms, device) in [(30 * MINUTE, "laptop"), (40 * MINUTE, "phone")] {
                let user = json!({"type": "identify", "anonymousId": device, "userId": "u-1"});
                world.at(ms, &user);
            }
        }
        world.pass(DAY);
        assert_eq!(world.firings().is_empty(), merged);
    }
}

#[test]
fn a_merge_that_is_taken_back_before_the_time_has_passed_was_never_there() {
    let mut world = World::new(CART);
    world.at(0, &seen("Product Added", "laptop", &cart("a")));
    world.at(MINUTE, &seen("Order Completed", "phone", &cart("a")));
    let ends = ("anonymous:laptop".parse().unwrap(), "anonymous:phone".parse().unwrap());
    world.order(2 * MINUTE, &people::Order::Merge(ends.0, ends.1));
    let ends = ("anonymous:laptop".parse().unwrap(), "anonymous:phone".parse().unwrap());
    world.order(3 * MINUTE, &people::Order::Unmerge(ends.0, ends.1));
    world.pass(DAY);
    assert_eq!(world.firings(), [("cart_abandoned".to_owned(), HOUR)]);
}

#[test]
fn whoever_a_proof_has_parted_is_looked_at_alone() {
    for (proven, claimed_before) in [(false, true), (true, false), (true, true)] {
        let mut world = World::new(
            "[features.n]\non = 'A'\ncount = true\n\
             [rules.hi]\non = 'B'\nif = 'features.n > 0'\nthen = [{ emit = 'C' }]\n",
        );
        for device in ["laptop", "phone"] {
            let claim = json!({"type": "identify", "anonymousId": device, "userId": "thief"});
            world.at(0, &claim);
        }
        let hers = json!({"type": "identify", "anonymousId": "phone", "userId": "u-1"});
        if claimed_before {
            world.at(0, &hers);
        }
        world.at(MINUTE, &seen("A", "phone", &json!({})));
        world.at(2 * MINUTE, &seen("B", "laptop", &json!({})));
        world.record(3 * MINUTE, &hers, |record| {
            record.flags.identity = match proven {
                true => Identity::Proven,
                false => Identity::Unasked,
            };
        });
        world.at(4 * MINUTE, &seen("B", "laptop", &json!({})));
        assert_eq!(world.firings().len(), if proven { 1 } else { 2 });
        world.at(5 * MINUTE, &seen("B", "phone", &json!({})));
        assert_eq!(world.firings().len(), if proven { 2 } else { 3 });
    }
}

#[test]
fn a_rule_that_is_new_acts_on_what_time_brings_although_the_log_stands_still() {
    // In force since an hour after the last event.
    let since = (Offset::from_number(1), BEGIN_MS + HOUR);
    let rules = format!(
        "{CART}[features.added]\non = 'Product Added'\nlast = 'event.time'\n\
        [scores.gone]\nterms = {{ gap = 'days_since(features.added)' }}\n\
        [rules.gone]\ncrosses = {{ score = 'gone', above = 1.0 }}\n\
        [rules.soon]\non = 'Product Added'\nwithout = {{ event = 'B', within = '30m' }}\n\
        [rules.drop]\non = 'Product Added'\npending = 'drop'\nwithout = {{ event = 'B', within = '2h' }}\n\
        [rules.wait]\non = 'Product Added'\nwithout = {{ event = 'B', within = '2h' }}\n"
    );
    let names = ["cart_abandoned", "gone", "soon", "drop", "wait"];
    let in_force = names.iter().map(|name| (((*name).to_owned(), 1), since)).collect();
    let mut world = World::since(&rules, Arc::new(in_force));
    world.at(0, &track("Product Added", "u-1", &cart("a")));
    world.pass(3 * DAY);
    let before = Some("before the rule came into force");
    let held: BTreeMap<_, _> =
        world.fired().iter().map(|it| (it.rule.clone(), it.held.clone())).collect();
    let held = |rule: &str| held[rule].as_deref();
    assert_eq!((held("soon"), held("drop")), (before, before));
    assert_eq!((held("wait"), held("gone")), (None, None));
}

#[test]
fn a_renewal_is_told_of_a_week_before_the_time_that_the_event_names() {
    let mut world = World::new(
        "[rules.renewal]\non = 'Subscription Renewed'\nat = 'event.properties.until'\nbefore = '7d'\n",
    );
    let until = Timestamp::from_unix_ms(BEGIN_MS + 30 * DAY).to_string();
    world.at(0, &track("Subscription Renewed", "u-1", &json!({ "until": until })));
    world.at(DAY, &track("Subscription Renewed", "u-2", &json!({ "until": "never" })));
    world.pass(40 * DAY);
    assert_eq!(world.firings(), [("renewal".to_owned(), 23 * DAY)]);
}

#[test]
fn what_is_not_so_any_more_when_the_timer_rings_does_not_fire() {
    let rules = "[features.until]\non = 'Renewed'\nlast = 'event.properties.until'\n[rules.renewal]\non = 'Renewed'\n\
        at = 'event.properties.until'\nbefore = '1d'\nstill = 'features.until == event.properties.until'\n";
    let mut world = World::new(rules);
    let until = |ms: i64| json!({ "until": Timestamp::from_unix_ms(BEGIN_MS + ms).to_string() });
    world.at(0, &track("Renewed", "u-1", &until(10 * DAY)));
    world.at(DAY, &track("Renewed", "u-1", &until(20 * DAY)));
    world.pass(30 * DAY);
    assert_eq!(world.firings(), [("renewal".to_owned(), 19 * DAY)]);
    let error = set("[rules.a]\non = 'A'\nstill = 'true'\n").map(drop).unwrap_err();
    assert!(error.to_string().contains("`still` is asked when a timer rings"), "{error}");
}
