//! A line of words with moments and code in it, in pieces for a page: a browser tells moments in the reader's own time.
//! Promises that what is no moment and no code stays as it is. Deliberately marks nothing up: templates do, and escape.

use super::words::When;

/// Around a moment: no text that people write has one.
const MARK: char = '\u{2}';

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// Between backticks.
    Code(String),
    At(When),
}

/// A moment, to be put into a line.
pub(super) fn moment(iso: &str) -> String {
    format!("{MARK}{iso}{MARK}")
}

/// A line in its pieces.
pub(crate) fn told(line: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, part) in line.split(MARK).enumerate() {
        match When::of(part) {
            at if index % 2 == 1 && at.text != at.iso => pieces.push(Piece::At(at)),
            _ => code(part, &mut pieces),
        }
    }
    pieces
}

fn code(text: &str, pieces: &mut Vec<Piece>) {
    let parts: Vec<_> = text.split('`').collect();
    for (index, part) in parts.iter().enumerate() {
        // Of an odd number of backticks the last one is just that.
        match (index % 2 == 1, index + 1 == parts.len()) {
            (true, true) => pieces.push(Piece::Text(format!("`{part}"))),
            (true, false) => pieces.push(Piece::Code((*part).to_owned())),
            _ if part.is_empty() => {}
            _ => pieces.push(Piece::Text((*part).to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_code_are_found_and_all_else_is_text() {
        let iso = "2026-11-22T17:24:05.123Z";
        let text = |text: &str| Piece::Text(text.to_owned());
        let code = Piece::Code("a b".to_owned());
        assert_eq!(
            told(&format!("next try {}; `a b`", moment(iso))),
            [text("next try "), Piece::At(When::of(iso)), text("; "), code.clone()]
        );
        assert_eq!(told("`a b` it's 5` long"), [code, text(" it's 5"), text("` long")]);
        assert_eq!(told("<b>"), [text("<b>")]);
        assert_eq!(told("a\u{2}not a moment\u{2}"), [text("a"), text("not a moment")]);
        assert!(told("").is_empty());
    }
}
