//! A rule file's text as the things it holds: features, scores, rules, and what is said once for all.
//! Promises every key that is not known or has the wrong kind of value, and not only the first, and what is left without them.
//! Deliberately knows no key itself: see `raw`.

use std::ops::Range;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, ValueDeserializer},
};

use super::{
    super::part::Per,
    Mistake,
    raw::{RawFeature, RawRule, RawScore, RawSettings, Text},
};
use crate::config::{explained, plain_words};

/// Mistakes of one thing that are looked for: each is found by reading the rest once more.
const MOST: usize = 32;

/// One thing of a file.
pub(super) struct Item<T> {
    pub(super) name: Text,
    /// Whose, as far as that is said at all.
    pub(super) per: Per,
    /// What is said of it, without what cannot be read; `None` where nothing is left of it then.
    pub(super) of: Option<Spanned<T>>,
    /// Where it cannot be read, which has been told.
    pub(super) unread: Vec<usize>,
}

pub(super) struct Document {
    pub(super) features: Vec<Item<RawFeature>>,
    pub(super) scores: Vec<Item<RawScore>>,
    pub(super) rules: Vec<Item<RawRule>>,
    pub(super) settings: Option<RawSettings>,
}

impl Document {
    /// Reads a text as far as it can be, and adds what cannot.
    pub(super) fn read(text: &str, wrong: &mut Vec<Mistake>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let span = root.span();
        let mut table = root.into_inner();
        // What the parser goes on with after a mistake is its guess: one of a text is said, and of the rest only the names count.
        let is_sound = errors.is_empty();
        if let Some(error) = errors.into_iter().next() {
            wrong.push((error.span().map_or(0, |it| it.start), explained(text, &error, 1)));
        }
        let mut found = Vec::new();
        let before = wrong.len();
        let document = Self {
            features: items(&mut table, "features", &mut found),
            scores: items(&mut table, "scores", &mut found),
            rules: items(&mut table, "rules", &mut found),
            settings: read(Spanned::new(span, DeValue::Table(table)), &mut found)
                .map(Spanned::into_inner),
        };
        wrong.extend(found);
        if is_sound {
            return document;
        }
        wrong.truncate(before);
        document.names_only()
    }

    fn names_only(self) -> Self {
        fn names<T>(items: Vec<Item<T>>) -> Vec<Item<T>> {
            items.into_iter().map(|item| Item { of: None, ..item }).collect()
        }
        Self {
            features: names(self.features),
            scores: names(self.scores),
            rules: names(self.rules),
            settings: None,
        }
    }
}

/// Takes a table of things out of a file, in the order in which they stand.
fn items<'i, T: for<'de> Deserialize<'de>>(
    table: &mut DeTable<'i>,
    key: &str,
    wrong: &mut Vec<Mistake>,
) -> Vec<Item<T>> {
    // What is no table is told with the rest of the file.
    let Some((key, value)) = table.remove_entry(key) else { return Vec::new() };
    let span = value.span();
    let DeValue::Table(things) = value.into_inner() else {
        let what = format!("`{}` is a table: begin each with `[{0}.NAME]`", key.get_ref());
        wrong.push((span.start, what));
        return Vec::new();
    };
    let mut items = Vec::new();
    for (name, value) in things {
        let per = value.get_ref().as_table().and_then(|it| it.get("per")?.get_ref().as_str());
        let per = if per == Some("account") { Per::Account } else { Per::Person };
        let name = Spanned::new(name.span(), name.into_inner().into_owned());
        let before = wrong.len();
        let of = read(value, wrong);
        let unread = wrong[before..].iter().map(|(at, _)| *at).collect();
        items.push(Item { name, per, of, unread });
    }
    items.sort_by_key(|item| item.name.span().start);
    items
}

/// Reads a value, and each part of it that cannot be is taken out and told.
fn read<T: for<'de> Deserialize<'de>>(
    value: Spanned<DeValue<'_>>,
    wrong: &mut Vec<Mistake>,
) -> Option<Spanned<T>> {
    let (mut left, before) = (value, wrong.len());
    loop {
        let error = match Spanned::<T>::deserialize(ValueDeserializer::from(left.clone())) {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let span = error.span().unwrap_or_else(|| left.span());
        // What is missing may be what was taken out.
        let is_missing = error.message().starts_with("missing field");
        let is_of_all = span.start == left.span().start && wrong.len() > before;
        let comes_of_it = wrong[before..].iter().any(|(at, _)| span.contains(at));
        if !is_missing || !is_of_all && !comes_of_it {
            wrong.push((span.start, plain_words(error.message())));
        }
        if wrong.len() - before >= MOST || !cut(left.get_mut(), &span) {
            return None;
        }
    }
}

/// Takes out the innermost key or element in which a place is; false if there is none.
fn cut(value: &mut DeValue<'_>, place: &Range<usize>) -> bool {
    let holds = |span: Range<usize>| span.start <= place.start && place.start < span.end;
    match value {
        DeValue::Table(table) => cut_table(table, place, &holds),
        DeValue::Array(list) => cut_list(list, place, &holds),
        _ => false,
    }
}

fn cut_table(
    table: &mut DeTable<'_>,
    place: &Range<usize>,
    holds: &dyn Fn(Range<usize>) -> bool,
) -> bool {
    let key = table.iter().find(|(key, _)| holds(key.span()));
    let inner = || table.iter().find(|(_, value)| holds(value.span()) || reaches(value, holds));
    let Some((key, _)) = key.or_else(inner) else { return false };
    let key = key.get_ref().clone().into_owned();
    let is_key = table.get_key_value(key.as_str()).is_some_and(|(key, _)| holds(key.span()));
    let is_inside =
        !is_key && table.get_mut(key.as_str()).is_some_and(|it| cut(it.get_mut(), place));
    is_inside || table.remove(key.as_str()).is_some()
}

/// Of a list only what is inside its elements is taken out: without one of them it would be another list.
fn cut_list(
    list: &mut DeArray<'_>,
    place: &Range<usize>,
    holds: &dyn Fn(Range<usize>) -> bool,
) -> bool {
    let found = list.iter_mut().find(|value| holds(value.span()) || reaches(value, holds));
    found.is_some_and(|value| cut(value.get_mut(), place))
}

/// Whether a place is in something of a table whose own span is that of its header alone.
fn reaches(value: &Spanned<DeValue<'_>>, holds: &dyn Fn(Range<usize>) -> bool) -> bool {
    match value.get_ref() {
        DeValue::Table(table) => table
            .iter()
            .any(|(key, value)| holds(key.span()) || holds(value.span()) || reaches(value, holds)),
        DeValue::Array(list) => list.iter().any(|it| holds(it.span()) || reaches(it, holds)),
        _ => false,
    }
}
