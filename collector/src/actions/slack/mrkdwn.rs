//! Markdown → Slack's own markup, "mrkdwn": bold, italics, struck out, code, links, headings, lists, quotes.
//! Promises that no text becomes a mention or a link that is not one in the Markdown: `&`, `<` and `>` are escaped, as Slack wants it
//! (<https://docs.slack.dev/messaging/formatting-message-text>). Deliberately leaves tables, images and nested lists as they are written.

/// Text as it is.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A line for each line.
pub(super) fn of_markdown(markdown: &str) -> Vec<String> {
    let mut in_code = false;
    let lines = markdown.lines().map(|line| {
        let begins = line.trim_start();
        if begins.starts_with("```") {
            in_code = !in_code;
            return "```".to_owned();
        }
        if in_code {
            return escape(line);
        }
        let indent = &line[..line.len() - begins.len()];
        let heading = begins.trim_start_matches('#');
        let hashes = begins.len() - heading.len();
        if (1..=6).contains(&hashes) && heading.starts_with(' ') {
            // A heading that is bold already needs no more stars.
            return format!("*{}*", inline(heading.trim().trim_matches('*')));
        }
        for bullet in ["- ", "* ", "+ "] {
            if let Some(item) = begins.strip_prefix(bullet) {
                return format!("{indent}• {}", inline(item));
            }
        }
        match begins.strip_prefix('>') {
            Some(quoted) => format!(">{}", inline(quoted)),
            None => format!("{indent}{}", inline(begins)),
        }
    });
    let mut lines: Vec<_> = lines.collect();
    if in_code {
        lines.push("```".to_owned());
    }
    lines
}

fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let escaped = rest.chars().nth(1).filter(char::is_ascii_punctuation);
        if first == '\\'
            && let Some(literal) = escaped
        {
            out += &escape(literal.encode_utf8(&mut [0; 4]));
            rest = &rest[2..];
            continue;
        }
        if first == '`'
            && let Some((code, after)) = rest[1..].split_once('`')
        {
            out = out + "`" + &escape(code) + "`";
            rest = after;
            continue;
        }
        if first == '['
            && let Some((link, after)) = link(rest)
        {
            out += &link;
            rest = after;
            continue;
        }
        let marks = [("**", "*"), ("__", "*"), ("~~", "~"), ("*", "_")];
        let marked = marks.iter().find_map(|(mark, slacks)| {
            let inner = rest.strip_prefix(mark)?;
            let end = find(inner, mark)?;
            let wraps = end > 0 && !inner.starts_with(' ') && !inner[..end].ends_with(' ');
            wraps.then(|| (*slacks, &inner[..end], &inner[end + mark.len()..]))
        });
        if let Some((mark, inner, after)) = marked {
            out = out + mark + &inline(inner) + mark;
            rest = after;
            continue;
        }
        let (literal, after) = rest.split_at(first.len_utf8());
        out += &escape(literal);
        rest = after;
    }
    out
}

/// Where this stands first without a backslash before it.
fn find(text: &str, what: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, character)| {
        let plain = !escaped;
        escaped = plain && character == '\\';
        (plain && text[at..].starts_with(what)).then_some(at)
    })
}

/// `[text](https://…)`, and what follows it.
fn link(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('[')?;
    let end = find(inner, "]")?;
    let address = inner[end + 1..].strip_prefix('(')?;
    let close = find(address, ")")?;
    let (words, url) = (&inner[..end], without_backslashes(&address[..close]));
    let goes = ["https://", "http://", "mailto:"].iter().any(|scheme| url.starts_with(scheme));
    let plain = |c: char| !c.is_whitespace() && !c.is_control();
    if !goes || !url.chars().all(plain) || words.is_empty() {
        return None;
    }
    let url = url.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace('&', "&amp;");
    // A bar would end the address.
    Some((format!("<{url}|{}>", inline(words).replace('|', "¦")), &address[close + 1..]))
}

fn without_backslashes(text: &str) -> String {
    let mut characters = text.chars().peekable();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        let escapes =
            character == '\\' && characters.peek().is_some_and(char::is_ascii_punctuation);
        plain.push(if escapes { characters.next().unwrap_or(character) } else { character });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_mrkdwn() {
        for (markdown, mrkdwn) in [
            ("plain & <b>", "plain &amp; &lt;b&gt;"),
            (
                "**bold** and *italic* and __bold__ and _italic_ and ~~gone~~",
                "*bold* and _italic_ and *bold* and _italic_ and ~gone~",
            ),
            ("**a *b* c**", "*a _b_ c*"),
            ("2 * 3 * 4 and **open", "2 * 3 * 4 and **open"),
            ("# Title", "*Title*"),
            ("### **Title**", "*Title*"),
            ("#tag", "#tag"),
            ("- one\n  - two\n* three\n1. four", "• one\n  • two\n• three\n1. four"),
            ("> quoted <x>", "> quoted &lt;x&gt;"),
            ("`a < *b*`", "`a &lt; *b*`"),
            ("```rust\na < *b*\n```", "```\na &lt; *b*\n```"),
            ("```\nopen", "```\nopen\n```"),
            ("[Ann **B**](https://h/p?a=1&b=2)!", "<https://h/p?a=1&amp;b=2|Ann *B*>!"),
            ("[x](javascript:alert)", "[x](javascript:alert)"),
            ("[x](https://a b)", "[x](https://a b)"),
            (
                r"\<!channel\> \*a\* \[x\]\(https://evil\) \\",
                r"&lt;!channel&gt; *a* [x](https://evil) \",
            ),
            (r"[p](https://h/a\_b\)c)", "<https://h/a_b)c|p>"),
            (
                "<!channel> <@U1> <https://evil|x>",
                "&lt;!channel&gt; &lt;@U1&gt; &lt;https://evil|x&gt;",
            ),
            ("[a|b](https://h/|x>)", "<https://h/%7Cx%3E|a¦b>"),
            ("é\\é ** [", "é\\é ** ["),
        ] {
            assert_eq!(of_markdown(markdown).join("\n"), mrkdwn, "{markdown}");
        }
    }
}
