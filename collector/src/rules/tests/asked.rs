//! What people and files are told: why, firings, fixtures, a folder that cannot be read.

use super::*;

#[test]
fn a_fixture_says_what_a_model_has_answered_and_need_not_expect_that_it_was_asked() {
    let rules = "[scores.risk]\nmodel = 'm'\non = 'A'\ninputs = { n = '1' }\nfallback = 0.0\n\
        [rules.high]\ncrosses = { score = 'risk', above = 0.5 }\n";
    let fixture = "[[test]]\nname = 'high'\nevents = [{ at = '0s', track = 'A', user = 'u-1' }, \
        { at = '1m', answered = { risk = 0.9 }, user = 'u-1' }, { at = '2m', track = 'A', user = 'u-1' }]\n\
        expect = [{ rule = 'high', at = '1m', user = 'u-1' }]\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.test.toml"), fixture).unwrap();
    let set = Arc::new(set(rules).unwrap());
    let (tested, _) = test(&set, folder.path(), &|_, _, _| Ok(None), None).unwrap();
    assert_eq!((tested.len(), &tested[0].wrong), (1, &Vec::new()));
}

#[test]
fn why_says_what_the_event_said_what_was_waited_for_until_when_and_what_came() {
    let rules = "[rules.left]\non = 'Product Added'\nif = 'event.properties.price > 10.0 && event.trust != \"x\"'\n\
        without = { event = 'Order Completed', within = '1h', match = 'event.properties.cart_id == trigger.properties.cart_id' }\n";
    let mut world = World::new(rules);
    world.rules.watch();
    let added = json!({"cart_id": "a", "price": 12.5, "of": {"large": true}});
    let added = world.at(0, &track("Product Added", "u-1", &added));
    world.at(MINUTE, &track("Order Completed", "u-1", &cart("b")));
    world.pass(2 * HOUR);
    let looked = world.rules.take_looked();
    let [begun, ended] = &looked[..] else { panic!("{looked:?}") };
    let time = |ms: i64| Timestamp::from_unix_ms(BEGIN_MS + ms).to_string();
    for it in [begun, ended] {
        let of: Vec<_> = it.reasons[0].of.iter().map(|(name, value)| (&**name, value)).collect();
        let expected =
            [("event.properties.price", &json!(12.5)), ("event.trust", &json!("client"))];
        assert_eq!(of, expected);
        let waited = it.waited.as_ref().unwrap();
        assert_eq!(
            (&waited.what[..], &waited.until),
            (&["Order Completed".to_owned()][..], &time(HOUR))
        );
        assert_eq!(it.event, Some(added.to_string()));
    }
    assert_eq!((begun.outcome.as_str(), ended.outcome.as_str()), ("it waits", "it fired"));
    assert!(begun.waited.as_ref().unwrap().came.is_empty());
    let [came] = &ended.waited.as_ref().unwrap().came[..] else { panic!("{ended:?}") };
    assert_eq!((came.matches, &came.at), (false, &time(MINUTE)));
}

#[test]
fn what_is_no_file_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("a.toml")).unwrap();
    let error = RuleSet::read(folder.path()).map(drop).unwrap_err();
    assert!(error.to_string().ends_with(": is no file"), "{error}");
    let gone = RuleSet::read(&folder.path().join("gone")).map(drop).unwrap_err().to_string();
    assert!(gone.contains("/gone: cannot be read: No such file"), "{gone}");
}

#[test]
fn firings_of_somebody_and_of_one_rule_are_all_found() {
    let mut world = World::new("[rules.a]\non = 'A'\n[rules.b]\non = 'A'\n");
    for minute in 0..5 {
        world.at(minute * MINUTE, &did("A", "u-1"));
    }
    let node = people::node_of(&world.db, "u-1").unwrap().unwrap();
    let of = |rule: &str, limit| Listed {
        rule: Some(rule.to_owned()),
        nodes: Some(vec![node]),
        limit,
        ..Listed::default()
    };
    for rule in ["a", "b"] {
        assert_eq!(list(&world.db, &of(rule, 5)).unwrap().len(), 5, "{rule}");
        assert_eq!(list(&world.db, &of(rule, 3)).unwrap().len(), 3, "{rule}");
    }
}
