//! What is said of a key that nobody knows, or that stands twice: first what helps most.

use super::*;

#[test]
fn the_key_that_was_meant_comes_before_all_that_there_are() {
    for (text, expected) in [
        ("[rules.a]\nonn = 'A'", "2: unknown key `onn`; did you mean `on`? Expected one of `"),
        (
            "[scores.s]\nsquash = 'clmp'\nterms = { a = '1.0' }",
            "2: unknown word `clmp`; did you mean `clamp`? Expected one of `none`, `logistic`, `clamp`",
        ),
        (
            "[features.reports]\non = 'A'\ncount = true\n[features.y]\non = 'A'\ncount = true\n[rules.a]\non = 'A'\nif = 'features.report > 1'",
            "9: `if`: unknown feature `report`; did you mean `reports`? Expected one of `reports`, `y`",
        ),
        (
            "[rules.a]\non = 'A'\nif = 'persn.id == \"x\"'",
            "3: `if`: the variable `persn` is not known; did you mean `person`? There is `",
        ),
        // Nothing like it.
        ("[rules.a]\nzebra = 'A'", "2: unknown key `zebra`, expected one of `"),
    ] {
        let said = set(text).map(drop).unwrap_err().to_string();
        assert!(said.starts_with(&format!("rules.toml:{expected}")), "{said}");
    }
}

#[test]
fn a_key_that_stands_twice_is_named_with_the_line_of_the_first() {
    for (text, expected) in [
        (
            "[rules.a]\non = 'A'\nthen = []\non = 'B'",
            "4: duplicate key `on`: it stands in line 2 already",
        ),
        (
            "# Two.\n[rules.a]\non = 'A'\nthen = []\n[rules.a]\non = 'B'",
            "5: duplicate key `a`: it stands in line 2 already",
        ),
    ] {
        let said = set(text).map(drop).unwrap_err().to_string();
        assert_eq!(said, format!("rules.toml:{expected}"));
    }
}
