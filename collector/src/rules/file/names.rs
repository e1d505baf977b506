//! The names of all features, scores and rules of a folder. Promises that each is there once, and is one that can be written wherever
//! names are. Deliberately knows of what they name only whose it is and what kind of value it has.

use std::collections::BTreeMap;

use super::{super::part::Per, MOST, Mistake, document::Item};
use crate::expression::types::Kind;

/// What there is to look at.
#[derive(Default)]
pub(super) struct Names {
    pub(super) features: BTreeMap<String, Per>,
    pub(super) scores: BTreeMap<String, Per>,
    pub(super) rules: BTreeMap<String, Per>,
    pub(super) kinds: BTreeMap<String, Kind>,
}

impl Names {
    /// Adds those of a file, and tells `keep` of what is wrong with them.
    pub(super) fn add<T>(
        &mut self,
        what: &str,
        items: &[Item<T>],
        list: impl Fn(&mut Self) -> &mut BTreeMap<String, Per>,
        keep: &mut impl FnMut(Mistake),
    ) {
        for Item { name, per, .. } in items {
            let (at, text) = (name.span().start, name.get_ref());
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let good = text.len() <= 64
                && text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.chars().all(letter);
            if !good {
                let message = format!(
                    "`{text}` is no name of a {what}: 1 to 64 of a-z, 0-9 and `_`, a letter first"
                );
                keep((at, message));
            }
            // Under this name the collector itself says what operators decide.
            if what == "rule" && text == "operator" {
                keep((at, "`operator` is the name under which people decide".to_owned()));
            }
            if list(self).insert(text.clone(), *per).is_some() {
                keep((at, format!("there is a {what} `{text}` in another file already")));
            }
        }
        if list(self).len() > MOST {
            keep((0, format!("a folder has at most {MOST} of one kind")));
        }
    }
}
