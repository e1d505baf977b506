//! The text of a mapping file becomes a mapping.
//! Promises that unknown keys, wrong values and expressions that cannot work are errors with their line.
//! Deliberately does not evaluate anything.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use toml::Spanned;

use super::{Entry, HEADERS, ITEM, Kind, Mapping, MappingError, Members, Naming, Part, Subject};
use crate::{
    config::explained,
    expression::{Expression, Vocabulary},
};

/// Entries of one file: a part may be held against each of them.
const MAX_ENTRIES: usize = 100;
/// Members of one object.
const MAX_MEMBERS: usize = 200;

type Text = Option<Spanned<String>>;
type Table = BTreeMap<String, Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    each: Text,
    #[serde(default)]
    event: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    on: Text,
    #[serde(rename = "type")]
    kind: Option<Kind>,
    event: Text,
    event_from: Text,
    user_id: Text,
    anonymous_id: Text,
    group_id: Text,
    message_id: Text,
    timestamp: Text,
    properties: Option<Spanned<RawMembers>>,
    traits: Option<Spanned<RawMembers>>,
    #[serde(default)]
    external_ids: Table,
}

/// An expression for all of it, or a table of expressions.
enum RawMembers {
    Whole(String),
    Each(Table),
}

impl<'de> Deserialize<'de> for RawMembers {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression in quotes, or a table of them")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawMembers, E> {
                Ok(RawMembers::Whole(text.to_owned()))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RawMembers, M::Error> {
                let mut members = Table::new();
                while let Some((name, expression)) = map.next_entry()? {
                    members.insert(name, expression);
                }
                Ok(RawMembers::Each(members))
            }
        }
        value.deserialize_any(Either)
    }
}

impl Mapping {
    /// Reads the text of a file; `file` only appears in errors.
    pub fn parse(text: &str, file: &str, subject: Subject) -> Result<Self, MappingError> {
        let reading = Reading { text, subject, has_items: false };
        reading.mapping(file).map_err(|(at, message)| MappingError {
            file: file.to_owned(),
            line: line(text, at),
            message,
        })
    }
}

/// Where in the text, in bytes, and what.
type Mistake = (usize, String);

struct Reading<'t> {
    text: &'t str,
    subject: Subject,
    has_items: bool,
}

impl Reading<'_> {
    fn mapping(mut self, file: &str) -> Result<Mapping, Mistake> {
        let raw: RawFile = toml::from_str(self.text).map_err(|error| {
            (error.span().map_or(0, |span| span.start), explained(self.text, &error, 1))
        })?;
        if raw.event.is_empty() {
            return Err((0, "a mapping has at least one `[[event]]`".to_owned()));
        }
        if raw.event.len() > MAX_ENTRIES {
            return Err((0, format!("a mapping has at most {MAX_ENTRIES} of `[[event]]`")));
        }
        let each = raw.each.as_ref().map(|text| self.part("each", text)).transpose()?;
        self.has_items = each.is_some();
        let entries = raw.event.into_iter().map(|entry| self.entry(entry));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let looks = |part: &Part| part.expression.mentions(HEADERS);
        let wants_headers = each.iter().chain(entries.iter().flat_map(Entry::parts)).any(looks);
        Ok(Mapping { file: file.to_owned(), subject: self.subject, each, entries, wants_headers })
    }

    fn entry(&self, raw: Spanned<RawEntry>) -> Result<Entry, Mistake> {
        let at = raw.span().start;
        let raw = raw.into_inner();
        let kind = raw.kind.unwrap_or(Kind::Track);
        let name = match (raw.event, raw.event_from) {
            (Some(name), None) if name.get_ref().trim().is_empty() => {
                return Err((name.span().start, "`event` is a name, and not empty".to_owned()));
            }
            (Some(name), None) => Some(Naming::Fixed(name.into_inner())),
            (None, Some(from)) => Some(Naming::From(self.part("event_from", &from)?)),
            (None, None) => None,
            (Some(_), Some(from)) => {
                let message = "`event` and `event_from` are both set; use one of the two";
                return Err((from.span().start, message.to_owned()));
            }
        };
        if (kind == Kind::Track) != name.is_some() {
            let message = match kind {
                Kind::Track => {
                    "the key `event` is missing: the name of the event that is made (or `event_from`, an expression)"
                }
                _ => "only events of the type `track` have a name; leave `event` out",
            };
            return Err((at, message.to_owned()));
        }
        if (kind == Kind::Group) != raw.group_id.is_some() {
            return Err((at, "`type = \"group\"` and `group_id` go together".to_owned()));
        }
        if kind != Kind::Track && raw.properties.is_some() {
            return Err((at, "only events of the type `track` have `properties`".to_owned()));
        }
        let part = |key, text: Text| text.map(|text| self.part(key, &text)).transpose();
        let entry = Entry {
            line: line(self.text, at),
            on: part("on", raw.on)?,
            kind,
            name,
            user_id: part("user_id", raw.user_id)?,
            anonymous_id: part("anonymous_id", raw.anonymous_id)?,
            group_id: part("group_id", raw.group_id)?,
            message_id: part("message_id", raw.message_id)?,
            timestamp: part("timestamp", raw.timestamp)?,
            properties: raw.properties.map(|it| self.members("properties", it)).transpose()?,
            traits: raw.traits.map(|it| self.members("traits", it)).transpose()?,
            external_ids: self.table("external_ids", at, raw.external_ids)?,
        };
        let says_who = entry.user_id.is_some() || entry.anonymous_id.is_some();
        if !says_who && entry.external_ids.is_empty() {
            let message = "who it is about is missing: `user_id`, `anonymous_id` or `external_ids`";
            return Err((at, message.to_owned()));
        }
        Ok(entry)
    }

    fn members(&self, key: &str, raw: Spanned<RawMembers>) -> Result<Members, Mistake> {
        let span = raw.span();
        match raw.into_inner() {
            RawMembers::Whole(text) => Ok(Members::Whole(self.read(key, &text, span)?)),
            RawMembers::Each(table) => Ok(Members::Each(self.table(key, span.start, table)?)),
        }
    }

    /// In the order of the file.
    fn table(&self, key: &str, at: usize, table: Table) -> Result<Vec<(String, Part)>, Mistake> {
        if table.len() > MAX_MEMBERS {
            return Err((at, format!("`{key}` has at most {MAX_MEMBERS} members")));
        }
        let mut members: Vec<_> = table.into_iter().collect();
        members.sort_by_key(|(_, text)| text.span().start);
        let parts = members.into_iter().map(|(name, text)| {
            let part = self.part(&format!("{key}.{name}"), &text)?;
            Ok((name, part))
        });
        parts.collect()
    }

    fn part(&self, key: &str, text: &Spanned<String>) -> Result<Part, Mistake> {
        self.read(key, text.get_ref(), text.span())
    }

    fn read(&self, key: &str, text: &str, span: Range<usize>) -> Result<Part, Mistake> {
        let mut variables = vec![self.subject.word()];
        if self.subject == Subject::Request {
            variables.push(HEADERS);
        }
        if self.has_items {
            variables.push(ITEM);
        }
        // TOML drops a line's end right after the three quotes.
        let quoted = &self.text[span.clone()];
        let opening = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"];
        let first = usize::from(opening.iter().any(|quotes| quoted.starts_with(quotes)));
        let expression =
            Expression::read(text, &Vocabulary::of(&variables)).map_err(|(within, message)| {
                let lines = quoted.match_indices('\n').map(|(at, _)| span.start + at + 1);
                let at = std::iter::once(span.start).chain(lines).nth(first + within);
                (at.unwrap_or(span.start), format!("`{key}`: {message}"))
            })?;
        Ok(Part { expression, line: line(self.text, span.start), key: key.to_owned() })
    }
}

