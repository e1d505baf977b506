//! Reads JSON without building anything: checks a text, walks an object's members. Promises no panic and a bounded stack on
//! any input; knows nothing of events. (A parser crate would be the core's only dependency; this is what it needs of one.)

use alloc::string::String;

/// A text that is not the JSON it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The byte at which it stops being that.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "malformed JSON at byte {}: expected {}", self.at, self.expected)
    }
}

impl core::error::Error for Malformed {}

/// Checks that the text is one object and nothing else.
pub(crate) fn check_object(text: &str, max_depth: usize) -> Result<(), Malformed> {
    let mut reader = Reader::new(text, max_depth);
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.malformed("an object, `{`"));
    }
    reader.skip()?;
    reader.end()
}

/// A position in a text, and how much deeper it may go.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_left: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, max_depth: usize) -> Self {
        Self { text, at: 0, depth_left: max_depth }
    }

    /// Calls `member` with each key, still escaped, and with the reader in front of its value, which it must read.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.list(b'{', b'}', |reader| {
            let key = reader.string()?;
            reader.space();
            reader.take(b':', "`:`")?;
            reader.space();
            member(reader, key)
        })
    }

    /// Calls `item` with the reader in front of each item, which it must read.
    pub(crate) fn array(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.list(b'[', b']', item)
    }

    /// Passes over one value.
    pub(crate) fn skip(&mut self) -> Result<(), Malformed> {
        self.space();
        match self.peek() {
            Some(b'{') => self.object(|reader, _| reader.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.number(),
        }
    }

    /// A whole number without sign, fraction or exponent.
    pub(crate) fn whole(&mut self) -> Result<u32, Malformed> {
        self.space();
        let start = self.at;
        self.number()?;
        self.text[start..self.at]
            .parse()
            .map_err(|_| Malformed { at: start, expected: "a whole number" })
    }

    /// A string's inside, still escaped.
    pub(crate) fn string(&mut self) -> Result<&'a str, Malformed> {
        self.space();
        self.take(b'"', "a string")?;
        let start = self.at;
        loop {
            match self.next() {
                Some(b'"') => return Ok(&self.text[start..self.at - 1]),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => {
                        for _ in 0..4 {
                            if !self.next().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                return Err(self.malformed("four hexadecimal digits"));
                            }
                        }
                    }
                    _ => return Err(self.malformed("an escape")),
                },
                Some(0x20..) => {}
                _ => return Err(self.malformed("the string's end")),
            }
        }
    }

    /// Nothing but space is left.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.malformed("the end")) }
    }

    fn list(
        &mut self,
        open: u8,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.space();
        self.take(open, "an object or an array")?;
        self.depth_left =
            self.depth_left.checked_sub(1).ok_or(self.malformed("less deeply nested values"))?;
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
        } else {
            loop {
                item(self)?;
                self.space();
                match self.next() {
                    Some(b',') => {}
                    Some(byte) if byte == close => break,
                    _ => return Err(self.malformed("`,` or a closing bracket")),
                }
                self.space();
            }
        }
        self.depth_left += 1;
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.malformed("a value")) }
    }

    fn word(&mut self, word: &'static str) -> Result<(), Malformed> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.malformed(word))
        }
    }

    pub(crate) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.malformed(expected))
        }
    }

    fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }
}

/// Appends `text` as a JSON string, escaped exactly as JavaScript's `JSON.stringify` escapes well-formed text.
pub(crate) fn write_string(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control @ '\0'..='\u{1f}' => {
                out.push_str("\\u00");
                out.push(char::from(HEX[control as usize >> 4]));
                out.push(char::from(HEX[control as usize & 15]));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_serde_json_on_what_is_json() {
        let texts = [
            r#"{}"#,
            r#" {"a":1} "#,
            r#"{"a":[1,-2.5e+3,0,"x\né",true,false,null,{"b":{}}]}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{"a":}"#,
            r#"{"a":1}}"#,
            r#"{"a":1"#,
            r#"{'a':1}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            r#"{"a":tru}"#,
            r#"{"a":-}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e}"#,
            "{\"a\":\"\u{1}\"}",
            r#"{"a":[}"#,
            r#"{"a":[,]}"#,
            "",
            " ",
            "{",
            "\"",
            "{\"",
            "{\"a",
            "{\"a\\",
            "{\"a\":\"é\"}",
        ];
        for text in texts {
            let theirs =
                serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
            assert_eq!(check_object(text, 64).is_ok(), theirs, "{text}");
        }
        assert!(check_object("[]", 64).is_err(), "an array is not an object");
    }

    #[test]
    fn random_edits_of_json_agree_with_serde_json_and_never_panic() {
        let seed_text = r#"{"a":[1,-2.5e+3,"x\né\u00e9",true,null,{"b":{}}],"c":"d"}"#;
        let alphabet: Vec<char> = seed_text.chars().chain("\u{0}\u{7f}😀 \n".chars()).collect();
        let mut random = crate::random::Random::new([5, 6]);
        let mut pick = |n: usize| usize::try_from(random.up_to(n as u64 - 1)).unwrap();
        let mut valid = 0;
        for _ in 0..20_000 {
            let mut text: Vec<char> = seed_text.chars().collect();
            for _ in 0..=pick(3) {
                let at = pick(text.len());
                match pick(3) {
                    0 => text[at] = alphabet[pick(alphabet.len())],
                    1 => text.insert(at, alphabet[pick(alphabet.len())]),
                    _ => drop(text.remove(at)),
                }
            }
            let text: String = text.into_iter().collect();
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
            // Numbers beyond a double, and halves of surrogate pairs, are grammar all the same.
            let grammar = theirs.is_ok()
                || check_object(&text, 64)
                    .is_ok_and(|()| text.contains("\\u") || text.contains('e'));
            assert_eq!(check_object(&text, 64).is_ok(), grammar, "{text}");
            valid += u32::from(theirs.is_ok());
        }
        assert!(valid > 1_000, "only {valid} of the edited texts were JSON: nothing was compared");
    }

    #[test]
    fn depth_is_bounded() {
        let nested =
            |depth: usize| format!("{}{}", "{\"a\":".repeat(depth - 1) + "{", "}".repeat(depth));
        assert!(check_object(&nested(64), 64).is_ok());
        assert_eq!(
            check_object(&nested(65), 64).unwrap_err().expected,
            "less deeply nested values"
        );
        assert!(check_object(&"[".repeat(1_000_000), 64).is_err());
        assert!(check_object(&"{\"a\":[".repeat(100_000), 64).is_err());
    }

    #[test]
    fn strings_are_escaped_as_json_stringify_does() {
        let mut out = String::new();
        write_string(&mut out, "a\"b\\c\u{8}\t\n\u{c}\r\u{0}\u{1f}\u{7f}é😀/");
        assert_eq!(out, "\"a\\\"b\\\\c\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}é😀/\"");
        assert_eq!(
            serde_json::from_str::<String>(&out).unwrap(),
            "a\"b\\c\u{8}\t\n\u{c}\r\u{0}\u{1f}\u{7f}é😀/"
        );
    }
}
