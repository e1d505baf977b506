//! What is said of a mistake is what mends it.

use super::*;

fn wrong(text: &str) -> String {
    set(text).unwrap_err().to_string()
}

#[test]
fn a_mistake_names_what_was_meant() {
    let if_ = |condition: &str| format!("[rules.a]\non = 'A'\nif = '{condition}'\nthen = []\n");
    for (text, said) in [
        (if_("days_ago(event.properties.at) > 3.0"), "did you mean `days_since`?"),
        (if_("hours_ago(event.properties.at) > 3.0"), "did you mean `hours_since`?"),
        (if_("event.amount > 3"), "; a property is `event.properties.amount`"),
        (if_("event.propertis > 3"), "did you mean `properties`?"),
        (if_("properties.amount > 3"), "; an event's properties are `event.properties.x`"),
        (
            "[rules.a]\non = 'A'\nthen = { emit = 'B' }\n".to_owned(),
            "expected a list of actions, as in `then = [{ emit = \"…\" }]`, found a table",
        ),
    ] {
        let found = wrong(&text);
        assert!(found.contains(said) && found.lines().count() == 1, "{text}: {found}");
    }
    set("[rules.a]\non = 'A'\nthen = [{ emit = 'B' }]\n[rules.b]\non = 'A'\n").unwrap();
}

#[test]
fn features_of_accounts_are_asked_for_with_per() {
    let text = "[features.n]\non = 'A'\ncount = true\n[features.seats]\non = 'A'\ncount = true\nper = 'account'\n";
    let asked = |per, feature: &str| Asked {
        features: vec![feature.to_owned()],
        on: vec!["A".to_owned()],
        per,
        ..Asked::default()
    };
    let error = |per, feature: &str| {
        let seen = super::super::trial::Seen::Here(BTreeMap::new());
        let nobody: people::Gone = Arc::new(|_, _| false);
        let limits = (people::Limits::default(), nobody);
        let read =
            super::super::rows::Rows::new(set(text).unwrap(), limits, &asked(per, feature), seen);
        read.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let said = error(Per::Person, "seats");
    assert_eq!(said, "the feature `seats` is of an account: add `--per account`");
    let said = error(Per::Account, "n");
    assert_eq!(said, "the feature `n` is of a person: leave out `--per account`");
    assert!(error(Per::Person, "none").starts_with("unknown feature `none`"));
    assert_eq!(error(Per::Person, "n"), "");
}