fn line(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Mapping::parse(text, "shop.toml", Subject::Request).unwrap_err().to_string()
    }

    #[test]
    fn each_mistake_is_named_with_its_line() {
        let ok = "[[event]]\nevent = 'A'\nuser_id = 'body.u'\n";
        Mapping::parse(ok, "shop.toml", Subject::Request).unwrap();
        for (text, expected) in [
            ("", "shop.toml:1: a mapping has at least one `[[event]]`"),
            ("[[event]]\nevnt = 'A'", "shop.toml:2: unknown key `evnt`"),
            (
                "\n[[event]]\nevent = 5",
                "shop.toml:3: expected a text in quotes, found the number 5",
            ),
            ("[[event]]\nuser_id = 'body.u'", "shop.toml:1: the key `event` is missing"),
            ("[[event]]\nevent = 'A'", "shop.toml:1: who it is about is missing"),
            (
                "[[event]]\ntype = 'page'",
                "shop.toml:2: unknown word `page`, expected one of `track`",
            ),
            ("[[event]]\ntype = 'group'\nuser_id = 'body.u'", "shop.toml:1: `type = \"group\"`"),
            (
                "[[event]]\nevent = 'A'\nevent_from = 'body.e'",
                "shop.toml:3: `event` and `event_from`",
            ),
            (
                "[[event]]\nevent = 'A'\nuser_id = 'item.u'",
                "shop.toml:3: `user_id`: the variable `item` is not known",
            ),
            (
                "[[event]]\nevent = 'A'\nuser_id = 'row.u'",
                "shop.toml:3: `user_id`: the variable `row` is not known",
            ),
            (
                "[[event]]\nevent = 'A'\nuser_id = 'body.u'\n[event.properties]\nx = 'body.x'\ny = 'body.('",
                "shop.toml:6: `properties.y`: is no CEL",
            ),
            (
                "[[event]]\nevent = 'A'\nuser_id = 'body.u'\nproperties = '''\n{'a': 1,\n 'b': body.(}\n'''",
                "shop.toml:6: `properties`: is no CEL",
            ),
            (
                "[[event]]\nevent = 'A'\nuser_id = 'body.u'\nproperties = 5",
                "shop.toml:4: expected an expression in quotes",
            ),
            (
                "[[event]]\nevent = 'A'\nuser_id = 'body.u'\non = 'body.a.exists(x, x.b.exists(y, y == 1))'",
                "shop.toml:4: `on`: a macro (map, filter, all, exists) within another",
            ),
        ] {
            let error = error(text);
            assert!(error.starts_with(expected), "{error}\n{expected}");
        }
    }

    #[test]
    fn the_order_of_external_ids_is_that_of_the_file() {
        let text = "each = 'body'\n[[event]]\nevent = 'A'\n[event.external_ids]\nz = 'item.z'\na = 'item.a'";
        let mapping = Mapping::parse(text, "shop.toml", Subject::Request).unwrap();
        let types: Vec<_> =
            mapping.entries[0].external_ids.iter().map(|(word, _)| word.as_str()).collect();
        assert_eq!(types, ["z", "a"]);
    }
}
