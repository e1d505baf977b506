//! The language of templates, as strict as it can be: what is filled in is escaped for where it goes, and what it takes is bounded.
//! Promises that what is missing is an error and not an empty place. Deliberately knows no files.

use std::{borrow::Cow, io};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, Template, UndefinedBehavior,
    escape_formatter,
    value::{Serde, Value},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::{did_you_mean, nearest};

use super::{
    ROOTS, RefusedToSend,
    members::Known,
    tags::{other_template, tags, without_quoted, words},
};

/// Steps of one template: a page of text takes some hundreds.
const FUEL: u64 = 100_000;
/// Bytes that a template may become. Gmail cuts what it shows of a mail at 102 KB.
pub(super) const MOST_OUTPUT: usize = 256 * 1024;
/// Filters that messages are written with, for who mistypes one.
const FILTERS: [&str; 16] = [
    "capitalize",
    "default",
    "escape",
    "first",
    "float",
    "int",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "round",
    "safe",
    "title",
    "trim",
    "upper",
];
/// What may stand in a part of a URL as it is (RFC 3986, "unreserved").
const PART_OF_URL: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const MARKDOWN: &str = "markdown";
const URL: &str = "url";

pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // A value that is missing may be asked after, `{% if person.name %}`, but neither printed nor looked into.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL));
    // Errors then say which expression they are about. Their own text, which may have values in it, is shown to nobody.
    environment.set_debug(true);
    environment.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "html")) => AutoEscape::Html,
        Some((_, "md")) => AutoEscape::Custom(MARKDOWN.into()),
        Some((_, "url")) => AutoEscape::Custom(URL.into()),
        _ => AutoEscape::None,
    });
    environment.set_formatter(write_value);
    environment
}

fn write_value(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    if value.is_none() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    // Of `{{ 'a' if b }}`, where there is no b. What is missing otherwise does not come here.
    if value.is_undefined() {
        return Ok(());
    }
    let escape: fn(&str) -> Cow<'_, str> = match state.auto_escape() {
        AutoEscape::Custom(name) if name == MARKDOWN => escape_markdown,
        AutoEscape::Custom(_) => |text| utf8_percent_encode(text, &PART_OF_URL).into(),
        _ => return escape_formatter(out, state, value),
    };
    if value.is_safe() {
        return out.write_str(&value.to_string()).map_err(Error::from);
    }
    out.write_str(&escape(&value.to_string())).map_err(Error::from)
}

/// So that it is read as it is: backslashes before what has a meaning (CommonMark, "Backslash escapes"), and one line.
fn escape_markdown(text: &str) -> Cow<'_, str> {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '<' | '>' | '~' | '#' | '&' | '!'
            | '|' => {
                escaped.extend(['\\', character]);
            }
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped.into()
}

/// Adds a template, and tells of all that it mentions and that there never is, with the lines in the text.
pub(super) fn add(
    environment: &mut Environment<'static>,
    name: &str,
    text: &str,
    known: &Known,
) -> Vec<(usize, String)> {
    if let Err(error) = environment.add_template_owned(name.to_owned(), text.to_owned()) {
        // A mistake in the template itself: there are no values yet.
        let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        let line = error.line().unwrap_or(1);
        return vec![(line, what + in_parentheses(text, line).as_deref().unwrap_or_default())];
    }
    let template = match environment.get_template(name) {
        Ok(template) => template,
        Err(error) => return vec![(1, error.kind().to_string())],
    };
    let globals: Vec<_> = environment.globals().map(|(name, _)| name).collect();
    let mut unknown: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    unknown.retain(|variable| !ROOTS.contains(&&**variable) && !globals.contains(&&**variable));
    let unknown = unknown.into_iter().map(|variable| {
        let what = format!("unknown variable `{variable}`; {}", meant(&variable));
        (line_of(text, &variable), what)
    });
    let mut wrong: Vec<_> = unknown.collect();
    wrong.extend(known.unknown(&template, text));
    wrong.extend(unknown_filters(environment, text));
    wrong.sort();
    wrong
}

/// Where a line gives a filter what it takes after a colon, as Liquid has it: how it is written here.
fn in_parentheses(text: &str, line: usize) -> Option<String> {
    let tag = tags(text).into_iter().find_map(|(at, tag)| {
        let plain = without_quoted(tag);
        let (before, _) = plain.split_once(':')?;
        let (_, name) = before.rsplit_once('|')?;
        let is_there = at <= line && line <= at + tag.matches('\n').count();
        (is_there && FILTERS.contains(&name.trim())).then(|| name.trim().to_owned())
    });
    tag.map(|name| format!("; what a filter takes stands in parentheses: `{name}(\"…\")`"))
}

