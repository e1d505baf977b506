//! Time zones that an expression names: one that does not exist is found before an event asks for its hour.
//! Deliberately knows only those that are written as a text: one of the person is what its device says.

use std::collections::BTreeSet;

use crate::{config::nearest, expression::Expression};

/// The functions that are given the name of a time zone.
const OF_A_ZONE: [&str; 1] = ["hour_in"];

/// Refuses a time zone that there is not; on which line of the expression, from 0.
pub(super) fn refuse_unknown(expression: &Expression) -> Result<(), (usize, String)> {
    for function in OF_A_ZONE.into_iter().filter(|function| expression.calls(function)) {
        for (line, zone) in expression.texts_given_to(function) {
            if jiff::tz::TimeZone::get(zone).is_ok() {
                continue;
            }
            let known: BTreeSet<String> =
                jiff::tz::db().available().map(|name| name.to_string()).collect();
            let meant = match nearest(zone, known.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "it is named by the tz database, as `Europe/Paris`".to_owned(),
            };
            let message = format!("`{function}`: there is no time zone `{zone}`; {meant}");
            return Err((line, message));
        }
    }
    Ok(())
}
