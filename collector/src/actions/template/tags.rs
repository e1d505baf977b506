//! The places in a template where its language stands: `{{ … }}` and `{% … %}`, each with its line.
//! Promises to pass over comments, `raw` and what stands in quotes. The engine knows what is in them, but tells only when it renders. Deliberately
//! understands no more of the language than that.

/// What stands in each of them, and its line in the text.
pub(super) fn tags(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut at, mut raw) = (Vec::new(), 0, false);
    while let Some(open) = text[at..].find('{').map(|open| at + open) {
        let (close, inner) = match text.as_bytes().get(open + 1) {
            Some(b'{') => ("}}", open + 2),
            Some(b'%') => ("%}", open + 2),
            Some(b'#') => ("#}", open + 2),
            _ => {
                at = open + 1;
                continue;
            }
        };
        let in_quotes = close != "#}";
        let Some(length) = find_close(&text[inner..], close, in_quotes) else { break };
        let content = &text[inner..inner + length];
        at = inner + length + close.len();
        let word = content.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        match (close, word) {
            ("%}", "raw") => raw = true,
            ("%}", "endraw") => raw = false,
            ("#}", _) => {}
            _ if raw => at = inner,
            _ => found.push((1 + text[..inner].matches('\n').count(), content)),
        }
    }
    found
}

fn find_close(text: &str, close: &str, mind_quotes: bool) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    text.char_indices().find_map(|(at, character)| {
        match (quote, character) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if mind_quotes => quote = Some(character),
            (None, _) if text[at..].starts_with(close) => return Some(at),
            (None, _) => {}
        }
        None
    })
}

/// A text of the language, with spaces for what stands in quotes.
pub(super) fn without_quoted(tag: &str) -> String {
    let (mut quote, mut escaped) = (None, false);
    let blank = |character: char| match (quote, character) {
        (Some(_), _) if escaped => {
            escaped = false;
            ' '
        }
        (Some(_), '\\') => {
            escaped = true;
            ' '
        }
        (Some(open), _) => {
            if open == character {
                quote = None;
            }
            ' '
        }
        (None, '"' | '\'') => {
            quote = Some(character);
            ' '
        }
        (None, other) => other,
    };
    tag.chars().map(blank).collect()
}

/// The words of a tag with the character before each, spaces aside.
pub(super) fn words(tag: &str) -> Vec<(char, String)> {
    let plain = without_quoted(tag);
    let mut words: Vec<(char, String)> = Vec::new();
    let (mut before, mut in_word) = (' ', false);
    for character in plain.chars() {
        let part = character.is_alphanumeric() || character == '_';
        match (part, in_word) {
            (true, false) => words.push((before, character.to_string())),
            (true, true) => words.last_mut().expect("a word has begun").1.push(character),
            (false, _) if !character.is_whitespace() => before = character,
            (false, true) => before = ' ',
            (false, false) => {}
        }
        in_word = part;
    }
    words
}

/// What a tag takes from another template, and needs: the text in quotes after `include`, `extends`, `import` or `from`.
pub(super) fn other_template(tag: &str) -> Option<&str> {
    let tag = tag.trim_start_matches(['-', '+']).trim_start();
    let (word, rest) = tag.split_once(char::is_whitespace)?;
    let rest =
        ["include", "extends", "import", "from"].contains(&word).then(|| rest.trim_start())?;
    let quote = rest.chars().next().filter(|first| *first == '"' || *first == '\'')?;
    let (name, rest) = rest[1..].split_once(quote)?;
    // Otherwise it is a part of an expression, or need not be there.
    let alone = ["", "import", "as", "with"];
    let next = rest.split_whitespace().next().unwrap_or_default().trim_matches(['-', '+']);
    alone.contains(&next).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_with_their_lines() {
        let text = "a {{ x }}\n{# {{ no }} #}{%- if '}}' == \"%}\" -%}\n{% raw %}{{ no }}{% endraw %}{ {{ y\n}} {{ open";
        assert_eq!(tags(text), [(1, " x "), (2, "- if '}}' == \"%}\" -"), (3, " y\n")]);
        let said: Vec<_> = words("person.name|upper ~ 'x|y' if a | b(c)")
            .into_iter()
            .map(|(b, w)| format!("{b}{w}"))
            .collect();
        assert_eq!(said, [" person", ".name", "|upper", "~if", " a", "|b", "(c"]);
        for (tag, other) in [
            (" include 'a.html' ", Some("a.html")),
            ("- extends \"b.md\"", Some("b.md")),
            (" include name ", None),
            (" include 'a' ~ 'b'", None),
            (" from 'a.txt' import b", Some("a.txt")),
            (" include 'a' -", Some("a")),
            (" include 'a' ignore missing ", None),
            (" if 'a' ", None),
            ("include", None),
        ] {
            assert_eq!(other_template(tag), other, "{tag}");
        }
    }
}
