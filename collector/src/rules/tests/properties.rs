//! Promises for any story: what is found does not depend on when the rules look, nor on restarts.

use proptest::prelude::*;

use super::*;

/// One thing that may happen.
#[derive(Clone, Debug)]
enum Deed {
    Track(&'static str, u8),
    Identify(u8, u8),
    Merge(u8, u8),
    Unmerge(u8, u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    let names = prop_oneof![Just("Product Added"), Just("Order Completed"), Just("Report Built")];
    prop_oneof![
        5 => (names, 0..4_u8).prop_map(|(name, who)| Deed::Track(name, who)),
        1 => (0..4_u8, 0..3_u8).prop_map(|(device, user)| Deed::Identify(device, user)),
        1 => (0..4_u8, 0..4_u8).prop_map(|(a, b)| Deed::Merge(a, b)),
        1 => (0..4_u8, 0..4_u8).prop_map(|(a, b)| Deed::Unmerge(a, b)),
    ]
}

const ALL_KINDS: &str = r#"
[features.built]
on = "Report Built"
last = "event.time"
[features.adds]
on = "Product Added"
count = true
window = "2h"
[features.adds_before]
on = "Product Added"
count = true
window = "3h"
ago = "2h"
[features.there]
on = "*"
dwell = "30m"
window = "5h"
[rules.there]
crosses = { feature = "there", above = 3600, rearm_below = 1800 }
[scores.gone]
terms = { gap = "hours_since(features.built) / 5.0", adds = "double(features.adds)" }
[scores.fewer]
terms = { now = "-double(features.adds)", before = "double(features.adds_before)" }
[rules.fewer]
crosses = { score = "fewer", above = 0.5 }
[rules.gone]
crosses = { score = "gone", above = 1.5, rearm_below = 1.0 }
then = [{ emit = "Gone" }]
[rules.abandoned]
on = "Product Added"
without = { event = "Order Completed", within = "1h" }
then = [{ emit = "Abandoned" }]
[rules.keen]
on = "Product Added"
sequence = { times = 3, within = "5h" }
[rules.first_order]
on = "Order Completed"
if = "features.adds > 1"
[rules.known]
on = "*"
if = ["traits.plan == 'u-1'", "person.events > 3"]
"#;

/// Plays deeds, where `restart` says so beginning anew with nothing remembered; `ends` says whether each record is a transaction.
fn play(deeds: &[(u32, Deed)], ends: bool, restart: impl Fn(usize) -> bool) -> World {
    let mut world = World::new(ALL_KINDS);
    world.ends = ends;
    let mut now = 0;
    let device = |n: u8| format!("anonymous:d-{n}").parse().unwrap();
    for (at, (pause, deed)) in deeds.iter().enumerate() {
        now += i64::from(*pause) * MINUTE;
        match deed {
            Deed::Track(name, who) => {
                world.at(now, &seen(name, &format!("d-{who}"), &json!({})));
            }
            Deed::Identify(d, u) => {
                let user = format!("u-{u}");
                let event = json!({"type": "identify", "anonymousId": format!("d-{d}"), "userId": user, "traits": {"plan": user}});
                world.at(now, &event);
            }
            Deed::Merge(a, b) => world.order(now, &people::Order::Merge(device(*a), device(*b))),
            Deed::Unmerge(a, b) => {
                world.order(now, &people::Order::Unmerge(device(*a), device(*b)));
            }
        }
        if restart(at) {
            world.end();
            world.people.forget();
            world.rules.forget();
            // The clock goes on between two events, too.
            world.pass(now + MINUTE / 2);
        }
    }
    world.pass(now + 30 * DAY);
    world
}

/// When [`BASELINE`] fires for somebody who signed in at these times, in order, said by looking at every moment.
fn by_looking_always(signed_in: &[i64], tick: i64, end: i64) -> Vec<i64> {
    let (mut is_crossed, mut fired) = (false, Vec::new());
    for now in (0..=end).step_by(usize::try_from(tick).unwrap()) {
        let before = signed_in.iter().filter(|at| **at < now).count();
        let until = signed_in.iter().filter(|at| **at <= now).count();
        // As the moment comes, and after each event of it.
        for known in before..=until {
            let known = &signed_in[..known];
            let within = |from: i64, to: i64| {
                known.iter().filter(|at| now - from < **at && **at <= now - to).count()
            };
            let is_beyond = within(5 * HOUR, 2 * HOUR) > within(2 * HOUR, 0);
            if is_beyond && !is_crossed {
                fired.push(now);
            }
            is_crossed = is_beyond;
        }
    }
    fired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// On two devices of one person. Time alone is looked at ten minutes after an event at the soonest, so that nothing is sooner here.
    #[test]
    fn what_two_windows_come_to_is_found_at_the_moment_it_is_so(pauses in prop::collection::vec((0..20_i64, any::<bool>()), 1..20)) {
        const TICK: i64 = 20 * MINUTE;
        let mut world = World::new(BASELINE);
        for device in ["phone", "laptop"] {
            world.at(0, &json!({"type": "identify", "anonymousId": device, "userId": "u-1"}));
        }
        let (mut now, mut signed_in) = (0, Vec::new());
        for (pause, on_phone) in pauses {
            now += pause * TICK;
            signed_in.push(now);
            world.at(now, &seen("Signed In", if on_phone { "phone" } else { "laptop" }, &json!({})));
        }
        let end = now + 10 * HOUR;
        world.pass(end);
        let fired: Vec<i64> = world.firings().into_iter().map(|it| it.1).collect();
        prop_assert_eq!(fired, by_looking_always(&signed_in, TICK, end));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn restarts_and_looks_in_between_change_no_firing(
        deeds in prop::collection::vec((1..200_u32, deed()), 1..40),
        seed in any::<u64>(),
    ) {
        let once = play(&deeds, false, |_| false);
        let often = play(&deeds, true, |at| (seed >> (at % 64)) & 1 == 1);
        let told = |world: &World| {
            let why = |it: &Fired| (it.id.clone(), it.rule.clone(), it.at.clone(), it.why.get().to_owned());
            world.fired().iter().map(why).collect::<Vec<_>>()
        };
        prop_assert_eq!(told(&once), told(&often));
    }
}
