//! The shape of an event that a mapping makes: Segment's, in JSON.
//! Promises that what has no value is left out. Knows nothing of where the values are from.

use serde::Serialize;
use serde_json::Value as Json;

/// An event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    pub(super) r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<String>,
    pub(super) message_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timestamp: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) anonymous_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) properties: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) traits: Option<Json>,
    #[serde(skip_serializing_if = "Circumstances::is_empty")]
    pub(super) context: Circumstances<'a>,
}

/// The event's `context`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Circumstances<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) external_ids: Vec<ExternalId<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) traits: Option<Json>,
}

impl Circumstances<'_> {
    fn is_empty(&self) -> bool {
        self.external_ids.is_empty() && self.traits.is_none()
    }
}

/// In Segment's shape: "Spec: Identify", `context.externalIds`.
#[derive(Serialize)]
pub(super) struct ExternalId<'a> {
    pub(super) id: String,
    pub(super) r#type: &'a str,
    pub(super) collection: &'static str,
    pub(super) encoding: &'static str,
}
