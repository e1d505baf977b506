//! Messages that rules have for whoever uses the app, as Kotlin and Swift see them: one is told, and what became of it is said. Promises that
//! each word about a message is said once, and that whoever clicked or dismissed one has been shown it. The app draws it; when it is asked for
//! stands in `driver/listening.rs`.

use std::collections::HashMap;

use headwater_core::{
    event::{Json, Kind},
    platform::Priority,
};
use serde_json::Value;

use crate::{Category, driver::Said, transport::object};

/// What a rule says to the person in front of the app. Texts are plain.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Message {
    /// To be named in [`crate::Core::act`].
    pub id: String,
    /// The rule that says it.
    pub rule: String,
    /// Where in the app it belongs.
    pub placement: String,
    /// Its title.
    pub title: Option<String>,
    /// Its text.
    pub body: Option<String>,
    /// What is to be pressed.
    pub button: Option<String>,
    /// Where that leads: a path, or an address with its scheme.
    pub url: Option<String>,
    /// What the rule says beside, by name.
    pub data: HashMap<String, String>,
    /// When it is of no use any more, unix milliseconds.
    pub expires_at_ms: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Act {
    /// The person has seen it: it is told to no device again.
    Shown,
    /// The person followed it.
    Clicked,
    /// The person closed it.
    Dismissed,
}

impl Act {
    /// The event that says so.
    pub(crate) fn said(self, id: &str, rule: &str, placement: &str) -> Said {
        let event = match self {
            Self::Shown => "Message Shown",
            Self::Clicked => "Message Clicked",
            Self::Dismissed => "Message Dismissed",
        };
        let about =
            object([("message_id", id), ("rule", rule), ("placement", placement)]).to_string();
        Said {
            kind: Kind::Track { event: event.into() },
            fields: Json::object(about).ok(),
            context: None,
            at_ms: None,
            category: Category::Functional as usize,
            priority: Priority::Normal,
        }
    }
}

impl Message {
    /// The messages of an answer, or nothing if these are not a collector's words. One that lacks what every message has is left out.
    pub(crate) fn read_all(body: &str) -> Option<Vec<Self>> {
        let said: Value = serde_json::from_str(body).ok()?;
        Some(said["messages"].as_array()?.iter().filter_map(Self::read).collect())
    }

    fn read(said: &Value) -> Option<Self> {
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        let data = said["data"].as_object().into_iter().flatten();
        Some(Self {
            id: text("id").filter(|id| !id.is_empty())?,
            rule: text("rule").unwrap_or_default(),
            placement: text("placement").unwrap_or_default(),
            title: text("title"),
            body: text("body"),
            button: text("button"),
            url: text("url"),
            data: data.filter_map(|(name, it)| Some((name.clone(), it.as_str()?.into()))).collect(),
            expires_at_ms: unix_ms(said["expiresAt"].as_str()?)?,
        })
    }
}

/// A time as the collector writes it, `2026-11-23T08:50:19.000Z`: unix milliseconds.
fn unix_ms(text: &str) -> Option<u64> {
    let (mut parts, mut at) = ([0_u64; 7], 0);
    for letter in text.strip_suffix('Z')?.chars() {
        match letter.to_digit(10) {
            Some(digit) => parts[at] = parts[at].checked_mul(10)?.checked_add(digit.into())?,
            None if "--T::.".chars().nth(at) == Some(letter) => at += 1,
            None => return None,
        }
    }
    let [year, month, day, hour, minute, second, ms] = parts;
    let is_one = at == 6 && (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !is_one || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 || ms > 999 {
        return None;
    }
    // Years begin in March: the day that some have more is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let hours = days.checked_sub(DAYS_BEFORE_1970)? * 24 + hour;
    Some(((hours * 60 + minute) * 60 + second) * 1_000 + ms)
}

/// From the first of March of the year 0.
const DAYS_BEFORE_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_the_collector_writes_it() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("2026-11-23T08:50:19.250Z", Some(1_795_423_819_250)),
            ("2000-02-29T23:59:59.000Z", Some(951_868_799_000)),
            ("2000-03-01T00:00:00.500Z", Some(951_868_800_500)),
            ("2000-03-01T00:00:00Z", None),
            ("99999999999999999999-03-01T00:00:00.000Z", None),
            ("2000-03-01T00:00:00.000.000Z", None),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("1969-12-31T23:59:59.999Z", None),
            ("2026-13-01T00:00:00.000Z", None),
            ("2026-11-23T08:50:19.250+01:00", None),
            ("2026-11-23", None),
            ("soon", None),
        ] {
            assert_eq!(unix_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn an_answer_is_what_a_collector_says_and_nothing_else() {
        assert_eq!(Message::read_all("<html>Welcome to the hotel</html>"), None);
        assert_eq!(Message::read_all(r#"{"success":true}"#), None);
        assert_eq!(Message::read_all(r#"{"messages":[]}"#), Some(vec![]));
        let body = r#"{"messages":[{"id":"m-1","rule":"r","placement":"card","title":null,"body":"Hello","button":null,"url":null,
            "data":{"order":"o-1","n":1},"expiresAt":"1970-01-01T00:00:01.000Z","later":[]},{"id":"","expiresAt":"x"},7]}"#;
        let found = Message::read_all(body).expect("messages");
        let message = Message {
            id: "m-1".into(),
            rule: "r".into(),
            placement: "card".into(),
            title: None,
            body: Some("Hello".into()),
            button: None,
            url: None,
            data: HashMap::from([("order".into(), "o-1".into())]),
            expires_at_ms: 1_000,
        };
        assert_eq!(found, [message]);
    }
}
