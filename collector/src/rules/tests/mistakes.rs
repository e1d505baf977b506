//! Rule files with mistakes in them: each is told with its line, all at once, and none is told twice.

use super::*;

#[test]
fn each_mistake_is_named_with_its_line() {
    let ok = "[features.n]\non = 'A'\ncount = true\n";
    for (text, expected) in [
        ("[rules.a]\nonn = 'A'", "rules.toml:2: unknown key `onn`"),
        ("[rules.A]\non = 'A'", "rules.toml:1: `A` is no name of a rule"),
        ("[rules.operator]\non = 'A'", "rules.toml:1: `operator` is the name"),
        ("[rules.a]\n", "rules.toml:1: the key `on` is missing"),
        (
            "[rules.a]\non = 'A'\nwithout = { event = 'B', within = '1h' }\ndecision = 'stop'",
            "rules.toml:1: a `decision` is made at once",
        ),
        (
            "[rules.a]\non = 'A'\nlimit = { times = 0, within = '1d' }",
            "rules.toml:3: `limit`: with `times = 0` the rule never fires",
        ),
        (
            "[rules.a]\non = 'A'\nif = 'features.x > 1'",
            "rules.toml:3: `if`: there is no feature `x`",
        ),
        (
            "[features.n]\non = 'A'\ncount = true\n[rules.a]\non = 'A'\nif = 'features.m > 1'",
            "rules.toml:6: `if`: unknown feature `m`",
        ),
        (
            "[features.n]\non = 'A'\ncount = true\n[rules.a]\non = 'A'\nif = 'features.n + 1'",
            "rules.toml:6: `if`: expected true or false, and this is a whole number",
        ),
        (
            "[rules.a]\non = 'A'\nif = \"1 + 'a' == 2\"",
            "rules.toml:3: `if`: in `1 + 'a'`: `+` does not work",
        ),
        (
            "[rules.a]\non = 'A'\nif = 'person.nmae == 1'",
            "rules.toml:3: `if`: unknown member of `person`",
        ),
        ("[rules.a]\non = 'A'\nif = 'features.n('", "rules.toml:3: `if`: is no CEL"),
        (
            "[rules.a]\non = 'A'\nif = 'traits == 1'",
            "rules.toml:3: `if`: `traits` is looked at by name",
        ),
        ("[features.a]\non = 'A'", "rules.toml:1: a feature has one of"),
        ("[features.a]\non = 'A'\nsum = \"'x'\"", "rules.toml:3: `sum`: expected a number"),
        (
            "[features.a]\non = 'A'\nlast = 'event.time'\nwindow = '1d'",
            "rules.toml:1: the first and the last",
        ),
        (
            "[features.a]\non = 'A'\ncount = true\nwindow = '1y'",
            "rules.toml:4: `1y` is no length of time",
        ),
        ("[rules.a]\ncrosses = { score = 'x', above = 1 }", "rules.toml:2: there is no score `x`"),
        (
            "[scores.s]\nterms = { a = '1.0' }\n[rules.a]\ncrosses = { score = 's', above = 1, rearm_below = 2 }",
            "rules.toml:4: it is armed again",
        ),
        (
            "[features.n]\non = 'A'\ncount = true\n[rules.a]\nfrom = 'server'\ncrosses = { feature = 'n', above = 1 }",
            "rules.toml:4: `from` does not go with `crosses`",
        ),
        (
            "[features.n]\non = 'A'\ncount = true\n[rules.a]\nlate = 'skip'\ncrosses = { feature = 'n', above = 1 }",
            "rules.toml:4: `late = \"skip\"` does not go with `crosses`",
        ),
        (
            "[scores.s]\nterms = { a = 'event_hour() < 5' }",
            "rules.toml:2: `terms.a`: `event_hour` is of an event",
        ),
        (
            "[features.a]\non = 'A'\ndwell = '30m'\ncount = true",
            "rules.toml:1: a feature has one of",
        ),
        ("[scores.s]\nmodel = 'm'", "rules.toml:1: `model` needs `on`"),
        ("[scores.s]\nmodel = 'm'\non = 'A'", "rules.toml:1: `model` needs a `fallback`"),
        (
            "[scores.s]\nmodel = 'm'\non = 'A'\nfallback = nan\ninputs = { a = '1' }",
            "rules.toml:1: `model` needs a `fallback`",
        ),
        (
            "[scores.s]\nmodel = 'm'\non = 'A'\nfallback = 1",
            "rules.toml:1: `model` needs 1 to 32 `inputs`",
        ),
        (
            "[scores.s]\nmodel = 'm'\non = 'A'\nfallback = 1\ninputs = { a = 'event.x' }",
            "rules.toml:5: `inputs.a`: ",
        ),
        (
            "[scores.s]\nmodel = 'm'\non = 'A'\nfallback = 1\ninputs = { a = 'scores.s' }",
            "rules.toml:1: the score `s` looks at itself",
        ),
        (
            "[scores.s]\nmodel = 'm'\nterms = { a = '1.0' }",
            "rules.toml:1: `terms` and `squash` do not go",
        ),
        (
            "[scores.s]\nmodel = 'm'\nper = 'account'\non = 'A'\nfallback = 1\ninputs = { a = 'traits.x' }",
            "rules.toml:6: `inputs.a`: `traits` is of a person, and this is about an account",
        ),
        (
            "[scores.s]\nterms = { a = '1.0' }\nfallback = 1",
            "rules.toml:1: `fallback` goes with `model`",
        ),
        (
            "[rules.a]\non = 'A'\nthen = [{ emit = 'Score Answered' }]",
            "rules.toml:3: `Score Answered` is what the collector",
        ),
        (
            "[features.a]\non = 'A'\ncount = true\nago = '1d'",
            "rules.toml:4: `ago` goes with `window`",
        ),
        (
            "[features.a]\non = 'A'\nwindow = '1d'\nago = '1d'\ndistinct = 'event.time'",
            "rules.toml:4: `ago` goes with `count`",
        ),
        (
            "[features.a]\non = 'A'\ncount = true\nwindow = '1d'\nago = '0d'",
            "rules.toml:5: `0d` is no length of time",
        ),
        ("[scores.s]\nterms = { a = 'scores.s' }", "rules.toml:1: the score `s` looks at itself"),
        (
            "[rules.a]\non = 'A'\nthen = [{ emit = 'B', set = {a = 1} }]",
            "rules.toml:3: each action of `then`",
        ),
        (
            "[rules.a]\non = 'A'\nthen = [{ slack = 's' }]",
            "rules.toml:3: `slack` needs a `template`",
        ),
        ("[rules.a]\non = 'A'\nthen = [{ slakc = 's' }]", "rules.toml:3: unknown key `slakc`"),
        (
            "[rules.a]\non = 'A'\nat = 'event.x'\nwithout = { event = 'B', within = '1h' }",
            "rules.toml:1: `without` and `at`",
        ),
        ("[rules.a]\non = 'A'\npercent = 101", "rules.toml:3: `percent`"),
        (
            "[rules.a]\non = 'A'\nif = 'event.nmae == 1'",
            "rules.toml:3: `if`: unknown member of `event` `nmae`",
        ),
        (
            "[rules.a]\non = 'A'\nthen = [{ emit = 'Action Done' }]",
            "rules.toml:3: `Action Done` is what the collector",
        ),
        (
            "[features.n]\non = 'A'\ncount = true\n[rules.a]\ncrosses = { feature = 'n', above = nan }",
            "rules.toml:5: a line is a number",
        ),
        (
            "[quiet_hours]\nfrom = '08:00'\nto = '08:00'",
            "rules.toml:1: `from` and `to` are the same",
        ),
        (
            "[features.n]\non = 'A'\ncount = true\nper = 'account'\n[rules.a]\non = 'A'\nif = 'features.n > 1'",
            "rules.toml:7: `if`: the feature `n` is of an account",
        ),
    ] {
        let error = set(text).map(drop).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}");
        assert_eq!(error.lines().count(), 1, "one mistake is one error: {error}");
    }
    set(ok).unwrap();
}

