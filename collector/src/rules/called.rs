//! What the functions came to that a condition calls: the hour that decided, and by whose clock it was.
//! Promises that where a clock was taken because none is known, that is said. Deliberately decides nothing.

use rusqlite::Result;
use serde::Serialize;
use serde_json::Value as Json;

use super::{
    legible,
    part::Part,
    scope::{About, Scope},
};
use crate::{expression::value, people};

/// The clock where nobody has said another.
const UTC: &str = "UTC";

/// One call of a function, as it was asked for a condition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Called {
    /// As it was written.
    pub call: String,
    /// What it came to; `null` if nothing.
    #[serde(serialize_with = "legible::write_json")]
    pub value: Json,
    /// By which clock, of one that goes by the person's or the event's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Whether that clock was taken because none is known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
}

/// All that an expression calls, each once.
pub(super) fn called(scope: &Scope<'_>, part: &Part, about: About<'_>) -> Result<Vec<Called>> {
    part.calls.iter().map(|call| one(scope, call, about)).collect()
}

fn one(scope: &Scope<'_>, call: &Part, about: About<'_>) -> Result<Called> {
    let value = scope.ask(call, about)?.and_then(|value| value::to_json(&value));
    let value = value.unwrap_or_default();
    let (timezone, said) = match about.event.filter(|_| call.asks_event_time) {
        Some(event) => {
            let path = ["context", "timezone"].map(str::to_owned).to_vec();
            let said = event.members(&[path].into()).into_iter().next();
            (Some(event.timezone()), said.map(|(_, said)| said))
        }
        None if call.clocks.are_local() => {
            let profile = people::profile(scope.db, scope.whose.id())?;
            let said = profile.facts.get("timezone");
            let said = said.and_then(|said| serde_json::from_str(said.value.get()).ok());
            (Some(scope.timezone()?), said)
        }
        None => (None, None),
    };
    let assumed = timezone.as_deref() == Some(UTC) && said.is_none_or(|said| said != UTC);
    Ok(Called { call: call.expression.text().to_owned(), value, timezone, assumed })
}
