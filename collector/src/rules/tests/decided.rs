//! What an event comes to for who waits for a decision, with what models answer because of it.

use super::*;

const RULES: &str = "[scores.risk]\nmodel = 'm'\non = 'A'\ninputs = { n = '1' }\nfallback = 0.0\n\
    [rules.noted]\non = 'A'\ndecision = 'note'\n\
    [rules.block]\non = 'Score Answered'\nif = 'event.properties.value > 0.5'\ndecision = 'block'\n\
    [rules.dry]\non = 'Score Answered'\ndry_run = true\ndecision = 'never'\n";

/// What is wrong with a test of these events.
fn wrong(events: &str, expect: &str) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let fixture = format!("[[test]]\nname = 'x'\nevents = [{events}]\nexpect = [{expect}]\n");
    std::fs::write(folder.path().join("a.test.toml"), fixture).unwrap();
    let set = Arc::new(set(RULES).unwrap());
    let tested = test(&set, folder.path(), &|_, _, _| Ok(None), None);
    tested.map(|(mut tested, _)| tested.remove(0).wrong).map_err(|error| error.to_string())
}

#[test]
fn a_fixture_says_what_is_decided_with_the_answer_to_just_this_event() {
    let a = |at: &str, decision: &str| {
        format!(
            "{{ at = '{at}', track = 'A', user = 'u-1', trusted = true, decision = '{decision}' }}"
        )
    };
    let answered = |at: &str, user: &str, value: f64| {
        format!("{{ at = '{at}', answered = {{ risk = {value:?} }}, user = '{user}' }}")
    };
    let (noted, blocked) = ("{ rule = 'noted' }", "{ rule = 'block' }");
    let dry = "{ rule = 'dry', held = 'dry run' }";
    // The first event is answered, the second is not.
    let events = [a("0s", "block"), answered("1s", "u-1", 0.9), a("1m", "note")].join(", ");
    let expect = [noted, noted, blocked, dry].join(", ");
    assert_eq!(wrong(&events, &expect), Ok(Vec::new()));
    // What is said of somebody else is no answer to it, and of a low score nothing comes.
    let events = [a("0s", "block"), answered("1s", "u-2", 0.9)].join(", ");
    let told = "decided \"note\" about the event at 0s, and \"block\" was expected".to_owned();
    assert_eq!(wrong(&events, &[noted, blocked, dry].join(", ")), Ok(vec![told.clone()]));
    let events = [a("0s", "block"), answered("1s", "u-1", 0.1)].join(", ");
    assert_eq!(wrong(&events, &[noted, dry].join(", ")), Ok(vec![told]));
    let error = wrong("{ at = '0s', track = 'A', user = 'u-1', decision = 'note' }", noted);
    assert!(error.as_ref().is_err_and(|it| it.contains("`trusted = true`")), "{error:?}");
}
