//! What is known of people crosses a line, though no feature does: a trait that is said anew, how long ago they were seen.

use super::*;

fn is(traits: &Value) -> Value {
    json!({"type": "identify", "userId": "u-1", "traits": traits})
}

#[test]
fn a_trait_that_moves_a_score_over_its_line_fires_and_fires_again_when_it_was_back() {
    let mut world = World::new(
        r#"
[scores.size]
terms = { seats = "double(traits.seats)" }
[scores.worth]
terms = { size = "scores.size * 100.0" }
[rules.large]
crosses = { score = "worth", above = 1000 }
then = []
"#,
    );
    for (hour, seats) in [(0, 3), (1, 12), (2, 13), (3, 4), (4, 20)] {
        world.at(hour * HOUR, &is(&json!({ "seats": seats })));
    }
    let large = |hour| ("large".to_owned(), hour * HOUR);
    assert_eq!(world.firings(), [large(1), large(4)]);
}

#[test]
fn a_time_that_a_trait_says_comes_near_by_itself() {
    let mut world = World::new(
        r#"
[scores.near]
terms = { end = "days_until(traits.trial_ends) < 3.0 ? 1.0 : 0.0" }
[rules.ends]
crosses = { score = "near", above = 0.5 }
then = []
"#,
    );
    let end = Timestamp::from_unix_ms(BEGIN_MS + 14 * DAY).to_string();
    world.at(0, &is(&json!({ "trial_ends": end })));
    world.pass(10 * DAY);
    assert_eq!(world.firings(), []);
    world.pass(13 * DAY);
    let firings = world.firings();
    assert_eq!(firings.len(), 1, "{firings:?}");
    assert!((11 * DAY..11 * DAY + 2000).contains(&firings[0].1), "{firings:?}");
}

#[test]
fn who_was_not_seen_for_long_is_found_and_what_is_said_to_them_is_not_seeing_them() {
    let mut world = World::new(
        r#"
[scores.quiet]
terms = { days = "days_since(person.last_seen)" }
[rules.winback]
crosses = { score = "quiet", above = 7 }
then = [{ emit = "Won Back" }]
"#,
    );
    world.at(0, &did("Opened", "u-1"));
    world.at(DAY, &did("Closed", "u-1"));
    // What the collector says of them, as that they were written to.
    world.record(5 * DAY, &did("In-App Message", "u-1"), |record| {
        record.source = people::SOURCE.parse().unwrap();
        record.trust = Trust::Server;
        record.origin = Origin::Derived { by: "other".into(), depth: 1 };
    });
    world.pass(30 * DAY);
    let firings = world.firings();
    assert_eq!(firings.len(), 1, "{firings:?}");
    assert!((8 * DAY..8 * DAY + 2000).contains(&firings[0].1), "{firings:?}");
    world.at(31 * DAY, &did("Opened", "u-1"));
    world.pass(60 * DAY);
    assert_eq!(world.firings().len(), 2, "they were back, and are gone again");
}
