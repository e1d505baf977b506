//! What the functions of rules compute, from the moment and the place that are asked about.
//! Promises no clock of their own: both stand in variables. Which functions there are is said in `functions`.

use std::sync::{Arc, LazyLock};

use cel::{Context, ExecutionError, FunctionContext, Value, common::types::CelInt};
use rusqlite::{Connection, Result};

use crate::{
    event_log::Timestamp,
    event_time,
    expression::{self, plain::Plain},
    people::{self, Profile, Whole},
};

/// The variable in which the functions of local time find the person's.
pub(super) const TIMEZONE: &str = "@timezone";
/// Those in which the functions of an event's local time find when it happened, and where.
pub(super) const EVENT_TIME: &str = "@event_time";
pub(super) const EVENT_TIMEZONE: &str = "@event_timezone";
/// The one in which the functions of time find the moment.
pub(super) const NOW: &str = "@now";
/// The one in which the functions of the hour and of the day of the week find the moment that clocks on walls are to show: now, but
/// for who asks what would be so at another hour.
pub(super) const WALL: &str = "@wall";

/// The functions are made once: what differs from one moment to the next they find in variables.
pub(super) static CALLS: LazyLock<Context<'static, 'static>> = LazyLock::new(functions);

#[allow(clippy::cast_precision_loss, reason = "scores are no ledgers")]
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
        Value::Bool(is) => Some(f64::from(u8::from(*is))),
        _ => None,
    }
}

/// A moment that an event or a feature names: milliseconds, seconds, or RFC 3339.
pub(super) fn moment(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => event_time::parse(text).map(Timestamp::unix_ms),
        other => event_time::from_unix(number(other)?).map(Timestamp::unix_ms),
    }
}

/// As [`moment`] has it.
#[allow(clippy::cast_precision_loss, reason = "a moment has 41 bits")]
pub(super) fn plain_moment(plain: &Plain<'_>) -> Option<i64> {
    let number = match plain {
        Plain::Text(text) => return event_time::parse(text).map(Timestamp::unix_ms),
        Plain::Whole(number) => *number as f64,
        Plain::Fraction(number) if number.is_finite() => *number,
        _ => return None,
    };
    event_time::from_unix(number).map(Timestamp::unix_ms)
}

const SECOND: f64 = 1000.0;

/// The functions of time that has passed, or is still to: by name, their unit and their sign.
pub(super) const SPANS: [(&str, f64, f64); 6] = [
    ("days_since", 86_400.0 * SECOND, 1.0),
    ("hours_since", 3600.0 * SECOND, 1.0),
    ("minutes_since", 60.0 * SECOND, 1.0),
    ("days_until", 86_400.0 * SECOND, -1.0),
    ("hours_until", 3600.0 * SECOND, -1.0),
    ("minutes_until", 60.0 * SECOND, -1.0),
];

#[allow(clippy::cast_precision_loss, reason = "a moment has 41 bits")]
pub(super) fn span(now: i64, time: i64, (unit, sign): (f64, f64)) -> f64 {
    sign * (now - time) as f64 / unit
}

const FREE: &str = "CEL has no function of this name";

/// The functions: at which moment, and where, they find in variables.
fn functions() -> Context<'static, 'static> {
    let mut context = expression::empty_context();
    for (name, unit, sign) in SPANS {
        let since = move |context: &FunctionContext<'_, '_>, time: Value| {
            let now = now(context)?;
            let said = if time == Value::Null { expression::NOTHING } else { "no moment" };
            let wrong = || ExecutionError::function_error(context.name, said);
            moment(&time).map(|time| span(now, time, (unit, sign))).ok_or_else(wrong)
        };
        context.add_function(name, since).expect(FREE);
    }
    let hour = |context: &FunctionContext<'_, '_>| {
        there(context, wall(context)?, &timezone(context)).map(|it| i64::from(it.hour()))
    };
    context.add_function("local_hour", hour).expect(FREE);
    let weekday = |context: &FunctionContext<'_, '_>| {
        let there = there(context, wall(context)?, &timezone(context));
        there.map(|it| i64::from(it.weekday().to_monday_one_offset()))
    };
    context.add_function("local_weekday", weekday).expect(FREE);
    let hour = |context: &FunctionContext<'_, '_>| of_event(context).map(|it| i64::from(it.hour()));
    context.add_function("event_hour", hour).expect(FREE);
    let weekday = |context: &FunctionContext<'_, '_>| {
        of_event(context).map(|it| i64::from(it.weekday().to_monday_one_offset()))
    };
    context.add_function("event_weekday", weekday).expect(FREE);
    let hour_in = |context: &FunctionContext<'_, '_>, zone: Arc<String>| {
        there(context, wall(context)?, &zone).map(|it| i64::from(it.hour()))
    };
    context.add_function("hour_in", hour_in).expect(FREE);
    context
}

/// The moment that is asked about.
fn now(context: &FunctionContext<'_, '_>) -> std::result::Result<i64, ExecutionError> {
    moment_in(context, NOW)
}

/// The moment that clocks on walls show.
fn wall(context: &FunctionContext<'_, '_>) -> std::result::Result<i64, ExecutionError> {
    moment_in(context, WALL)
}

fn moment_in(
    context: &FunctionContext<'_, '_>,
    variable: &str,
) -> std::result::Result<i64, ExecutionError> {
    let known = context.ptx.get_variable(variable);
    let moment = known.and_then(|known| known.downcast_ref::<CelInt>().map(|it| *it.inner()));
    moment.ok_or_else(|| ExecutionError::function_error(context.name, "no moment"))
}

/// When the event happened, by the clock there.
fn of_event(context: &FunctionContext<'_, '_>) -> std::result::Result<jiff::Zoned, ExecutionError> {
    let known = |name| context.ptx.get_variable(name);
    let time = known(EVENT_TIME).and_then(|it| it.downcast_ref::<CelInt>().map(|it| *it.inner()));
    let zone = known(EVENT_TIMEZONE).and_then(|it| Value::try_from(it.as_ref()).ok());
    match (time, zone) {
        (Some(time), Some(Value::String(zone))) => there(context, time, &zone),
        _ => Err(ExecutionError::function_error(context.name, "no event")),
    }
}

/// The person's, or UTC.
fn timezone(context: &FunctionContext<'_, '_>) -> String {
    let known = context.ptx.get_variable(TIMEZONE);
    match known.and_then(|known| Value::try_from(known.as_ref()).ok()) {
        Some(Value::String(zone)) => zone.to_string(),
        _ => "UTC".to_owned(),
    }
}

/// Where a person is by the clock: what its device says, or UTC.
pub(super) fn timezone_of(db: &Connection, person: &Whole) -> Result<String> {
    Ok(timezone_in(&people::profile(db, person.id())?))
}

/// The same of who is known already.
pub(super) fn timezone_in(profile: &Profile) -> String {
    let said = profile.facts.get("timezone");
    let zone = said.and_then(|said| serde_json::from_str(said.value.get()).ok());
    zone.unwrap_or_else(|| "UTC".to_owned())
}

/// The wall clock's time there; `None` where there is no such time zone.
pub(super) fn local(now_ms: i64, zone: &str) -> Option<jiff::Zoned> {
    let at = jiff::Timestamp::from_millisecond(now_ms).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::get(zone).ok()?))
}

/// The same for the function that asks.
fn there(
    context: &FunctionContext<'_, '_>,
    now_ms: i64,
    zone: &str,
) -> std::result::Result<jiff::Zoned, ExecutionError> {
    let wrong = || ExecutionError::function_error(context.name, expression::NO_ZONE);
    local(now_ms, zone).ok_or_else(wrong)
}
