//! How long an action took until a destination had it, for the metrics.
//! Promises to measure no time that somebody wanted to pass: of an action that waited for its rule to go on, or for a night to end, nothing
//! is said; nor of one from before the start, of which nobody knows what it waited for. Deliberately changes nothing.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::worker::Hands;
use crate::rules::{self, Pending};

impl Hands {
    /// Notes it of an action that was accepted just now.
    pub(super) async fn took(&self, pending: &Pending) {
        let now = (self.clock)();
        let was_wanted_later = self.trying.of(&pending.id).is_some_and(|it| it.was_wanted_later);
        if was_wanted_later || pending.after_ms > 0 {
            return;
        }
        // An event says when it happened, which may be long before it came; a timer rings later than its event.
        let received_ms = match pending.record {
            None => None,
            Some(record) => {
                let log = Arc::clone(&self.log);
                let found = spawn_blocking(move || rules::Records::at(&*log, record)).await;
                // Of who was erased meanwhile there is nothing to go by.
                let Ok(Some(found)) = found else { return };
                Some(found.received_at.unix_ms())
            }
        };
        let since_ms = received_ms.unwrap_or(i64::MIN).max(pending.at_ms);
        if since_ms >= self.since_ms {
            let took = rules::since(now, since_ms);
            self.metrics.action_took(&pending.rule, &pending.what.kind(), took);
        }
    }
}
