//! The parameters of an address, as every route reads them.
//! Promises that one which is misspelt, there twice or without a value is an error, and never another question than was meant.
//! Deliberately knows no route.

use hyper::StatusCode;
use percent_encoding::percent_decode_str;

use super::answer::Failure;

/// A part of a path, or a parameter, as it was meant.
pub(super) fn decoded(text: &str) -> Result<String, Failure> {
    let text = percent_decode_str(text).decode_utf8();
    let text = text.map_err(|_| wrong_parameter("an address is text in UTF-8, percent-encoded"))?;
    Ok(text.into_owned())
}

/// The names and the values of a query, as they are written.
pub(super) fn given(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A parameter. One without a value was to say something, and would ask for everything.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Result<Option<String>, Failure> {
    match given(query).find(|(key, _)| *key == name) {
        Some((_, "")) => {
            Err(wrong_parameter(&format!("`{name}` has no value: give it one, or leave it out")))
        }
        Some((_, value)) => decoded(&value.replace('+', " ")).map(Some),
        None => Ok(None),
    }
}

/// A parameter that is misspelt would ask for everything, and of one that is there twice nobody knows which is meant.
pub(super) fn only(query: Option<&str>, known: &[&str]) -> Result<(), Failure> {
    let names: Vec<&str> = given(query).map(|(name, _)| name).collect();
    let is_again = |(at, name): &(usize, &&str)| names[..*at].contains(name);
    if let Some((_, name)) = names.iter().enumerate().find(is_again) {
        return Err(wrong_parameter(&format!("`{name}` is there twice: give it once")));
    }
    match names.into_iter().find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) if known.is_empty() => {
            Err(wrong_parameter(&format!("`{name}`: there are no parameters here")))
        }
        Some(name) => Err(wrong_parameter(&format!(
            "`{name}` is no parameter here; there are `{}`",
            known.join("`, `")
        ))),
    }
}

pub(super) fn wrong_parameter(message: &str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "invalid_parameter", message)
}
