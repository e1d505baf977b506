//! How the pages say times, spans, numbers and JSON values.
//! Promises the same text for the same value, in UTC: a browser with scripts shows the reader's own time instead.
//! Deliberately knows nothing of people and pages.

use serde_json::Value;

use crate::{event_log::Timestamp, event_time};

/// A moment, for programs and for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct When {
    /// RFC 3339.
    pub(crate) iso: String,
    /// `22 Nov 2026, 17:24:05 UTC`.
    pub(crate) text: String,
}

impl When {
    pub(crate) fn of(iso: &str) -> Self {
        let text = day(iso).zip(iso.get(11..19)).map(|(day, time)| format!("{day}, {time} UTC"));
        Self { iso: iso.to_owned(), text: text.unwrap_or_else(|| iso.to_owned()) }
    }

    pub(crate) fn at(moment: Timestamp) -> Self {
        Self::of(&moment.to_string())
    }

    /// `17:24:05`.
    pub(crate) fn time(&self) -> &str {
        self.iso.get(11..19).unwrap_or_default()
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn day(iso: &str) -> Option<String> {
    let month: usize = iso.get(5..7)?.parse().ok()?;
    let month = MONTHS.get(month.checked_sub(1)?)?;
    let day: u8 = iso.get(8..10)?.parse().ok()?;
    Some(format!("{day} {month} {}", iso.get(..4)?))
}

/// How long from one moment to another: `12 minutes`; `None` for less than a minute.
pub(crate) fn span(from: &str, to: &str) -> Option<String> {
    let ms = |text| event_time::parse(text).map(Timestamp::unix_ms);
    let minutes = (ms(to)? - ms(from)?) / 60_000;
    let words = match (minutes / 60, minutes % 60) {
        (_, _) if minutes < 1 => return None,
        (0, 1) => "1 minute".to_owned(),
        (0, minutes) => format!("{minutes} minutes"),
        (1, 0) => "1 hour".to_owned(),
        (hours, 0) => format!("{hours} hours"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    };
    Some(words)
}

/// How soon: `48 ms`, `1.2 s`, `3 min`, `2 h`, `4 d`.
pub(crate) fn soon(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// `1 event`, `1,204 events`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {}", if number == 1 { one } else { many })
}

/// A JSON value in a line: a text without its quotes.
pub(crate) fn value(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => text,
        Ok(Value::Array(all)) if all.is_empty() => "none".to_owned(),
        Ok(Value::Object(members)) if members.is_empty() => "none".to_owned(),
        Ok(Value::Bool(true)) => "yes".to_owned(),
        Ok(Value::Bool(false)) => "no".to_owned(),
        Ok(Value::Array(all)) if all.iter().all(Value::is_string) => {
            all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Ok(Value::Object(members)) if members.values().all(|value| !value.is_object()) => {
            let said =
                members.iter().map(|(name, said)| format!("{name}: {}", value(&said.to_string())));
            said.collect::<Vec<_>>().join(", ")
        }
        _ => json.to_owned(),
    }
}

/// `first_name` and `firstName` as `First name`.
pub(crate) fn label(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.chars().enumerate() {
        match letter {
            '_' | '-' => text.push(' '),
            _ if index == 0 => text.extend(letter.to_uppercase()),
            _ if letter.is_uppercase() && text.ends_with(char::is_lowercase) => {
                text.push(' ');
                text.extend(letter.to_lowercase());
            }
            _ => text.push(letter),
        }
    }
    text
}

/// With a capital at its beginning.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// At most so many characters.
pub(crate) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// At most so many letters, with an ellipsis in the middle: ids of one kind begin alike.
pub(crate) fn both_ends(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let end = most / 2;
    let begin = most - end - 1;
    let both = letters[..begin].iter().chain(['…'].iter()).chain(&letters[letters.len() - end..]);
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_spans_and_numbers_read_like_a_sentence() {
        let when = When::of("2026-11-02T17:24:05.123Z");
        assert_eq!((when.text.as_str(), when.time()), ("2 Nov 2026, 17:24:05 UTC", "17:24:05"));
        assert_eq!(When::of("not a time").text, "not a time");
        let span = |to| span("2026-11-02T10:00:00.000Z", to);
        assert_eq!(span("2026-11-02T10:00:59.000Z"), None);
        assert_eq!(span("2026-11-02T10:01:59.000Z").as_deref(), Some("1 minute"));
        assert_eq!(span("2026-11-02T10:12:00.000Z").as_deref(), Some("12 minutes"));
        assert_eq!(span("2026-11-02T12:05:00.000Z").as_deref(), Some("2 h 5 min"));
        assert_eq!(count(1, "event", "events"), "1 event");
        assert_eq!(count(1_234_567, "event", "events"), "1,234,567 events");
    }

    #[test]
    fn lengths_are_as_exact_as_anyone_reads_them() {
        let lengths = [0, 999, 1_250, 59_999, 60_000, 7_200_000, 172_800_000].map(soon);
        assert_eq!(lengths, ["0 ms", "999 ms", "1.2 s", "59.9 s", "1 min", "2 h", "2 d"]);
    }

    #[test]
    fn values_and_names_lose_what_only_programs_need() {
        for (json, text) in [
            (r#""a b""#, "a b"),
            ("true", "yes"),
            ("12.5", "12.5"),
            (r#"["a","b"]"#, "a, b"),
            ("[]", "none"),
            ("{}", "none"),
            (r#"{"a":"b","c":1}"#, "a: b, c: 1"),
        ] {
            assert_eq!(value(json), text);
        }
        for (name, text) in
            [("firstName", "First name"), ("last_name", "Last name"), ("LTV", "LTV")]
        {
            assert_eq!(label(name), text);
        }
        assert_eq!(short("äbcdef", 4), "äbc…");
        assert_eq!(both_ends("äbcdefgh", 5), "äb…gh");
        assert_eq!(both_ends("äbcde", 5), "äbcde");
    }
}
