//! What features of nothing come to.

use super::*;

const RULES: &str = "[features.owes]\non = 'Bill'\nsum = 'event.properties.amount'\nwindow = '30d'\n\
    [features.owed]\non = 'Bill'\nsum = 'event.properties.amount'\n\
    [features.least]\non = 'Bill'\nmin = 'event.properties.amount'\n\
    [features.last]\non = 'Bill'\nlast = 'event.properties.amount'\n\
    [scores.debt.terms]\nowes = '-features.owes'\n\
    [rules.told]\non = 'A'\nif = ['features.owes == 0.0', 'features.owed == 0.0', 'scores.debt == 0.0', 'features.least != 1', 'features.last != 1']\nthen = []\n";

/// What was noted with a firing: templates are filled from it.
fn noted(world: &mut World) -> String {
    world.rules.watch();
    world.at(DAY, &json!({"type": "track", "event": "A", "userId": "u"}));
    let looked = world.rules.take_looked();
    assert_eq!(looked[0].outcome, "it fired", "{looked:?}");
    serde_json::to_string(&looked).unwrap()
}

#[test]
fn nothing_is_never_less_than_zero() {
    // Of somebody who has done nothing, and of somebody who was billed what JSON has as less than nothing.
    let mut world = World::new(RULES);
    let before = noted(&mut world);
    assert!(before.contains("\"features.owes\":0.0") && !before.contains("-0.0"), "{before}");
    let mut world = World::new(RULES);
    world.at(
        0,
        &json!({"type": "track", "event": "Bill", "userId": "u", "properties": {"amount": -0.0}}),
    );
    let after = noted(&mut world);
    assert!(after.contains("\"features.least\":0.0") && !after.contains("-0.0"), "{after}");
}
