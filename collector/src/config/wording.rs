//! What serde and the TOML parser say is wrong, in the words that a person who writes a configuration knows.
//! Promises to lose nothing that helps, and to repeat no text of the file but keys and words: a value may be a secret.
//! Deliberately knows no key: it is about "a nonzero u32", not about `burst`.

/// One line, in plain words.
pub(super) fn plain(message: &str) -> String {
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let message = message.as_str();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return format!("unknown key {rest}");
    }
    if let Some(rest) = message.strip_prefix("missing field ") {
        let (key, rest) = rest.split_once(": ").unwrap_or((rest, ""));
        let rest = if rest.is_empty() { String::new() } else { format!("; {rest}") };
        return format!("the key {key} is missing{rest}");
    }
    if let Some(key) = message.strip_prefix("duplicate field ") {
        // TOML itself refuses a key that is there twice; this is a key beside its plural.
        let one = key.trim_matches('`').trim_end_matches('s');
        return format!("`{one}` and `{one}s` are both set; use one of the two");
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        return format!("unknown word {rest}");
    }
    for kind in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(kind)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            return format!("expected {}, found {}", wanted(expected), there(found));
        }
    }
    if let Some(rest) = message.strip_prefix("invalid length ")
        && let Some((length, expected)) = rest.split_once(", expected ")
    {
        return format!("expected {}, found {length} of them", wanted(expected));
    }
    match message {
        // An address, a time or a name without quotes.
        "invalid float, expected nothing" | "invalid integer, expected nothing" => {
            "this is no number; a text stands in quotes".to_owned()
        }
        "wanted string or table" => "expected a word in quotes".to_owned(),
        other => other.to_owned(),
    }
}

/// What a place in the file has to hold, as Rust's types have it.
fn wanted(expected: &str) -> String {
    let unsigned = ["u8", "u16", "u32", "u64", "usize"];
    let one_of =
        |prefix: &str| unsigned.contains(&expected.strip_prefix(prefix).unwrap_or_default());
    if one_of("") {
        return "a whole number, 0 or more".to_owned();
    }
    if one_of("a nonzero ") {
        return "a whole number, 1 or more".to_owned();
    }
    let number = ["f32", "f64", "i8", "i16", "i32", "i64", "i128", "u128"];
    match expected {
        "f32" | "f64" => "a number".to_owned(),
        _ if number.contains(&expected) => "a whole number".to_owned(),
        "a string" | "string" => "a text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list, as in [\"a\", \"b\"]".to_owned(),
        "a map" => "a table".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("enum ") => "a word in quotes".to_owned(),
        _ => expected.to_owned(),
    }
}

/// What is in that place, without a text's content.
fn there(found: &str) -> String {
    if found.starts_with("string ") {
        return "a text".to_owned();
    }
    let known = [("boolean ", ""), ("integer ", "the number "), ("floating point ", "the number ")];
    for (prefix, word) in known {
        if let Some(value) = found.strip_prefix(prefix) {
            return format!("{word}{}", value.trim_matches('`'));
        }
    }
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_library_says_is_said_in_plain_words() {
        for (said, plainly) in [
            ("unknown field `a`, expected `b`", "unknown key `a`, expected `b`"),
            ("missing field `url`", "the key `url` is missing"),
            (
                "missing field `kind`: expected one of `a`",
                "the key `kind` is missing; expected one of `a`",
            ),
            (
                "unknown variant `xml`, expected `json` or `cloudevents`",
                "unknown word `xml`, expected `json` or `cloudevents`",
            ),
            (
                "invalid type: string \"s3cret, expected u8\", expected a boolean",
                "expected true or false, found a text",
            ),
            (
                "invalid type: integer `5`, expected a string",
                "expected a text in quotes, found the number 5",
            ),
            (
                "invalid type: boolean `true`, expected a sequence",
                "expected a list, as in [\"a\", \"b\"], found true",
            ),
            ("invalid type: sequence, expected struct TlsConfig", "expected a table, found a list"),
            (
                "invalid value: integer `-1`, expected u16",
                "expected a whole number, 0 or more, found the number -1",
            ),
            (
                "invalid value: integer `0`, expected a nonzero u32",
                "expected a whole number, 1 or more, found the number 0",
            ),
            ("invalid type: string \"1\", expected f64", "expected a number, found a text"),
            (
                "invalid type: floating point `0.5`, expected i64",
                "expected a whole number, found the number 0.5",
            ),
            ("duplicate field `a`", "`a` and `as` are both set; use one of the two"),
            ("wanted string or table", "expected a word in quotes"),
            ("anything\n else", "anything else"),
        ] {
            assert_eq!(plain(said), plainly);
        }
    }
}