fn meant(variable: &str) -> String {
    match (variable, nearest(variable, ROOTS)) {
        // What expressions have it under.
        ("traits", _) => {
            "a person's are `person.traits.x`, an account's `account.traits.x`".to_owned()
        }
        (_, Some(root)) => format!("did you mean `{root}`?"),
        (_, None) => format!("expected one of `{}`", ROOTS.join("`, `")),
    }
}

/// The first line that has this word where the language stands, other than as a part of something.
fn line_of(text: &str, variable: &str) -> usize {
    let names =
        |tag: &str| words(tag).iter().any(|(before, word)| *before != '.' && word == variable);
    tags(text).into_iter().find(|(_, tag)| names(tag)).map_or(1, |(line, _)| line)
}

/// The filters that there are not, and their lines: the engine would say so at the first message.
fn unknown_filters(environment: &Environment<'_>, text: &str) -> Vec<(usize, String)> {
    let mut state = environment.empty_state();
    let mut unknown = |name: &str| {
        let tried = state.apply_filter(name, &[]);
        tried.is_err_and(|error| error.kind() == ErrorKind::UnknownFilter)
    };
    let mut found = Vec::new();
    for (line, tag) in tags(text) {
        let filters = words(tag).into_iter().filter(|(before, _)| *before == '|');
        for (_, name) in filters.filter(|(_, name)| unknown(name)) {
            let meant = did_you_mean(&name, FILTERS);
            found.push((line, format!("unknown filter `{name}`{meant}")));
        }
    }
    found
}

/// The other templates that one takes in, with their lines in its text.
pub(super) fn taken_in(text: &str) -> impl Iterator<Item = (usize, &str)> {
    tags(text).into_iter().filter_map(|(line, tag)| Some((line, other_template(tag)?)))
}

/// What templates see: without `null`, which is a missing value and has a default like one.
pub(super) fn context(context: &serde_json::Value) -> Value {
    fn without_nulls(value: &serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(object) => {
                let there = object.iter().filter(|(_, value)| !value.is_null());
                there.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
            }
            serde_json::Value::Array(list) => list.iter().map(without_nulls).collect(),
            other => other.clone(),
        }
    }
    Value::from(Serde(without_nulls(context)))
}

pub(super) fn render(
    template: &Template<'_, '_>,
    context: &Value,
) -> Result<String, RefusedToSend> {
    let mut out = Bounded(Vec::new());
    match template.render_captured_to(context.clone(), &mut out) {
        Ok(_) => Ok(String::from_utf8_lossy(&out.0).into_owned()),
        Err(error) => Err(refusal(template, &error)),
    }
}

fn refusal(template: &Template<'_, '_>, error: &Error) -> RefusedToSend {
    // The innermost is about the very place; those around it, about the `include`s on the way there.
    let mut error = error;
    while let Some(deeper) =
        std::error::Error::source(error).and_then(|source| source.downcast_ref())
    {
        error = deeper;
    }
    let file = error.name().unwrap_or_else(|| template.name()).to_owned();
    let line = error.line().unwrap_or(1);
    let expression =
        || Some(error.template_source()?.get(error.range()?)?.trim().chars().take(100).collect());
    match error.kind() {
        ErrorKind::UndefinedError => {
            let variable = expression().unwrap_or_else(|| "something".to_owned());
            RefusedToSend::Missing { file, line, variable }
        }
        ErrorKind::OutOfFuel | ErrorKind::WriteFailure => {
            RefusedToSend::TooMuch { file, line, most: MOST_OUTPUT }
        }
        kind => {
            let at = expression().map_or_else(String::new, |it: String| format!(" in `{it}`"));
            RefusedToSend::Wrong { file, line, what: format!("{kind}{at}") }
        }
    }
}

struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.0.len() + piece.len() > MOST_OUTPUT {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Spaces where lines ended: a header or a title has none of those.
pub(super) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One template that stands alone and becomes a URL: what is filled in is percent-encoded.
#[derive(Debug)]
pub(in crate::actions) struct Line {
    environment: Environment<'static>,
}

impl Line {
    const NAME: &'static str = "unsubscribe.url";

    pub(in crate::actions) fn read(text: &str) -> Result<Self, String> {
        let mut environment = environment();
        let wrong = add(&mut environment, Self::NAME, text, &Known::default()).into_iter().next();
        wrong.map_or(Ok(Self { environment }), |(_, what)| Err(what))
    }

    pub(in crate::actions) fn render(
        &self,
        values: &serde_json::Value,
    ) -> Result<String, RefusedToSend> {
        let template = self.environment.get_template(Self::NAME);
        let template =
            template.map_err(|_| RefusedToSend::NoTemplate { name: Self::NAME.to_owned() })?;
        Ok(one_line(&render(&template, &context(values))?))
    }
}
