//! What an event is: the only way to make one in Rust, and the limits that every part keeps. Promises that what it holds
//! is a well-formed event; knows nothing of queues or of how an event is written.

use alloc::string::String;

use crate::json::{self, Malformed};

/// Most bytes of one event's text: 32 KiB, the limit of Segment's API, which clients already keep.
pub const MAX_EVENT_BYTES: usize = 32 * 1024;
/// Most bytes of a batch before compression: 500 KiB, the limit of Segment's API.
pub const MAX_BATCH_BYTES: usize = 500 * 1024;
/// Deepest nesting of an event's JSON, the event itself being the first level: far more than people write, and readers that
/// stop at 128 (serde_json) can still wrap it.
pub const MAX_DEPTH: usize = 64;
/// Most bytes of a message id: generous for the UUIDs and prefixed UUIDs that clients send.
pub const MAX_MESSAGE_ID_BYTES: usize = 256;

/// One thing that happened.
///
/// ```
/// use headwater_core::event::{Event, Json, Kind};
/// let event = Event {
///     kind: Kind::Track { event: "Product Added".into() },
///     message_id: "0197…".into(),
///     anonymous_id: Some("a-1".into()),
///     user_id: None,
///     at_ms: 1_763_769_600_000,
///     fields: Some(Json::object(r#"{"sku":"kettle","price":49}"#)?),
///     context: Json::object(r#"{"library":{"name":"example","version":"1"}}"#)?,
/// };
/// assert!(headwater_core::wire::text(&event).starts_with(r#"{"type":"track","event":"Product Added""#));
/// # Ok::<(), headwater_core::event::MalformedJson>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind, with what only that kind has.
    pub kind: Kind,
    /// Its id: unique, made once, the same at every attempt to send it. At most [`MAX_MESSAGE_ID_BYTES`].
    pub message_id: String,
    /// The device.
    pub anonymous_id: Option<String>,
    /// The person, once known.
    pub user_id: Option<String>,
    /// When it happened, unix milliseconds.
    pub at_ms: u64,
    /// `traits` of an identify or group, `properties` of the others.
    pub fields: Option<Json>,
    /// Where it happened: library, page, device. Never empty, so that a stamp can be appended to it.
    pub context: Json,
}

/// The kinds of Segment's specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody did something.
    Track {
        /// Its name, such as `Order Completed`.
        event: String,
    },
    /// Somebody is known by a user id and traits.
    Identify,
    /// Somebody saw a page.
    Page {
        /// The group of pages it belongs to.
        category: Option<String>,
        /// Its name.
        name: Option<String>,
    },
    /// Somebody saw a screen of an app.
    Screen {
        /// The group of screens it belongs to.
        category: Option<String>,
        /// Its name.
        name: Option<String>,
    },
    /// Somebody belongs to an account.
    Group {
        /// The account.
        group_id: String,
    },
    /// Two ids are the same person.
    Alias {
        /// The id used until now.
        previous_id: String,
    },
}

/// The text of a JSON object that has been checked and is carried as it was given: nothing here reads what it only carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

pub use crate::json::Malformed as MalformedJson;

impl Json {
    /// Checks that `text` is one JSON object, nested no deeper than [`MAX_DEPTH`].
    ///
    /// # Errors
    /// Says where the text stops being JSON.
    pub fn object(text: impl Into<String>) -> Result<Self, Malformed> {
        let text = text.into();
        json::check_object(&text, MAX_DEPTH)?;
        Ok(Self(text.trim_matches([' ', '\t', '\n', '\r']).into()))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}
