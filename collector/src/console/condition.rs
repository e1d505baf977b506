//! A condition of a rule for who does not write rules: `features.orders == 0` as `orders is 0`.
//! Promises words only where they say just what is written, and nothing otherwise: then the condition is shown as it is.
//! Deliberately knows a few plain shapes, comparisons joined by `&&`, and no CEL.

/// In words; `None` where it is more than a few plain comparisons.
pub(super) fn in_words(text: &str) -> Option<String> {
    let said: Option<Vec<_>> = text.split("&&").map(|one| comparison(one.trim())).collect();
    Some(said?.join(" and "))
}

/// The signs, longest first, and what they say of a number or a text.
const SIGNS: [(&str, &str); 6] = [
    ("==", "is"),
    ("!=", "is not"),
    (">=", "is at least"),
    ("<=", "is at most"),
    (">", "is more than"),
    ("<", "is less than"),
];

fn comparison(text: &str) -> Option<String> {
    let sign = SIGNS.iter().find(|(sign, _)| text.contains(sign));
    let Some((sign, words)) = sign else {
        return match text.strip_prefix('!') {
            Some(text) => Some(format!("{} is false", named(text)?)),
            None => Some(format!("{} is true", named(text)?)),
        };
    };
    let (left, right) = text.split_once(sign)?;
    let (left, right) = (named(left.trim())?, right.trim());
    match (*sign, right) {
        ("==", "null") => Some(format!("{left} is not known")),
        ("!=", "null") => Some(format!("{left} is known")),
        _ => Some(format!("{left} {words} {}", value(right).or_else(|| named(right))?)),
    }
}

/// A number, a text or a truth value.
fn value(text: &str) -> Option<String> {
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then(|| number.to_string());
    }
    match text {
        "true" | "false" => return Some(text.to_owned()),
        _ => {}
    }
    let quote = text.chars().next().filter(|it| ['"', '\''].contains(it))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let is_plain = !inner.contains([quote, '\\']);
    is_plain.then(|| format!("“{inner}”"))
}

/// Something that is looked at.
fn named(text: &str) -> Option<String> {
    match text {
        "local_hour()" => return Some("the hour where they are".to_owned()),
        "local_weekday()" => return Some("the weekday where they are".to_owned()),
        "event_hour()" => return Some("the hour where it happened".to_owned()),
        "event_weekday()" => return Some("the weekday where it happened".to_owned()),
        "event.trust" => return Some("the source’s trust".to_owned()),
        _ => {}
    }
    if let Some((call, of)) = text.split_once('(') {
        let (unit, way) = call.split_once('_')?;
        let way = match (unit, way) {
            ("days" | "hours" | "minutes", "since" | "until") => way,
            _ => return None,
        };
        return Some(format!("{unit} {way} {}", named(of.strip_suffix(')')?)?));
    }
    let (of, name) = text.split_once('.')?;
    let (of, name) = match (of, name.strip_prefix("properties.")) {
        ("event", Some(name)) => ("", name),
        ("trigger", Some(name)) => ("the first event’s ", name),
        ("event", None) => ("the event’s ", name),
        ("features" | "traits", _) => ("", name),
        ("scores", _) => ("the score ", name),
        ("person", _) => ("the person’s ", name),
        ("account", _) => ("the account’s ", name),
        _ => return None,
    };
    let is_name = |name: &str| {
        let mut letters = name.bytes();
        letters.next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_')
            && letters.all(|it| it.is_ascii_alphanumeric() || it == b'_')
    };
    is_name(name).then(|| format!("{of}{}", name.replace('_', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_comparisons_are_said_in_words() {
        for (text, words) in [
            ("features.orders == 0", "orders is 0"),
            ("event.properties.amount > 500.0", "amount is more than 500"),
            (
                "event.properties.amount > features.largest_before",
                "amount is more than largest before",
            ),
            (
                "local_hour() >= 8 && local_hour() < 20",
                "the hour where they are is at least 8 and the hour where they are is less than 20",
            ),
            ("days_since(features.last_seen) >= 7.0", "days since last seen is at least 7"),
            ("features.first == null", "first is not known"),
            ("traits.plan != 'pro'", "plan is not “pro”"),
            ("event.trust == \"server\"", "the source’s trust is “server”"),
            ("traits.paying", "paying is true"),
            ("!person.bot", "the person’s bot is false"),
            ("traits.paying == true", "paying is true"),
            ("scores.risk <= -0.5", "the score risk is at most -0.5"),
        ] {
            assert_eq!(in_words(text).as_deref(), Some(words), "{text}");
        }
    }

    #[test]
    fn what_is_more_than_that_is_left_as_it_is() {
        for text in [
            "features.a == 1 || features.b == 2",
            "!(event.properties.country in features.countries)",
            "event.properties.name == 'a && b'",
            "features.a + 1 > 2",
            "size(features.countries) > 1",
            "event.properties.tags[0] == 'x'",
            "features.a > 1 ? true : false",
            "'a' == 'a'",
            "traits.name == 'it\\'s'",
            "event.context.page.path == '/x'",
            "",
        ] {
            assert_eq!(in_words(text), None, "{text}");
        }
    }
}
