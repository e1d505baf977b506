//! A key that stands twice in a TOML text: which one, and where it stands first.
//! Promises the name and the line, or the parser's bare word where it cannot find them. Deliberately decides nothing: TOML refuses it.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What the parser says of it, and no more.
const DUPLICATE: &str = "duplicate key";
/// Stands in the place of the second one: no file of a sound mind has it.
const MARK: &str = "headwater-stood-here-twice";

/// What is wrong, if it is that, of an error at this place of a text whose first line has this number.
pub(super) fn said(text: &str, error: &toml::de::Error, first_line: usize) -> Option<String> {
    let place = error.span().filter(|_| error.message() == DUPLICATE)?;
    let key = text.get(place.clone())?;
    let name = DeTable::parse(&format!("{key} = 0")).ok()?.get_ref().keys().next()?.to_string();
    // Under a name of its own it is in the same table as the first one.
    let marked = format!("{}{MARK}{}", &text[..place.start], &text[place.end..]);
    let (root, _) = DeTable::parse_recoverable(&marked);
    let first = beside(root.get_ref(), &name).filter(|first| *first < place.start);
    let line = |first| first_line + text[..first].matches('\n').count();
    let first =
        first.map_or_else(String::new, |at| format!(": it stands in line {} already", line(at)));
    Some(format!("{DUPLICATE} `{name}`{first}"))
}

/// Where a key stands in the table that has the mark.
fn beside(table: &DeTable<'_>, name: &str) -> Option<usize> {
    if table.contains_key(MARK) {
        return table.get_key_value(name).map(|(key, _)| key.span().start);
    }
    table.values().find_map(|value| within(value, name))
}

fn within(value: &Spanned<DeValue<'_>>, name: &str) -> Option<usize> {
    match value.get_ref() {
        DeValue::Table(table) => beside(table, name),
        DeValue::Array(list) => list.iter().find_map(|value| within(value, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_with_its_first_line() {
        for (text, expected) in [
            ("a = 1\nb = 2\na = 3\n", "`a`: it stands in line 1 already"),
            // Under another table it is another key.
            ("a = 1\n[t]\nb = 1\na = 2\n\"a\" = 3\n", "`a`: it stands in line 4 already"),
            (
                "[rules.a]\non = 'A'\n[rules.b]\non = 'A'\n[rules.a]\non = 'B'\n",
                "`a`: it stands in line 1 already",
            ),
            (
                "[rules.a]\nlimit = { times = 1,\n times = 2 }\n",
                "`times`: it stands in line 2 already",
            ),
            ("x = [{ a = 1 }, { b = 1, b = 2 }]\n", "`b`: it stands in line 1 already"),
            ("[s]\nt.a = 1\nt.b = 2\nt.a = 3\n", "`a`: it stands in line 2 already"),
            ("[[e]]\nn = 1\n[[e]]\nm = 1\nn = 2\nm = 3\n", "`m`: it stands in line 4 already"),
            ("a = 1\n[[a]]\nb = 1\n", "`a`: it stands in line 1 already"),
            // What the second one has in it may not be sound either.
            ("a = 1\na = 2\nb = \n", "`a`: it stands in line 1 already"),
        ] {
            let (_, errors) = DeTable::parse_recoverable(text);
            let found = said(text, &errors[0], 1);
            assert_eq!(found.as_deref(), Some(&*format!("duplicate key {expected}")), "{text}");
        }
    }

    #[test]
    fn other_mistakes_are_not_its_own() {
        let (_, errors) = DeTable::parse_recoverable("a = \n");
        assert_eq!(said("a = \n", &errors[0], 1), None);
    }
}
