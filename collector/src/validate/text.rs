//! JSON as text: what can be told of a value without parsing it, and objects put together from texts that are JSON already.
//! Promises one pass over a value at most, and an object that stands on one line. Deliberately knows no field's name.

use std::{borrow::Cow, ops::Range};

use bumpalo::collections::String;
use serde_json::value::RawValue;

use super::Memory;

/// What a value is, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Text,
    Object,
    Other,
}

pub(super) fn kind(raw: &RawValue) -> Kind {
    match raw.get().as_bytes() {
        [b'n', ..] => Kind::Null,
        [b'"', ..] => Kind::Text,
        [b'{', ..] => Kind::Object,
        _ => Kind::Other,
    }
}

/// A JSON string's text; `None` for another kind of value, and for what no text is (half a pair of surrogates).
pub(super) fn unquoted(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inside.as_bytes()) {
        None => Some(Cow::Borrowed(inside)),
        Some(_) => serde_json::from_str(text).ok().map(Cow::Owned),
    }
}

/// Writes a JSON object from texts that are JSON already, into the batch's memory.
pub(super) struct ObjectText<'m>(String<'m>);

impl<'m> ObjectText<'m> {
    pub(super) fn with_capacity(bytes: usize, memory: &'m Memory) -> Self {
        let mut text = String::with_capacity_in(bytes, memory);
        text.push('{');
        Self(text)
    }

    /// A member whose value is JSON.
    pub(super) fn member(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.push_str(value);
    }

    /// A member whose value is a text without anything to escape.
    pub(super) fn plain_text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.0.push('"');
        self.0.push_str(text);
        self.0.push('"');
    }

    /// Members, as they stand between an object's braces; maybe none.
    pub(super) fn members(&mut self, members: &str) {
        if !members.trim_ascii().is_empty() {
            self.comma();
            self.0.push_str(members);
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn comma(&mut self) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
    }

    fn name(&mut self, name: &str) {
        self.comma();
        // All of it at once: names are short, and stopping early costs more than it saves.
        let escaped = |b: u8| (b < b' ') | (b == b'"') | (b == b'\\');
        if name.bytes().fold(false, |any, b| any | escaped(b)) {
            self.0.push_str(&serde_json::Value::from(name).to_string());
        } else {
            self.0.push('"');
            self.0.push_str(name);
            self.0.push('"');
        }
        self.0.push(':');
    }

    /// A record is one line. A line break in JSON is only ever space between tokens, and as long as one.
    pub(super) fn finish(mut self) -> &'m str {
        self.0.push('}');
        if memchr::memchr2(b'\n', b'\r', self.0.as_bytes()).is_some() {
            let one_line = self.0.replace(['\n', '\r'], " ");
            self.0.clear();
            self.0.push_str(&one_line);
        }
        self.0.into_bump_str()
    }
}

/// Whether objects and arrays nest deeper than `most`.
pub(super) fn deeper_than(json: &str, most: usize) -> bool {
    let bytes = json.as_bytes();
    // As many opening brackets as that are needed, and nearly no event has them: counting them is several times cheaper than
    // telling text from structure. In steps whose count fits a byte, which the compiler makes wide instructions of.
    let brackets =
        |bytes: &[u8]| bytes.iter().map(|b| u8::from(matches!(b, b'{' | b'['))).sum::<u8>();
    if bytes.len() <= most
        || bytes.chunks(255).map(|part| usize::from(brackets(part))).sum::<usize>() <= most
    {
        return false;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(bytes, at + 1),
            _ => {}
        }
        if depth > most {
            return true;
        }
        at += 1;
    }
    false
}

fn end_of_string(bytes: &[u8], from: usize) -> usize {
    let mut rest: Range<usize> = from..bytes.len();
    while let Some(at) = rest.next() {
        match bytes[at] {
            b'\\' => drop(rest.next()),
            b'"' => return at,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_not_depth() {
        assert!(deeper_than("[[[]]]", 2) && !deeper_than("[[],[],[]]", 2));
        assert!(!deeper_than(r#"["[[[[\\\"[["]"#, 2));
        let many = format!("[{}[[1]]]", "[],".repeat(300));
        assert!(deeper_than(&many, 2) && !deeper_than(&many, 3));
    }

    #[test]
    fn an_object_is_put_together_on_one_line() {
        let memory = Memory::new();
        let mut object = ObjectText::with_capacity(0, &memory);
        object.members(" ");
        object.plain_text("a", "x");
        object.member("b\n", "[1,\n2]");
        object.members("\"c\":1,\"d\":2");
        assert_eq!(object.finish(), r#"{"a":"x","b\n":[1, 2],"c":1,"d":2}"#);
        assert_eq!(ObjectText::with_capacity(9, &memory).finish(), "{}");
    }
}