fn all_of(files: &[(&str, &str)]) -> String {
    let source = |(name, text): &(&str, &str)| Source::new(*name, *text);
    let files: Vec<_> = files.iter().map(source).collect();
    RuleSet::parse(&files).map(drop).unwrap_err().to_string()
}

#[test]
fn all_mistakes_of_all_files_are_told_by_file_and_line_and_none_brings_another() {
    let b = "[features.n]
on = 'A'
cuont = true
window = 'long'
[scores.s]
terms = { a = 'features.n > 3 ? 1.0 : 0.0', b = 'features.m', c = '1 +' }
[scores.t]
squash = 'sigmoid'
[rules.a]
on = 'A'
if = ['features.n > 1', 'scores.s + 1.0', 'persn.id == 1']
then = [{ slakc = 'x' }]
[rules.b]
crosses = { score = 's', above = 0.5 }
if = 'features.k > 1'
[rules.c]
crosses = { score = 't', above = 0.5 }
still = 'true'
percent = 101
";
    let a = "[rules.d]\non = 'A'\ncolour = 'red'\nthen = [{ emit = 'B', templat = 'x' }]\n";
    let said = all_of(&[("b.toml", b), ("a.toml", a)]);
    let expected = [
        "a.toml:3: unknown key `colour`",
        "a.toml:4: unknown key `templat`",
        "b.toml:3: unknown key `cuont`",
        "b.toml:4: `long` is no length of time",
        "b.toml:6: `terms.b`: unknown feature `m`",
        "b.toml:6: `terms.c`: ",
        "b.toml:8: unknown word `sigmoid`",
        "b.toml:11: `if`: expected true or false, and this is a number with a fraction",
        "b.toml:11: `if`: the variable `persn` is not known",
        "b.toml:12: unknown key `slakc`",
        "b.toml:15: `if`: unknown feature `k`",
        "b.toml:16: `still` is asked",
        "b.toml:19: `percent` is 0 to 100",
    ];
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    for (line, expected) in said.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn what_lacks_a_key_is_set_aside_and_the_rest_of_its_rule_is_judged() {
    let said = all_of(&[(
        "a.toml",
        "[rules.a]\non = 'A'\nlimit = { times = 'x', within = '1d' }\nif = 'event.x +'\n\
         without = { event = 'B' }\nthen = [{ sms = 'x' }]\n",
    )]);
    let expected = [
        "a.toml:3: expected a whole number",
        "a.toml:4: `if`: is no CEL",
        "a.toml:5: the key `within` is missing",
        "a.toml:6: `sms` needs a `template`",
    ];
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    for (line, expected) in said.lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
}

#[test]
fn of_a_text_that_is_no_toml_the_first_place_is_told_and_its_names_are_known_to_others() {
    let said = all_of(&[
        ("a.toml", "[features.n]\non = 'A\ncount = true\n[rules.x]\non = 'A'\ncolour = 1\n"),
        ("b.toml", "[rules.y]\non = 'A'\nif = 'features.n > 1 && features.k > 1'\n"),
    ]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("a.toml:2: "), "{said}");
    assert!(
        lines[1].starts_with("b.toml:3: `if`: unknown feature `k`, expected one of `n`"),
        "{said}"
    );
}

#[test]
fn no_more_than_anyone_mends_at_once_is_listed() {
    let text: String = (0..50).map(|n| format!("[rules.r{n}]\nonn = 'A'\n")).collect();
    let said = all_of(&[("a.toml", &text)]);
    assert_eq!(said.lines().count(), 21);
    assert!(said.ends_with("\n… and 30 more"), "{said}");
}

#[test]
fn a_name_that_is_much_like_another_is_asked_about() {
    for (text, meant) in [
        ("[rules.a]\nonn = 'A'", "did you mean `on`?"),
        (
            "[features.core_last]\non = 'A'\ncount = true\n[rules.a]\non = 'A'\nif = 'features.core_lst > 1'",
            "did you mean `core_last`?",
        ),
        (
            "[scores.churn_risk]\nterms = { a = '1.0' }\n[rules.a]\ncrosses = { score = 'churn_risc', above = 1 }",
            "did you mean `churn_risk`?",
        ),
        ("[rules.a]\non = 'A'\nif = 'event.propertis.x == 1'", "did you mean `properties`?"),
    ] {
        let error = set(text).map(drop).unwrap_err().to_string();
        assert!(error.contains(meant), "{error}");
    }
}

#[test]
fn what_is_out_of_reach_where_it_is_asked_is_refused_and_said_where_it_is() {
    let account = "[features.n]\non = 'A'\ncount = true\nper = 'account'\n";
    for (text, part) in [
        (
            "[rules.a]\non = 'A'\nif = 'account.plan == \"pro\"'",
            "`account` is there where it is about accounts",
        ),
        (
            "[rules.a]\non = 'A'\nper = 'account'\nif = 'account.traits.plan == 1'",
            "right below it: `account.plan`",
        ),
        (
            "[scores.s]\nper = 'account'\nterms = { a = 'person.events > 3' }",
            "`person` is of a person",
        ),
        ("[scores.s]\nper = 'account'\nterms = { a = 'traits.x == 1' }", "its own are `account.x`"),
        ("[scores.s]\nper = 'account'\nterms = { a = 'local_hour() > 3' }", "write `hour_in("),
        (
            &format!(
                "{account}[rules.a]\ncrosses = {{ feature = 'n', above = 1 }}\nif = 'traits.x == 1'"
            ),
            "`traits` is of a person",
        ),
        (
            &format!(
                "{account}[rules.a]\ncrosses = {{ feature = 'n', above = 1 }}\nif = 'event.x == 1'"
            ),
            "no one event sets it off",
        ),
        ("[rules.a]\non = 'A'\nif = 'person.traits.plan == 1'", "a person's traits are `traits.x`"),
        ("[rules.a]\non = 'A'\nif = 'person.plan == 1'", "a trait is `traits.plan`"),
        ("[rules.a]\non = 'A'\nif = 'trigger.x == 1'", "in `without.match` alone"),
        ("[features.n]\non = 'A'\ncount = true\nif = 'traits.plan == 1'", "of its events alone"),
        (
            "[rules.a]\non = 'A'\nif = 'local_hour(1, 2) > 3'",
            "`local_hour` is given nothing, and not 2",
        ),
        ("[rules.a]\non = 'A'\nif = 'local_huor() > 3'", "did you mean `local_hour`?"),
        ("[scores.s]\nterms = { a = 'person.country' }", "expected a number, and this is a text"),
        (
            "[scores.s]\nterms = { a = 'person.events > 3 ? 1.0 : \"much\"' }",
            "expected a number, and `\"much\"` is a text",
        ),
        ("[scores.s]\nterms = { a = 'person.events * 0.5' }", "do not mix in CEL"),
        ("[rules.a]\ncrosses = { score = 's', above = 'much' }", "expected a number, found a text"),
        (
            "[features.l]\non = 'A'\ndistinct = 'event.time'\n[rules.a]\ncrosses = { feature = 'l', above = 1 }",
            "a list crosses no line",
        ),
    ] {
        let error = set(text).map(drop).unwrap_err().to_string();
        assert!(error.contains(part), "{error}\n{part}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for text in [
        "[rules.a]\non = 'A'\nper = 'account'\nif = ['person.id == account.main_user', 'traits.x == account.y', 'local_hour() > 3']",
        "[scores.s]\nper = 'account'\nterms = { a = 'account.seats > 3', b = 'hour_in(\"Europe/Paris\") > 3' }",
        "[scores.s]\nterms = { a = 'traits.x == null', b = 'person.country == null ? 1.0 : 0.0', c = 'local_hour()' }",
    ] {
        set(text).unwrap();
    }
}
