//! Values between JSON and CEL.
//! Promises that a number is the same number on the way there and back, that the members of an object come in the order of their
//! names, so that the same body makes the same text, and that what is no JSON is said. Knows nothing of events.

use std::{collections::HashMap, fmt};

use cel::{
    Value,
    common::{
        types::{
            CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
        },
        value::Val,
    },
    objects::Key,
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
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

/// What expressions see, made at once from a JSON's text: as [`of_json`] would have it.
#[derive(Debug)]
pub(crate) struct Seen(pub(crate) Box<dyn Val>);

impl Seen {
    /// An object of these.
    pub(crate) fn object(members: impl IntoIterator<Item = (String, Self)>) -> Self {
        let members = members.into_iter().map(|(name, value)| (CelMapKey::from(name), value.0));
        Self(Box::new(CelMap::from(members.collect::<HashMap<_, _>>())))
    }

    /// A text.
    pub(crate) fn text(text: &str) -> Self {
        Self(Box::new(CelString::from(text.to_owned())))
    }

    /// A whole number.
    pub(crate) fn whole(number: i64) -> Self {
        Self(Box::new(CelInt::from(number)))
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Seen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Seen, E> {
                Ok(Seen(Box::new(CelNull)))
            }

            fn visit_bool<E>(self, is: bool) -> Result<Seen, E> {
                Ok(Seen(Box::new(CelBool::from(is))))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Seen, E> {
                Ok(Seen::whole(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Seen, E> {
                Ok(match i64::try_from(number) {
                    Ok(number) => Seen::whole(number),
                    Err(_) => Seen(Box::new(CelUInt::from(number))),
                })
            }

            fn visit_f64<E>(self, number: f64) -> Result<Seen, E> {
                Ok(Seen(Box::new(CelDouble::from(number))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Seen, E> {
                Ok(Seen::text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Seen, A::Error> {
                let mut list = Vec::new();
                while let Some(Seen(value)) = seq.next_element()? {
                    list.push(value);
                }
                Ok(Seen(Box::new(CelList::from(list))))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Seen, A::Error> {
                let mut members = HashMap::new();
                while let Some((name, Seen(value))) = map.next_entry::<String, Seen>()? {
                    members.insert(CelMapKey::from(name), value);
                }
                Ok(Seen(Box::new(CelMap::from(members))))
            }
        }
        json.deserialize_any(Any)
    }
}

/// What goes into an event. An optional without value is left out of an object, and null in a list.
pub(crate) fn to_json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(is) => Json::Bool(*is),
        Value::Int(number) => Json::from(*number),
        Value::UInt(number) => Json::from(*number),
        // Without the sign of a zero, which nobody wants to read.
        Value::Float(number) => Json::Number(
            Number::from_f64(*number + 0.0).ok_or("is a number that JSON does not have")?,
        ),
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
