//! Which events a consumer wants: by name and type, by type, by source.
//! Promises that an event that cannot be judged is let through: rather one too many than one too few.
//! Deliberately reads no more of the event than its type and name.

use std::borrow::Cow;

use serde::Deserialize;

use crate::{
    config::{ConsumerConfig, Pick, Types},
    event_log::Record,
};

/// What is let through: all, unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Wants {
    events: Option<Pick>,
    types: Option<Types>,
    sources: Option<Pick>,
}

impl Wants {
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        let ConsumerConfig { events, types, sources, .. } = config;
        Self { events: events.clone(), types: types.clone(), sources: sources.clone() }
    }

    /// Whether the consumer gets this event.
    pub(super) fn admit(&self, record: &Record) -> bool {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
            #[serde(borrow, default)]
            event: Option<Cow<'a, str>>,
        }
        if self.sources.as_ref().is_some_and(|sources| !sources.admits(&record.source)) {
            return false;
        }
        if self.events.is_none() && self.types.is_none() {
            return true;
        }
        match serde_json::from_str::<Named<'_>>(&record.json) {
            Ok(named) => {
                let name = named.event.as_deref().filter(|_| named.r#type == "track");
                self.types.as_ref().is_none_or(|types| types.admits(&named.r#type))
                    && self.events.as_ref().is_none_or(|it| it.admits_event(&named.r#type, name))
            }
            // Validation let it in, so this does not happen.
            Err(_) => true,
        }
    }
}
