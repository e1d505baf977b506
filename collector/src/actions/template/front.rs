//! What a template begins with: TOML between two lines `+++`.
//! Promises the line of a mistake, counted in the file. Deliberately does not know that what it holds are templates.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::explained;

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Front {
    pub(super) subject: Option<String>,
    pub(super) title: Option<String>,
    pub(super) button: Option<String>,
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) data: BTreeMap<String, String>,
}

impl Front {
    /// Its templates, by the names that they have in the file.
    pub(super) fn parts(self) -> impl Iterator<Item = (String, String)> {
        let Self { subject, title, button, url, data } = self;
        let lines = [("subject", subject), ("title", title), ("button", button), ("url", url)];
        let lines = lines.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
        lines.chain(data.into_iter().map(|(name, text)| (format!("data.{name}"), text)))
    }
}

const FENCE: &str = "+++";

/// The front matter, how many lines it has, and what follows it.
pub(super) fn split(text: &str) -> Result<(Front, usize, &str), (usize, String)> {
    // Editors of another system put a mark before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text;
    let mut next_line = || {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        line.trim_end()
    };
    if next_line() != FENCE {
        return Ok((Front::default(), 0, text));
    }
    let (mut front, mut lines) = (String::new(), 1);
    loop {
        if lines > text.lines().count() {
            return Err((
                1,
                "the front matter has no end; expected a line `+++` after it".to_owned(),
            ));
        }
        let line = next_line();
        lines += 1;
        if line == FENCE {
            break;
        }
        front = front + line + "\n";
    }
    let front = toml::from_str(&front).map_err(|error| {
        let before = error.span().map_or(0, |span| front[..span.start].matches('\n').count());
        (2 + before, explained(&front, &error, 2))
    })?;
    Ok((front, lines, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_stands_between_two_lines_of_pluses() {
        let (front, lines, body) = split("+++\nsubject = \"Hi\"\n+++\nDear\n+++\n").unwrap();
        assert_eq!((front.subject.as_deref(), front.title), (Some("Hi"), None));
        assert_eq!((lines, body), (3, "Dear\n+++\n"));
        let (front, lines, body) = split("\u{feff}+++\r\ntitle = 'T'\r\n+++\r\n").unwrap();
        assert_eq!((front.title.as_deref(), lines, body), (Some("T"), 3, ""));
        for none in ["", "Dear", "++++\n", "\n+++\n"] {
            assert_eq!(split(none).unwrap(), (Front::default(), 0, none));
        }
        for (wrong, line, part) in [
            ("+++\nsubject = 'x'", 1, "no end"),
            ("+++", 1, "no end"),
            ("+++\ntitle = 'x'\nsubjct = 'x'\n+++\n", 3, "did you mean `subject`?"),
            ("+++\nsubject = x\n+++\n", 2, ""),
        ] {
            let (at, what) = split(wrong).unwrap_err();
            assert!(at == line && what.contains(part), "{wrong}: {at}: {what}");
        }
    }
}
