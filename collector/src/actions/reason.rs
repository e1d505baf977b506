//! What may be kept of what a destination says: its words without the people in them.
//! Promises that no e-mail address, no telephone number and not the recipient, however written, is left, and that it is short.
//! Deliberately errs on that side: a long number that is no telephone's goes too.

/// Characters of an answer that are kept.
const KEPT: usize = 300;
/// Digits from which on a word is taken for a telephone number: the shortest that can be called from abroad have seven.
const NUMBER_DIGITS: usize = 7;
/// Stands where something was.
const LEFT_OUT: &str = "…";

/// The words of an answer to a message for `to`.
pub(super) fn without_people(said: &str, to: Option<&str>) -> String {
    let mut said = said.to_owned();
    if let Some(to) = to.filter(|to| to.len() > 2) {
        said = said.replace(to, LEFT_OUT);
    }
    let words = said.split_whitespace().map(|word| match is_about_someone(word) {
        true => LEFT_OUT,
        false => word,
    });
    let mut kept = String::new();
    for word in words {
        // A number may be written in groups: `+1 555 010 99 99`.
        if word == LEFT_OUT && kept.ends_with(LEFT_OUT) {
            continue;
        }
        kept.push_str(if kept.is_empty() { "" } else { " " });
        kept.push_str(word);
    }
    without_grouped_numbers(&kept).chars().take(KEPT).collect()
}

fn is_about_someone(word: &str) -> bool {
    word.contains('@')
        || word.contains("%40")
        || word.bytes().filter(u8::is_ascii_digit).count() >= NUMBER_DIGITS
}

/// Replaces a row of words that are all digits and signs, if they make a telephone number together.
fn without_grouped_numbers(text: &str) -> String {
    let part_of_number = |word: &str| {
        word.bytes().any(|byte| byte.is_ascii_digit())
            && word.bytes().all(|byte| byte.is_ascii_digit() || b"+-()./,;:".contains(&byte))
    };
    let words: Vec<_> = text.split(' ').collect();
    let mut kept: Vec<&str> = Vec::new();
    for row in words.chunk_by(|a, b| part_of_number(a) && part_of_number(b)) {
        let digits: usize =
            row.iter().map(|word| word.bytes().filter(u8::is_ascii_digit).count()).sum();
        match row.len() > 1 && digits >= NUMBER_DIGITS {
            true => kept.push(LEFT_OUT),
            false => kept.extend(row),
        }
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_left_in_what_was_said() {
        for (said, to, left) in [
            (
                "550 5.1.1 <ann@b.example>: Recipient address rejected",
                "ann@b.example",
                "550 5.1.1 <…>: Recipient address rejected",
            ),
            ("no such user ANN@B.example here", "ann@b.example", "no such user … here"),
            ("'To' number: +15550109999 is not valid", "+1555", "'To' number: … is not valid"),
            ("call +1 555 010 99 99 now", "x", "call … now"),
            ("mailto:ann%40b.example", "", "…"),
            ("429 Too Many Requests, 60 s", "", "429 Too Many Requests, 60 s"),
            ("a\r\nb\u{0}", "", "a b\u{0}"),
        ] {
            assert_eq!(without_people(said, Some(to)), left, "{said}");
        }
        assert_eq!(without_people(&"word ".repeat(1000), None).chars().count(), 300);
    }
}
