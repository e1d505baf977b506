//! One request: its address, headers and body, and what its answer means to the core. Promises a body that any server of Segment's API
//! takes, and that a success which is not a collector's (a captive portal's) counts as unreachable. Deliberately sends nothing: the host does,
//! or `uploader`.

use std::{collections::HashSet, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use headwater_core::{
    platform::{Answer, Listed},
    wire,
};
use serde_json::Value;

/// Where events go, where it is asked which of them arrived, and what rules say to whoever uses the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Batch,
    Seen,
    Messages,
}

impl Path {
    pub(crate) fn url(self, endpoint: &str) -> String {
        let path = match self {
            Self::Batch => "/v1/batch?receipt=1",
            Self::Seen => "/v1/seen?receipt=1",
            Self::Messages => "/v1/messages",
        };
        endpoint.trim_end_matches('/').to_owned() + path
    }
}

/// A question: which of the events with these ids does the collector have?
pub(crate) fn question(ids: &[String], write_key: &str) -> String {
    serde_json::json!({ "ids": ids, "writeKey": write_key }).to_string()
}

/// An object of texts.
#[inline(never)]
pub(crate) fn object(members: [(&str, &str); 3]) -> Value {
    let mut object = serde_json::Map::new();
    for (name, text) in members {
        object.insert(name.into(), text.into());
    }
    object.into()
}

/// The body as it goes over the wire.
pub(crate) fn packed(text: &str) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
    packer.write_all(text.as_bytes()).expect("a vector takes every byte");
    packer.finish().expect("a vector takes every byte")
}

/// The id of an event, from its text.
pub(crate) fn message_id(text: &str) -> Option<&str> {
    // A quote within the name of the event has a backslash before it.
    text.split_once(r#""messageId":""#)?.1.split('"').next()
}

/// Whether this is HTML or XML, and so no answer of an API's.
fn is_page(body: &str) -> bool {
    body.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with('<')
}

/// What came of a request, before it is known which events it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// A receipt, by positions in the body.
    Delivered(Vec<Listed>),
    Refused {
        status: u16,
        retry_after_ms: u64,
    },
    Unreachable,
}

impl Answered {
    /// Reads what a server said. `sent` is how many events the body had; `status` is 0 if nobody answered.
    pub(crate) fn read(status: u16, retry_after: Option<&str>, body: &str, sent: usize) -> Self {
        let said: Value = serde_json::from_str(body).unwrap_or_default();
        match status {
            200..300 if said["success"] == true => {
                let mut seen = HashSet::new();
                let mut listed = wire::receipt(body).unwrap_or_default();
                // A hostile receipt lists what was not sent, or the same thing often.
                listed.retain(|line| (line.index as usize) < sent && seen.insert(line.index));
                Self::Delivered(listed)
            }
            // Not in a collector's words; and a redirect leads nobody anywhere.
            0..400 => Self::Unreachable,
            // A page is a proxy's, whatever it says: no event is to blame for it. Smaller requests may pass it all the same.
            400..500 if is_page(body) && !(status == 413 && sent > 1) => Self::Unreachable,
            _ => {
                let asked = said["error"]["retry_after_ms"].as_u64();
                // Seconds; a date is none, and waits as after any failure.
                let seconds = retry_after.and_then(|text| text.trim().parse::<u64>().ok());
                let retry_after_ms = asked.or(seconds.map(|s| s.saturating_mul(1000))).unwrap_or(0);
                Self::Refused { status, retry_after_ms }
            }
        }
    }

    /// The same for the core, by its own positions: `places` has, for each event of the body, the one in the core's request. What was
    /// not in the body is taken as done with: it is not there any more.
    pub(crate) fn for_core<'a>(&self, places: &[u32], room: &'a mut Vec<Listed>) -> Answer<'a> {
        match self {
            Self::Delivered(listed) => {
                room.extend(listed.iter().map(|line| Listed {
                    index: places[line.index as usize],
                    outcome: line.outcome,
                }));
                Answer::Delivered(room)
            }
            Self::Refused { status, retry_after_ms } => {
                Answer::Refused { status: *status, retry_after_ms: *retry_after_ms }
            }
            Self::Unreachable => Answer::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::platform::Outcome;

    use super::*;

    #[test]
    fn an_answer_is_what_a_collector_says_and_nothing_else() {
        let read = |status, body| Answered::read(status, None, body, 2);
        assert_eq!(read(200, r#"{"success":true}"#), Answered::Delivered(vec![]));
        assert_eq!(read(200, "<html>Welcome to the hotel</html>"), Answered::Unreachable);
        assert_eq!(read(204, ""), Answered::Unreachable);
        assert_eq!(read(302, ""), Answered::Unreachable);
        assert_eq!(read(0, ""), Answered::Unreachable);
        assert_eq!(read(401, "no"), Answered::Refused { status: 401, retry_after_ms: 0 });
        assert_eq!(read(403, "\n<!doctype html>"), Answered::Unreachable);
        assert_eq!(read(400, "<html>"), Answered::Unreachable);
        let too_large = Answered::Refused { status: 413, retry_after_ms: 0 };
        assert_eq!(read(413, "<html>"), too_large, "half of it may pass");
        assert_eq!(Answered::read(413, None, "<html>", 1), Answered::Unreachable);
    }

    #[test]
    fn a_receipt_that_lies_about_places_is_cut_to_what_was_sent() {
        let body = r#"{"success":true,"events":[{"index":1,"outcome":"refused"},{"index":1,"outcome":"duplicate"},
            {"index":2,"outcome":"refused"}]}"#;
        let answered = Answered::read(200, None, body, 2);
        assert_eq!(
            answered,
            Answered::Delivered(vec![Listed { index: 1, outcome: Outcome::Refused }])
        );
        let mut room = Vec::new();
        let Answer::Delivered(listed) = answered.for_core(&[3, 7], &mut room) else { panic!() };
        assert_eq!(listed, [Listed { index: 7, outcome: Outcome::Refused }]);
    }

    #[test]
    fn a_wait_is_asked_for_in_the_body_or_in_the_header() {
        let wait = |header, body| match Answered::read(429, header, body, 1) {
            Answered::Refused { retry_after_ms, .. } => retry_after_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(Some("7"), r#"{"error":{"retry_after_ms":250}}"#), 250);
        assert_eq!(wait(Some(" 7 "), "busy"), 7_000);
        assert_eq!(wait(Some("99999999999999999999"), ""), 0);
        assert_eq!(wait(Some("Wed, 21 Oct 2026 07:28:00 GMT"), ""), 0);
        assert_eq!(wait(None, ""), 0);
    }

    #[test]
    fn an_id_is_found_whatever_the_event_is_called() {
        let text = r#"{"type":"track","event":"a \"messageId\":\"no\" b","messageId":"yes","timestamp":""}"#;
        assert_eq!(message_id(text), Some("yes"));
        assert_eq!(message_id("{}"), None);
    }

    #[test]
    fn the_address_is_below_the_endpoint_whatever_slash_it_ends_with() {
        assert_eq!(
            Path::Batch.url("https://a.example/hw/"),
            "https://a.example/hw/v1/batch?receipt=1"
        );
        assert_eq!(Path::Seen.url("https://a.example"), "https://a.example/v1/seen?receipt=1");
    }
}
