//! One attempt at an action: what is told to whom, by which way, and what came of it.
//! Promises that nothing is begun at a destination without keys that a crash would have done twice. Deliberately decides neither
//! when it is tried nor whether it is tried again.

use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{
    Hands, Message, Outcome,
    context::{Told, told},
    in_app,
};
use crate::{
    event_log::{NewEvent, Origin, SourceName, Timestamp, Trust},
    people,
    rules::{IN_APP, Pending, What},
};

/// Of those, so many are with the destination at a time: what one connection pool carries.
const AT_ONCE: usize = 16;

impl Hands {
    /// One attempt.
    pub(super) async fn attempt(&self, pending: &Pending) -> Outcome {
        let turns = {
            let mut all = self.at_once.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(AT_ONCE));
            Arc::clone(all.entry(pending.what.lane().to_owned()).or_insert_with(new))
        };
        let Ok(_turn) = turns.acquire().await else {
            return Outcome::failed("the collector is stopping");
        };
        let told = match self.told(pending).await {
            Ok(told) => told,
            Err(outcome) => return outcome,
        };
        match &pending.what.what {
            What::Emit { event } => {
                let json = json!({ "type": "track", "event": event, "properties": {
                    "rule": pending.rule,
                    "trigger": told.context["event"]["properties"],
                }});
                self.derive(pending, &told, json).await
            }
            What::Set { traits } => {
                self.derive(pending, &told, json!({ "type": "identify", "traits": traits })).await
            }
            What::Ask { score, destination, .. } => {
                self.ask(pending, &told, (score, destination)).await
            }
            What::InApp { placement, template } => {
                if let Some(reason) = told.wants_none_by(IN_APP) {
                    return Outcome::withheld(reason);
                }
                let rendered = told.rendered(self.templates.as_ref(), Some(template));
                match rendered.and_then(|it| in_app::event(pending, placement, &it)) {
                    Ok(json) => self.derive(pending, &told, json).await,
                    Err(reason) => Outcome::refused(reason),
                }
            }
            What::Send { destination, kind, template } => {
                self.send(pending, told, (destination, kind), template.as_deref()).await
            }
        }
    }

    /// All that is known of a firing.
    pub(super) async fn told(&self, pending: &Pending) -> Result<Told, Outcome> {
        let (readers, log, about) =
            (self.projection.readers.clone(), Arc::clone(&self.log), pending.clone());
        let told = spawn_blocking(move || readers.read(|db| told(db, &*log, &about))).await;
        told.map_err(|panic| Outcome::failed(panic.to_string()))?.map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Outcome::withheld("the person was erased"),
            error => Outcome::failed(format!("the person cannot be read: {error}")),
        })
    }

    /// Puts an event of the person's into the log. The action's id is the event's: said again it is known.
    pub(super) async fn derive(&self, pending: &Pending, told: &Told, mut json: Value) -> Outcome {
        use people::Kind;
        let id = &told.identifier;
        let elsewhere = |kind: &str, value: &str| json!([{ "type": kind, "id": value }]);
        match id.kind {
            Kind::User => json["userId"] = json!(id.value),
            Kind::Anonymous => json["anonymousId"] = json!(id.value),
            kind => {
                let (of, value) = match (kind, id.value.split_once(':')) {
                    (Kind::External, Some((of, value))) => (of, value),
                    (Kind::Phone, _) => ("phone", &*id.value),
                    _ => ("email", &*id.value),
                };
                json["context"] = json!({ "externalIds": elsewhere(of, value) });
                json["anonymousId"] = json!(format!("{of}:{value}"));
            }
        }
        json["messageId"] = json!(pending.id);
        let source: SourceName = people::SOURCE.parse().expect("it is nine letters");
        let event = NewEvent {
            trust: Trust::Server,
            origin: Origin::Derived {
                by: pending.rule.as_str().into(),
                depth: pending.depth.saturating_add(1),
            },
            // Of two that a model was asked for, the one that was asked later counts, whichever is answered first.
            event_time: matches!(pending.what.what, What::Ask { .. })
                .then(|| Timestamp::from_unix_ms(pending.at_ms)),
            ..NewEvent::new(source, pending.id.clone(), id.to_string(), json.to_string())
        };
        let appending = {
            // Until the log has it, no erasure takes the person for gone.
            let _asking = self.suppressed.asking();
            if self.suppressed.is_erased(id) {
                return Outcome::withheld("the person was erased");
            }
            self.log.append([event])
        };
        match appending.await {
            Ok(_) => Outcome::Accepted { reference: None },
            Err(error) => Outcome::failed(error.to_string()),
        }
    }

    /// Sends a message by way of a destination.
    async fn send(
        &self,
        pending: &Pending,
        told: Told,
        (name, kind): (&str, &str),
        template: Option<&str>,
    ) -> Outcome {
        let Some(destination) = self.destinations.get(name) else {
            return Outcome::refused(format!("there is no destination `{name}`"));
        };
        if let Some(reason) = told.wants_none_by(kind) {
            return Outcome::withheld(reason);
        }
        let to = told.address_for(kind);
        if to.is_none() && ["email", "sms"].contains(&kind) {
            let (what, name) = match kind {
                "email" => ("e-mail address", "email"),
                _ => ("telephone number", "phone"),
            };
            let reason = format!(
                "no {what} of the person is known: an `identify` says it in the trait `{name}`"
            );
            return Outcome::withheld(reason);
        }
        if let Some(to) = &to
            && let Err(outcome) = self.may_send_to(to).await
        {
            return outcome;
        }
        let rendered = match told.rendered(self.templates.as_ref(), template) {
            Ok(rendered) => rendered,
            Err(reason) => return Outcome::refused(reason),
        };
        if !destination.takes_key() {
            if self.forgotten_until.is_some_and(|until| pending.at_ms < until) {
                return Outcome::unknown("`state.db` was lost, and with it whether this was sent");
            }
            let (state, id) = (self.state.clone(), pending.id.clone());
            match spawn_blocking(move || state.begin_action(&id)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => {
                    return Outcome::unknown("the collector ended while it was being sent");
                }
                Ok(Err(error)) => return Outcome::failed(error.to_string()),
                Err(panic) => return Outcome::failed(panic.to_string()),
            }
        }
        let message = Message {
            key: pending.id.clone(),
            rule: pending.rule.clone(),
            to: to.as_ref().map(|to| to.value.clone().into_owned()),
            rendered,
            context: told.context,
        };
        let mut outcome = destination.send(&message).await;
        if let (Outcome::NeverAgain { reason, because }, Some(to)) = (&outcome, to) {
            outcome = self.never_again(pending, to, (reason, *because), name).await;
        }
        if matches!(outcome, Outcome::Failed { .. }) && !destination.takes_key() {
            // It was certainly not done, and may be tried again.
            let (state, id) = (self.state.clone(), pending.id.clone());
            if let Ok(Err(error)) = spawn_blocking(move || state.end_action(&id)).await {
                return Outcome::unknown(error.to_string());
            }
        }
        outcome
    }
}
