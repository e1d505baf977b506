//! Another configuration for a collector that runs.
//! Promises that no connection is dropped, that a configuration which cannot be used changes nothing, and that what
//! needs a restart is named. Deliberately does not read the file.

use std::sync::Arc;

use crate::{
    actions,
    config::Config,
    http::{Door, TlsError},
    inbound::{InboundError, Inbounds},
    sources::Sources,
    state::{State, StateError},
};

/// Hands a running collector another configuration.
pub struct Reload {
    pub(crate) door: Arc<Door>,
    pub(crate) sources: Sources,
    pub(crate) inbounds: Inbounds,
    pub(crate) state: State,
    pub(crate) started_with: Config,
    /// A name for the texts of the rules' folder, as they were at the start.
    pub(crate) rules_read: Option<String>,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A file that was emptied or cut says nothing of what it was to say.
    #[error(
        "it has no `{0}` any more, which a file that was cut has not either; to go on without, restart"
    )]
    Lost(&'static str),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The mapping of an inbound webhook cannot be used.
    #[error(transparent)]
    Inbound(#[from] InboundError),
    /// The key of the source that exists without configuration cannot be found.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What the rule files are like, beside the rules in use: those stay until a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleFiles {
    /// As they were.
    Same,
    /// Others, and sound.
    Others,
    /// They cannot be used: a restart would fail.
    Wrong(String),
}

impl Reload {
    /// What the rule files are like; `None` where there are none. Blocks to read files.
    pub fn rule_files(&self, next: &Config) -> Option<RuleFiles> {
        let folder = next.rules.as_ref()?;
        let wrong = actions::look(folder, Some(next)).wrong;
        let is_same = || self.rules_read.is_some() && actions::texts(folder) == self.rules_read;
        Some(match wrong.is_empty() {
            false => RuleFiles::Wrong(wrong.to_string()),
            true if is_same() => RuleFiles::Same,
            true => RuleFiles::Others,
        })
    }

    /// Puts it into force, but for the keys that it returns: they need a restart. Blocks to read files.
    pub fn apply(&self, next: &Config) -> Result<Vec<String>, ReloadError> {
        if next.sources.is_empty() && !self.started_with.sources.is_empty() {
            return Err(ReloadError::Lost("[sources]"));
        }
        if next.tls.is_none() && self.started_with.tls.is_some() {
            return Err(ReloadError::Lost("[tls]"));
        }
        let (sources, _) = crate::sources_of(next, &self.state)?;
        let inbounds = crate::inbound::read(next)?;
        self.door.replace(next)?;
        self.sources.replace(sources);
        self.inbounds.replace(inbounds);
        Ok(self.started_with.needs_restart(next))
    }
}
