//! The suppression list, for who is at the desk: what is on it, and what operators put there and take off.
//! Promises that what was answered is on disk, and counts from the next attempt on. Deliberately sends nothing: actions ask the list.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{Desk, DeskError};
use crate::{
    people::{self, Identifier, Kind, PersonId, Profile},
    state::{NotSentTo, Place, SuppressionReason},
};

/// Part of the list, what came last first.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SuppressionPage {
    pub(crate) suppressions: Vec<Suppression>,
    /// How many there are in all.
    pub(crate) count: u64,
    /// What the next page is asked for with, if there may be one.
    pub(crate) next: Option<String>,
}

/// An address on the list, as it is told.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Suppression {
    /// Nothing, once its person was erased.
    pub(crate) address: Option<String>,
    kind: Option<&'static str>,
    pub(crate) reason: SuppressionReason,
    pub(crate) since: String,
    pub(crate) by: String,
}

impl From<NotSentTo> for Suppression {
    fn from(it: NotSentTo) -> Self {
        Self {
            kind: it.address.as_ref().map(|address| address.kind.as_str()),
            address: it.address.map(|address| address.value.into_owned()),
            reason: it.reason,
            since: it.since.to_string(),
            by: it.by,
        }
    }
}

impl Desk {
    /// A page of the list.
    pub(crate) async fn suppressions(
        &self,
        before: Option<Place>,
        reason: Option<SuppressionReason>,
        limit: usize,
    ) -> Result<SuppressionPage, DeskError> {
        let state = self.state.clone();
        let read = move || -> Result<_, DeskError> {
            Ok((state.suppression_list(before, reason, limit)?, state.suppression_list_length()?))
        };
        let (found, count) = spawn_blocking(read).await??;
        let last = found.last().filter(|_| found.len() == limit);
        let next = last.map(|last| last.place.to_string());
        let suppressions = found.into_iter().map(Suppression::from).collect();
        Ok(SuppressionPage { suppressions, count, next })
    }

    /// What the list says of one address: none or one. Also of somebody who was erased: who asks knows the address.
    pub(crate) async fn suppression(
        &self,
        address: Identifier<'static>,
    ) -> Result<SuppressionPage, DeskError> {
        let state = self.state.clone();
        let read = move || -> Result<_, DeskError> {
            let found = state.not_sent_to(&address)?;
            let found = found.map(|it| NotSentTo { address: Some(address), ..it });
            Ok((found, state.suppression_list_length()?))
        };
        let (found, count) = spawn_blocking(read).await??;
        let suppressions = found.into_iter().map(Suppression::from).collect();
        Ok(SuppressionPage { suppressions, count, next: None })
    }

    /// Puts addresses on the list, all or none; how many were not there yet. `by` is the name of the token of who does it.
    pub(crate) async fn stop_sending_to(
        &self,
        addresses: BTreeMap<Identifier<'static>, SuppressionReason>,
        by: &str,
    ) -> Result<usize, DeskError> {
        let (state, name, now) = (self.state.clone(), by.to_owned(), (self.clock)());
        let add = move || {
            let all = addresses.iter().map(|(address, reason)| (address, *reason));
            state.add_to_suppression_list(all, &name, now)
        };
        let added = spawn_blocking(add).await??;
        tracing::info!(added, by, "addresses were put on the suppression list");
        Ok(added)
    }

    /// Takes addresses off the list, all or none; how many were on it.
    pub(crate) async fn send_again_to(
        &self,
        addresses: BTreeSet<Identifier<'static>>,
        by: &str,
    ) -> Result<usize, DeskError> {
        let state = self.state.clone();
        let remove = move || state.remove_from_suppression_list(&addresses);
        let removed = spawn_blocking(remove).await??;
        tracing::info!(removed, by, "addresses were taken off the suppression list");
        Ok(removed)
    }

    /// What of a person is on the list.
    pub(crate) async fn suppressions_of(
        &self,
        profile: &Profile,
    ) -> Result<Vec<Suppression>, DeskError> {
        let (addresses, state) = (addresses_of(profile), self.state.clone());
        let read = move || {
            let look = |address: Identifier<'static>| {
                let found = state.not_sent_to(&address);
                found.map(|found| found.map(|it| NotSentTo { address: Some(address), ..it }))
            };
            addresses.into_iter().map(look).collect::<Result<Vec<_>, _>>()
        };
        let found = spawn_blocking(read).await??;
        Ok(found.into_iter().flatten().map(Suppression::from).collect())
    }

    /// Before somebody is erased: an address that they have only said, without the proof that makes it an identifier, is one that actions
    /// have sent to.
    pub(super) async fn forget_said_addresses(&self, person: PersonId) -> Result<(), DeskError> {
        let profile = self.read(move |db| people::profile(db, person)).await?;
        let (addresses, state) = (addresses_of(&profile), self.state.clone());
        Ok(spawn_blocking(move || state.forget_names_on_suppression_list(&addresses)).await??)
    }
}

/// Where a person is sent to, or was: by identifiers, and by what they have only said.
fn addresses_of(profile: &Profile) -> BTreeSet<Identifier<'static>> {
    let kinds = [Kind::Email, Kind::Phone];
    let known = profile.identifiers.iter().filter_map(|known| {
        let kind = kinds.into_iter().find(|kind| kind.as_str() == known.kind)?;
        Identifier::new(kind, known.value.clone())
    });
    let said = kinds.into_iter().filter_map(|kind| {
        let text = profile.traits.get(kind.as_str())?.text()?;
        Identifier::new(kind, text)
    });
    known.chain(said).collect()
}
