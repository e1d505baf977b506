//! Makes ready what rules send by: destinations and templates. Promises that a rule which names one that is not there is refused
//! when the collector starts, and not when the message is due.

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest as _, Sha256};

use super::{Destination, DestinationError, Templates, looking::beside};
use crate::{
    config::{Config, Name},
    rules::{RuleErrors, RuleSet},
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
    /// A template cannot be used, or a rule names what is not there.
    #[error(transparent)]
    Rules(#[from] RuleErrors),
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
    let kinds = destinations.iter().map(|(name, of)| (name.as_str(), of.kind())).collect();
    let templates = config.rules.as_deref();
    let templates = templates.map(|folder| templates_for(rules, folder, Some(&kinds)));
    Ok((destinations, templates.transpose()?))
}

/// The templates that stand beside rules, if they are all that these need.
fn templates_for(
    rules: &RuleSet,
    folder: &Path,
    kinds: Option<&BTreeMap<&str, &'static str>>,
) -> Result<Templates, RuleErrors> {
    let (templates, wrong) = beside(rules, folder, kinds);
    if wrong.is_empty() { Ok(templates) } else { Err(RuleErrors::new(wrong)) }
}

/// A name for the texts of a folder of rules: rule files and templates. `None` if they cannot be read.
pub(crate) fn texts(folder: &Path) -> Option<String> {
    digest(folder, |name| {
        let endings = [".toml", ".md", ".txt", ".html"];
        !is_fixture(name) && endings.iter().any(|ending| name.ends_with(ending))
    })
}

/// A name for the texts of the fixtures beside them, which change no rule.
pub(crate) fn fixtures(folder: &Path) -> Option<String> {
    digest(folder, is_fixture)
}

fn is_fixture(name: &str) -> bool {
    name.ends_with(".test.toml")
}

fn digest(folder: &Path, is_read: impl Fn(&str) -> bool) -> Option<String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        let is_read = path.file_name().and_then(|it| it.to_str()).is_some_and(&is_read);
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
