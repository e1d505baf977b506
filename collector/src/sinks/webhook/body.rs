//! The forms of a webhook's body: the event as it is stored, a CloudEvent around it, or an array of either.
//! Promises that the bytes are the same at every attempt with the same events, and so is their id.
//! Deliberately knows nothing of signatures or HTTP.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    super::{Parcel, message_id},
    config::BodyFormat,
};

/// What is posted, and under which id.
pub(super) struct Body {
    pub(super) id: String,
    pub(super) content_type: &'static str,
    pub(super) bytes: Bytes,
}

impl Body {
    /// The body for these events. An error is the event's fault.
    pub(super) fn new(
        format: BodyFormat,
        as_array: bool,
        parcels: &[Parcel],
    ) -> Result<Self, serde_json::Error> {
        let write = match format {
            BodyFormat::Json => |out: &mut Vec<u8>, parcel: &Parcel| {
                out.extend_from_slice(&parcel.line);
                Ok(())
            },
            BodyFormat::CloudEvents => write_cloud_event,
        };
        let content_type = match (format, as_array) {
            (BodyFormat::Json, _) => "application/json",
            (BodyFormat::CloudEvents, false) => "application/cloudevents+json",
            (BodyFormat::CloudEvents, true) => "application/cloudevents-batch+json",
        };
        let bytes = match (format, as_array, parcels) {
            (BodyFormat::Json, false, [parcel]) => parcel.line.clone(),
            _ => {
                let lines: usize = parcels.iter().map(|parcel| parcel.line.len() + 512).sum();
                let mut out = Vec::with_capacity(lines);
                for (n, parcel) in parcels.iter().enumerate() {
                    if as_array {
                        out.push(if n == 0 { b'[' } else { b',' });
                    }
                    write(&mut out, parcel)?;
                }
                if as_array {
                    out.push(b']');
                }
                out.into()
            }
        };
        Ok(Self { id: id(parcels), content_type, bytes })
    }
}

/// One event's own id; of several, one made of theirs.
fn id(parcels: &[Parcel]) -> String {
    if let [parcel] = parcels {
        return parcel.id.clone();
    }
    message_id(parcels.iter().map(|parcel| &*parcel.id))
}

/// CloudEvents 1.0 in JSON, with the extension "partitioning".
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Cow<'a, str>>,
    time: &'a str,
    partitionkey: &'a str,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

fn write_cloud_event(out: &mut Vec<u8>, parcel: &Parcel) -> Result<(), serde_json::Error> {
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(borrow)]
        source: Cow<'a, str>,
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        timestamp: &'a str,
        #[serde(borrow, default)]
        event: Option<&'a RawValue>,
    }
    let stored: Stored<'_> = serde_json::from_slice(&parcel.line)?;
    // Only a track event has a name; other types may have anything there.
    let name = stored.event.filter(|_| stored.r#type == "track");
    let event = CloudEvent {
        specversion: "1.0",
        id: &parcel.id,
        source: format!("/sources/{}", stored.source),
        r#type: format!("headwater.{}", stored.r#type),
        subject: name.and_then(|name| serde_json::from_str(name.get()).ok()),
        time: stored.timestamp,
        partitionkey: &parcel.order_key,
        datacontenttype: "application/json",
        data: serde_json::from_slice(&parcel.line)?,
    };
    serde_json::to_writer(out, &event)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parcel(id: &str, line: &Value) -> Parcel {
        Parcel { id: id.into(), order_key: "a-1".into(), line: line.to_string().into() }
    }

    fn paid() -> Value {
        json!({"offset": "7", "source": "web", "timestamp": "2026-01-02T03:04:05.678Z",
            "type": "track", "event": "Order \"Paid\"", "messageId": "m"})
    }

    fn body(format: BodyFormat, as_array: bool, parcels: &[Parcel]) -> (Body, Value) {
        let body = Body::new(format, as_array, parcels).unwrap();
        let value = serde_json::from_slice(&body.bytes).unwrap();
        (body, value)
    }

    #[test]
    fn json_is_the_line_itself_or_an_array_of_lines() {
        let parcels = [parcel("msg_1", &paid()), parcel("msg_2", &json!({"a": 1}))];
        let (one, _) = body(BodyFormat::Json, false, &parcels[..1]);
        assert_eq!((one.bytes, &*one.id), (parcels[0].line.clone(), "msg_1"));
        let (two, value) = body(BodyFormat::Json, true, &parcels);
        assert_eq!(value, json!([paid(), {"a": 1}]));
        assert_eq!(two.content_type, "application/json");
        let (array_of_one, value) = body(BodyFormat::Json, true, &parcels[..1]);
        assert_eq!((value, &*array_of_one.id), (json!([paid()]), "msg_1"));
    }

    #[test]
    fn the_id_of_several_is_made_of_theirs() {
        let of = |ids: &[&str]| {
            let parcels: Vec<_> = ids.iter().map(|id| parcel(id, &paid())).collect();
            id(&parcels)
        };
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_eq!(of(&["a", "b"]).len(), "msg_".len() + 32);
        for other in [["b", "a"], ["ab", ""], ["", "ab"], ["a", "c"]] {
            assert_ne!(of(&["a", "b"]), of(&other), "{other:?}");
        }
    }

    #[test]
    fn a_cloud_event_has_the_attributes_of_the_specification() {
        let parcels = [parcel("msg_1", &paid())];
        let (one, value) = body(BodyFormat::CloudEvents, false, &parcels);
        assert_eq!(one.content_type, "application/cloudevents+json");
        let expected = json!({"specversion": "1.0", "id": "msg_1", "source": "/sources/web",
            "type": "headwater.track", "subject": "Order \"Paid\"", "time": "2026-01-02T03:04:05.678Z",
            "partitionkey": "a-1", "datacontenttype": "application/json", "data": paid()});
        assert_eq!(value, expected);
        let (batch, value) = body(BodyFormat::CloudEvents, true, &parcels);
        assert_eq!(batch.content_type, "application/cloudevents-batch+json");
        assert_eq!(value, json!([expected]));
    }

    #[test]
    fn a_cloud_event_without_a_name_has_no_subject_and_what_is_no_event_is_an_error() {
        let mut page = paid();
        page["type"] = "page".into();
        page["event"] = json!({"not": "a name"});
        let (_, value) = body(BodyFormat::CloudEvents, false, &[parcel("msg_1", &page)]);
        assert_eq!((&value["type"], &value["subject"]), (&json!("headwater.page"), &Value::Null));
        let nothing = [parcel("msg_1", &json!({}))];
        assert!(Body::new(BodyFormat::CloudEvents, false, &nothing).is_err());
    }
}
