//! What crosses the wire: an event's text, texts and stamps as a batch, an answer's receipt. Promises the same bytes on
//! every platform (the files in `tests/golden` bind them all); knows nothing of HTTP or of when anything is sent.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::event::{Event, Kind};
use crate::json::{self, Malformed, Reader};
use crate::platform::{Dropped, Listed, Outcome, Stamp};

/// The event as JSON, without its stamp. `context` is last, so that a stamp can be appended to it without parsing.
#[must_use]
pub fn text(event: &Event) -> String {
    let mut out = String::with_capacity(256);
    let (kind, fields) = match &event.kind {
        Kind::Track { .. } => ("track", "properties"),
        Kind::Identify => ("identify", "traits"),
        Kind::Page { .. } => ("page", "properties"),
        Kind::Screen { .. } => ("screen", "properties"),
        Kind::Group { .. } => ("group", "traits"),
        Kind::Alias { .. } => ("alias", "properties"),
    };
    out.push_str("{\"type\":\"");
    out.push_str(kind);
    out.push('"');
    match &event.kind {
        Kind::Track { event } => member(&mut out, "event", Some(event)),
        Kind::Identify => {}
        Kind::Page { category, name } | Kind::Screen { category, name } => {
            member(&mut out, "category", category.as_deref());
            member(&mut out, "name", name.as_deref());
        }
        Kind::Group { group_id } => member(&mut out, "groupId", Some(group_id)),
        Kind::Alias { previous_id } => member(&mut out, "previousId", Some(previous_id)),
    }
    member(&mut out, "messageId", Some(&event.message_id));
    member(&mut out, "anonymousId", event.anonymous_id.as_deref());
    member(&mut out, "userId", event.user_id.as_deref());
    member(&mut out, "timestamp", Some(&time(event.at_ms)));
    if let Some(object) = &event.fields {
        push_all(&mut out, &[",\"", fields, "\":", object.text()]);
    }
    push_all(&mut out, &[",\"context\":", event.context.text(), "}"]);
    out
}

/// The text of a queue's identity: base64url without padding, 22 characters.
#[must_use]
pub fn queue_id(id: [u8; 16]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(22);
    for chunk in id.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for sextet in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * sextet) & 63) as usize]));
        }
    }
    out
}

/// A time as every platform writes it: `2026-11-22T00:17:58.123Z`.
#[must_use]
pub fn time(unix_ms: u64) -> String {
    // The last millisecond of the year 9999: what a broken clock says beyond it has no four-digit year.
    let unix_ms = unix_ms.min(253_402_300_799_999);
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Civil date from days, in 400-year eras that begin on the first of March ("chrono-Compatible Low-Level Date
    // Algorithms", Howard Hinnant, public domain).
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second, ms) =
        (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    let mut out = String::with_capacity(24);
    // Writing to a string cannot fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
    out
}

/// Puts the texts of one request together.
#[derive(Debug)]
pub struct Batch {
    out: String,
}

/// What is appended to an event's context when it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Its stamp.
    pub stamp: Stamp,
    /// The queue's identity, if the number may be seen by the collector.
    pub queue: Option<&'a str>,
    /// Numbers to be told with this event.
    pub dropped: &'a [Dropped],
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self { out: String::from("{\"batch\":[") }
    }

    /// Adds an event: its [`text`], and what belongs to this attempt.
    pub fn push(&mut self, text: &str, sent: Sent<'_>) {
        let out = &mut self.out;
        if !out.ends_with('[') {
            out.push(',');
        }
        let open = text.strip_suffix("}}").unwrap_or(text);
        out.push_str(open);
        if !open.ends_with('{') {
            out.push(',');
        }
        let _ = write!(out, "\"sessionId\":{}", sent.stamp.session_ms);
        if sent.stamp.session_start {
            out.push_str(",\"sessionStart\":true");
        }
        if let Some(queue) = sent.queue {
            let _ =
                write!(out, ",\"headwater\":{{\"queue\":\"{queue}\",\"seq\":{}", sent.stamp.seq);
            for (index, range) in sent.dropped.iter().enumerate() {
                out.push_str(if index == 0 { ",\"dropped\":[" } else { "," });
                let _ = write!(out, "[{},{},\"{}\"]", range.first, range.last, range.reason.word());
            }
            out.push_str(if sent.dropped.is_empty() { "}" } else { "]}" });
        }
        out.push_str("}}");
    }

    /// The request's body, sent at this time.
    #[must_use]
    pub fn finish(self, sent_at_ms: u64, write_key: &str) -> String {
        let mut out = self.out;
        push_all(&mut out, &["],\"sentAt\":\"", &time(sent_at_ms), "\",\"writeKey\":"]);
        json::write_string(&mut out, write_key);
        out.push('}');
        out
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

/// What a 2xx body says of the events that were not plainly accepted; nothing if it is not a receipt, which means that the
/// server (another one of Segment's API) took them all.
#[must_use]
pub fn receipt(body: &str) -> Option<Vec<Listed>> {
    read_receipt(body).ok()
}

fn read_receipt(body: &str) -> Result<Vec<Listed>, Malformed> {
    let mut listed = Vec::new();
    let mut reader = Reader::new(body, 16);
    reader.object(|reader, key| match key {
        "events" => reader.array(|reader| {
            let mut index = None;
            let mut outcome = Outcome::Accepted;
            reader.object(|reader, key| {
                match key {
                    "index" => index = Some(reader.whole()?),
                    "outcome" => {
                        outcome = match reader.string()? {
                            "accepted" => Outcome::Accepted,
                            "duplicate" => Outcome::Duplicate,
                            "quarantined" => Outcome::Quarantined,
                            // `refused`, `dropped`, and any word of a later version: not kept, as far as is known.
                            _ => Outcome::Refused,
                        }
                    }
                    _ => reader.skip()?,
                }
                Ok(())
            })?;
            if let Some(index) = index {
                listed.push(Listed { index, outcome });
            }
            Ok(())
        }),
        _ => reader.skip(),
    })?;
    reader.end()?;
    Ok(listed)
}

fn member(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        push_all(out, &[",\"", name, "\":"]);
        json::write_string(out, value);
    }
}

fn push_all(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        // Checked against GNU date: `date -u -d @SECONDS +%FT%T`.
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_763_769_600_001, "2025-11-22T00:00:00.001Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn a_receipt_lists_what_was_not_accepted() {
        let body = r#"{"success":true,"accepted":1,"duplicate":1,"more":[{}],"events":[
            {"index":1,"outcome":"duplicate"},{"index":2,"outcome":"refused","reason":"too_large","detail":"a \"quote\""},
            {"index":4,"outcome":"abducted"},{"outcome":"refused"}]}"#;
        let listed = |index, outcome| Listed { index, outcome };
        assert_eq!(
            receipt(body),
            Some(vec![
                listed(1, Outcome::Duplicate),
                listed(2, Outcome::Refused),
                listed(4, Outcome::Refused)
            ])
        );
        assert_eq!(receipt(r#"{"success":true}"#), Some(vec![]));
    }

    #[test]
    fn what_is_not_a_receipt_is_none() {
        for body in [
            "",
            "ok",
            "[]",
            r#"{"events":[{"index":-1}]}"#,
            r#"{"events":[{"index":1e2}]}"#,
            r#"{"events":{}}"#,
            "{\"a\":1",
        ] {
            assert_eq!(receipt(body), None, "{body}");
        }
    }
}
