//! Makes ready what rules send by: destinations and templates. Promises that a rule which names one that is not there is refused
//! when the collector starts, and not when the message is due.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{Destination, DestinationError, TemplateError, Templates, template::Known};
use crate::{
    config::{Config, Name},
    rules::RuleSet,
};

/// Why what rules send cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ActionsError {
    /// A destination cannot be used as configured.
    #[error("destination `{destination}`: {cause}")]
    Destination {
        /// Its name.
        destination: Name,
        /// What is wrong.
        cause: DestinationError,
    },
    /// A template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A rule names what is not there.
    #[error("{file}: the rule `{rule}`: {wrong}")]
    Rule {
        /// The rule's file.
        file: PathBuf,
        /// The rule.
        rule: String,
        /// What is wrong.
        wrong: String,
    },
}

/// What messages are sent by.
pub(crate) type Opened = (BTreeMap<String, Destination>, Option<Templates>);

/// Opens all destinations, reads the templates that stand beside the rules, and looks whether the rules find what they name.
pub(crate) fn open(config: &Config, rules: &RuleSet) -> Result<Opened, ActionsError> {
    let mut destinations = BTreeMap::new();
    for (name, of) in &config.destinations {
        let wrong = |cause| ActionsError::Destination { destination: name.clone(), cause };
        destinations.insert(name.to_string(), Destination::open(of).map_err(wrong)?);
    }
    let templates = config.rules.as_deref();
    let templates =
        templates.map(|folder| Templates::read_beside(folder, &Known::of(rules))).transpose()?;
    refuse_missing(rules, templates.as_ref(), |name| {
        destinations.get(name).map(Destination::kind)
    })?;
    Ok((destinations, templates))
}

/// A name for the texts of a folder of rules: rule files and templates. `None` if they cannot be read.
pub(crate) fn texts(folder: &Path) -> Option<String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        let is_read = path
            .extension()
            .and_then(|it| it.to_str())
            .is_some_and(|ending| ["toml", "md", "txt", "html"].contains(&ending));
        if is_read && path.is_file() {
            files.insert(path.clone(), Sha256::digest(std::fs::read(&path).ok()?));
        }
    }
    let mut all = Sha256::new();
    for (path, digest) in files {
        all.update(path.as_os_str().as_encoded_bytes());
        all.update(digest);
    }
    Some(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a start would stumble over: templates that cannot be used, and destinations and templates that rules name and that are not
/// there. Without a configuration nothing is said of destinations.
pub fn look(folder: &Path, rules: &RuleSet, config: Option<&Config>) -> Result<(), ActionsError> {
    let templates = Templates::read_beside(folder, &Known::of(rules))?;
    let named = |name: &str| {
        let (_, of) = config?.destinations.iter().find(|(known, _)| known.as_str() == name)?;
        Some(of.kind())
    };
    let unknown: BTreeMap<&str, &str> =
        rules.sends().filter_map(|sends| Some((sends.destination?, sends.kind))).collect();
    refuse_missing(rules, Some(&templates), |name| match config {
        Some(_) => named(name),
        None => unknown.get(name).copied(),
    })
}

/// Refuses rules that name a template or a destination that is not there; `kind` tells a destination's.
fn refuse_missing<'a>(
    rules: &RuleSet,
    templates: Option<&Templates>,
    kind: impl Fn(&str) -> Option<&'a str>,
) -> Result<(), ActionsError> {
    for sends in rules.sends() {
        let wrong = |wrong: String| ActionsError::Rule {
            file: sends.file.into(),
            rule: sends.rule.to_owned(),
            wrong,
        };
        let wanted = sends.kind;
        if let Some(name) = sends.destination {
            match kind(name) {
                Some(kind) if kind == wanted => {}
                Some(kind) => {
                    return Err(wrong(format!(
                        "`{wanted} = \"{name}\"`: this destination is of the kind `{kind}`"
                    )));
                }
                None => {
                    return Err(wrong(format!(
                        "there is no destination `{name}`; configure it as `[destinations.{name}]`"
                    )));
                }
            }
        }
        let Some(template) = sends.template else { continue };
        if !templates.is_some_and(|templates| templates.names().contains(&template)) {
            return Err(wrong(format!(
                "there is no template `{template}` beside the rule files: {template}.md, .txt or .html"
            )));
        }
        if sends.destination.is_none() && !templates.is_some_and(|all| all.has_text(template)) {
            return Err(wrong(format!(
                "`{wanted}` shows plain text: the template `{template}.txt` is missing beside the rule files"
            )));
        }
    }
    Ok(())
}
