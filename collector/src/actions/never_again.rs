//! The suppression list, as actions see it: asked before each e-mail and each text, and told of the addresses that take none.
//! Promises that nothing is sent to an address while it cannot be known whether it is on the list, and that no reason says which address
//! it was. Deliberately keeps no list: the state does.

use tokio::task::spawn_blocking;

use super::{Hands, Outcome};
use crate::{
    people::{Identifier, Kind},
    rules::Pending,
    state::SuppressionReason,
};

impl Hands {
    /// Whether something may be sent to this address now; else what became of the attempt.
    pub(super) async fn may_send_to(&self, to: &Identifier<'static>) -> Result<(), Outcome> {
        let (state, address) = (self.state.clone(), to.clone());
        let found = spawn_blocking(move || state.not_sent_to(&address)).await;
        let found = found.map_err(|panic| Outcome::failed(panic.to_string()))?;
        match found.map_err(|error| Outcome::failed(error.to_string()))? {
            None => Ok(()),
            Some(it) => Err(Outcome::withheld(format!(
                "the {} is on the suppression list: {}, since {}",
                what(to),
                it.reason.as_str(),
                it.since
            ))),
        }
    }

    /// Puts an address on the list that its destination has refused for good; what became of the attempt.
    pub(super) async fn never_again(
        &self,
        pending: &Pending,
        to: Identifier<'static>,
        (said, because): (&str, SuppressionReason),
        destination: &str,
    ) -> Outcome {
        let (state, address, by) = (self.state.clone(), to.clone(), destination.to_owned());
        let now = (self.clock)();
        let added =
            spawn_blocking(move || state.add_to_suppression_list([(&address, because)], &by, now));
        let added = added.await.map_err(|panic| panic.to_string());
        if let Err(error) = added.and_then(|added| added.map_err(|error| error.to_string())) {
            // Whatever is sent there next is refused as this was.
            tracing::warn!(error, "an address could not be put on the suppression list");
            return Outcome::refused(said);
        }
        let because = because.as_str();
        tracing::info!(destination, because, "an address was put on the suppression list");
        // Whoever was erased meanwhile is not named by what came after.
        let is_known = match self.told(pending).await {
            Ok(told) => told.address_for(&pending.what.kind()).as_ref() == Some(&to),
            Err(_) => false,
        };
        let reason = format!("{said}; the {} is on the suppression list now", what(&to));
        if !is_known {
            let state = self.state.clone();
            let forgotten = spawn_blocking(move || state.forget_names_on_suppression_list([&to]));
            if let Ok(Err(error)) = forgotten.await {
                tracing::error!(%error, "the suppression list names somebody who may be erased");
            }
        }
        Outcome::refused(reason)
    }
}

fn what(address: &Identifier<'_>) -> &'static str {
    if address.kind == Kind::Phone { "number" } else { "address" }
}
