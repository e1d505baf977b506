//! Values between JSON and CEL.
//! Promises that a number is the same number on the way there and back, that the members of an object come in the order of their
//! names, so that the same body makes the same text, and that what is no JSON is said. Knows nothing of events.

use cel::{Value, objects::Key};
use serde_json::{Map, Number, Value as Json};

use super::there;

/// What expressions see. Whole numbers are CEL's `int` where they fit: a `uint` cannot be added to a `1`.
pub(crate) fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(is) => Value::Bool(*is),
        Json::String(text) => Value::String(text.clone().into()),
        Json::Array(list) => Value::List(list.iter().map(of_json).collect::<Vec<_>>().into()),
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), of_json(value)));
            Value::Map(members.collect::<std::collections::HashMap<_, _>>().into())
        }
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (_, Some(number)) => Value::UInt(number),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
    }
}

/// What goes into an event. An optional without value is left out of an object, and null in a list.
pub(crate) fn to_json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(is) => Json::Bool(*is),
        Value::Int(number) => Json::from(*number),
        Value::UInt(number) => Json::from(*number),
        Value::Float(number) => {
            Json::Number(Number::from_f64(*number).ok_or("is a number that JSON does not have")?)
        }
        Value::String(text) => Json::String(text.to_string()),
        Value::List(list) => Json::Array(list.iter().map(to_json).collect::<Result<_, _>>()?),
        Value::Map(map) => {
            let mut members: Vec<_> =
                map.map.iter().map(|(key, value)| (name(key), value)).collect();
            members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            let mut object = Map::with_capacity(members.len());
            for (name, value) in members {
                if let Some(value) = there_or_null(value) {
                    object.insert(name, to_json(&value)?);
                }
            }
            Json::Object(object)
        }
        Value::Opaque(_) => match there(value.clone()) {
            Some(Value::Opaque(_)) => return Err("is no JSON".to_owned()),
            Some(value) => to_json(&value)?,
            None => Json::Null,
        },
        other => return Err(format!("is no JSON but {}", other.type_of())),
    })
}

/// Null that was sent stays; only what an optional does not have is left out.
fn there_or_null(value: &Value) -> Option<Value> {
    match value {
        Value::Opaque(_) => there(value.clone()),
        value => Some(value.clone()),
    }
}

fn name(key: &Key) -> String {
    match key {
        Key::String(text) => text.to_string(),
        Key::Int(number) => number.to_string(),
        Key::Uint(number) => number.to_string(),
        Key::Bool(is) => is.to_string(),
    }
}
