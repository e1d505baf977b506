//! What stands below a name in a template: whether there is such a member of a person, such a feature, such a score.
//! Promises that a mistyped one is found when the template is read, and not with the first message. Deliberately says nothing of what
//! sources send: of events, and of traits.

use std::collections::BTreeSet;

use minijinja::Template;

use super::tags::{tags, words};
use crate::{config::nearest, rules::RuleSet};

/// What there always is below these names, even where it has no value.
pub(in crate::actions) const MEMBERS: [(&str, &[&str]); 5] = [
    ("person", &["id", "name", "email", "phone", "traits", "last_seen", "identifiers"]),
    ("account", &["id", "name", "traits", "members", "main_user", "last_seen"]),
    ("rule", &["name"]),
    ("firing", &["id", "at", "why"]),
    ("action", &["id", "kind"]),
];

/// What the rules beside the templates keep; of any name, where it is not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    features: Option<BTreeSet<String>>,
    scores: Option<BTreeSet<String>>,
}

impl Known {
    pub(crate) fn of(rules: &RuleSet) -> Self {
        let (features, scores) = rules.names();
        Self { features: Some(features), scores: Some(scores) }
    }

    /// The members below a name; `None` if they can be any.
    fn below(&self, name: &str) -> Option<Vec<&str>> {
        let kept = match name {
            "features" => &self.features,
            "scores" => &self.scores,
            _ => &None,
        };
        match kept {
            Some(names) => Some(names.iter().map(String::as_str).collect()),
            None => MEMBERS.iter().find(|(of, _)| *of == name).map(|(_, members)| members.to_vec()),
        }
    }

    /// The members that there are not, with their lines in the text.
    pub(super) fn unknown(&self, template: &Template<'_, '_>, text: &str) -> Vec<(usize, String)> {
        let mentioned = template.undeclared_variables(true);
        let wrong = mentioned.iter().filter_map(|path| {
            let mut parts = path.split('.');
            let (name, member) = (parts.next()?, parts.next()?);
            let known = self.below(name)?;
            (!known.contains(&member)).then(|| {
                let line = line_of(text, name, member);
                let listed = known.join("`, `");
                let what = match nearest(member, known.iter().copied()) {
                    _ if known.is_empty() => "there are none".to_owned(),
                    Some(meant) => {
                        format!("did you mean `{name}.{meant}`? Expected one of `{listed}`")
                    }
                    None if known.contains(&"traits") => {
                        format!("expected one of `{listed}`; a trait is `{name}.traits.{member}`")
                    }
                    None => format!("expected one of `{listed}`"),
                };
                (line, format!("there is no `{name}.{member}`; {what}"))
            })
        });
        wrong.collect()
    }
}

/// Something that a template mentions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::actions) struct Mention {
    /// The file's name, in the folder of templates.
    pub(in crate::actions) file: String,
    /// 1-based.
    pub(in crate::actions) line: usize,
    /// One of the roots.
    pub(in crate::actions) variable: String,
    /// What of it, if it is looked into.
    pub(in crate::actions) member: Option<String>,
    /// Whether the template asks somewhere if there is such a thing.
    pub(in crate::actions) is_asked_for: bool,
}

impl Mention {
    /// All of one template, with the lines in its text.
    pub(super) fn all(file: &str, template: &Template<'_, '_>) -> Vec<Self> {
        let text = template.source();
        let mentioned = template.undeclared_variables(true);
        let mut all: Vec<Self> = mentioned
            .iter()
            .map(|path| {
                let mut parts = path.split('.');
                let variable = parts.next().unwrap_or_default().to_owned();
                let member = parts.next().map(str::to_owned);
                let line = member.as_ref().map_or(1, |member| line_of(text, &variable, member));
                let is_asked_for = asks_for(text, &variable);
                Self { file: file.to_owned(), line, variable, member, is_asked_for }
            })
            .collect();
        all.sort_by(|a, b| (a.line, &a.variable, &a.member).cmp(&(b.line, &b.variable, &b.member)));
        all
    }
}

/// Whether a text asks `if` there is something of this name.
fn asks_for(text: &str, name: &str) -> bool {
    tags(text).into_iter().any(|(_, tag)| {
        let words = words(tag);
        let has = |it: &str| words.iter().any(|(_, word)| word == it);
        (has("if") || has("elif")) && has(name)
    })
}

/// The first line that has this member of this name where the language stands.
fn line_of(text: &str, name: &str, member: &str) -> usize {
    let has = |tag: &str| {
        let words = words(tag);
        words.windows(2).any(|pair| {
            let [(before, of), (dot, it)] = pair else { return false };
            *before != '.' && of == name && *dot == '.' && it == member
        })
    };
    tags(text).into_iter().find(|(_, tag)| has(tag)).map_or(1, |(line, _)| line)
}
