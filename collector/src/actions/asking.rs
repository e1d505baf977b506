//! Asks a model for a score, by way of a webhook's destination, and puts what it says into the log.
//! Promises one answer for each time that it is asked, the model's or the fallback with the reason, as of when it was asked; and that
//! an answer which is no number is none. Deliberately knows no features: what is asked was written down when it fired.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::{sync::watch, time::timeout};

use super::{
    Destination, Outcome,
    context::Told,
    worker::{Ended, Hands, READ_AGAIN, wait},
};
use crate::rules::{ANSWERED, ActionState, Pending, What};

/// Of what could not be asked for so long, as after an outage of the collector's, nothing is said: the score stays what it was.
const TOO_LATE_MS: i64 = 3600 * 1000;
/// Said of a question about an account of which nobody is known any more.
const GONE: &str = "the account was erased";
/// Larger ones nobody means, as in rule files.
const LARGEST: f64 = 1e15;

impl Hands {
    /// Asks once.
    pub(super) async fn ask(
        &self,
        pending: &Pending,
        told: &Told,
        (score, name): (&str, &str),
    ) -> Outcome {
        let Some(Destination::Webhook(destination)) = self.destinations.get(name) else {
            return Outcome::refused(format!("there is no webhook destination `{name}`"));
        };
        let mut question = json!({
            "id": pending.id,
            "score": score,
            "person": told.context["person"]["id"],
            "userId": user_id(told),
            "at": told.context["firing"]["at"],
            "inputs": pending.why["asked"]["inputs"],
        });
        if pending.account != 0 {
            let Some(account) = account(told) else { return Outcome::withheld(GONE) };
            question["account"] = account.into();
        }
        let left = pending.expires_ms - (self.clock)().unix_ms();
        let left = Duration::from_millis(left.max(0).unsigned_abs());
        let answer = match timeout(left, destination.ask(&pending.id, &question)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(outcome)) => return outcome,
            Err(_) => return Outcome::failed("time-out: there was no answer in time"),
        };
        match number(&answer) {
            Some(value) => self.answer(pending, told, value, None).await,
            None => Outcome::refused("the answer is no JSON object with a number `score`"),
        }
    }

    /// Says that the fallback stands, where no answer came; whether the collector stops before that is said.
    pub(super) async fn fall_back(
        &self,
        pending: &Pending,
        ended: &Ended,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let What::Ask { fallback, .. } = &pending.what.what else { return false };
        let is_over = (self.clock)().unix_ms() - pending.expires_ms > TOO_LATE_MS;
        if ended.state == ActionState::Accepted || is_over {
            return false;
        }
        let none = "there was no answer in time";
        let reason = ended.detail.as_deref().unwrap_or(none);
        loop {
            match self.is_stopped(pending).await {
                // Who has stopped it wants nothing said.
                Ok(true) => return false,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "it cannot be read which rules are stopped"),
            }
            let value = fallback.as_f64().unwrap_or_default();
            let outcome = match self.told(pending).await {
                Ok(told) => self.answer(pending, &told, value, Some(reason)).await,
                Err(outcome) => outcome,
            };
            match outcome {
                // Of who is gone nothing is said.
                Outcome::Accepted { .. } | Outcome::Withheld { .. } => return false,
                outcome => {
                    tracing::warn!(?outcome, "that a model has not answered is not stored yet");
                }
            }
            if wait(READ_AGAIN, stop).await {
                return true;
            }
        }
    }

    /// The answer as an event. Its id is the action's, so that of two, after a crash between them, the first counts.
    async fn answer(
        &self,
        pending: &Pending,
        told: &Told,
        value: f64,
        reason: Option<&str>,
    ) -> Outcome {
        let What::Ask { score, .. } = &pending.what.what else {
            return Outcome::refused("it asks for no score");
        };
        let mut properties = Map::from_iter([
            ("score".to_owned(), json!(score)),
            ("value".to_owned(), json!(value)),
            ("fallback".to_owned(), json!(reason.is_some())),
            ("firing".to_owned(), json!(pending.firing)),
            ("inputs".to_owned(), pending.why["asked"]["inputs"].clone()),
        ]);
        properties.extend(reason.map(|reason| ("reason".to_owned(), json!(reason))));
        if pending.account != 0 {
            let Some(account) = account(told) else { return Outcome::withheld(GONE) };
            properties.insert("account".to_owned(), account.into());
        }
        let json = json!({ "type": "track", "event": ANSWERED, "properties": properties });
        let outcome = self.derive(pending, told, json).await;
        if matches!(outcome, Outcome::Accepted { .. }) {
            self.trying.awaited.ended(&pending.id);
        }
        outcome
    }
}

/// The id of the account that is asked about.
fn account(told: &Told) -> Option<&str> {
    told.context["account"]["id"].as_str()
}

fn user_id(told: &Told) -> Option<String> {
    let known = told.context["person"]["identifiers"].as_array()?;
    let user = known.iter().find(|known| known["kind"] == "user")?;
    user["value"].as_str().map(str::to_owned)
}

/// What a model says.
fn number(answer: &[u8]) -> Option<f64> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    answer.get("score")?.as_f64().filter(|number| number.abs() <= LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_a_score() {
        for (answer, expected) in [
            ("{\"score\": 0.25}", Some(0.25)),
            ("{\"score\": -3, \"more\": [1]}", Some(-3.0)),
            ("{\"score\": \"0.25\"}", None),
            ("{\"score\": NaN}", None),
            ("{\"score\": 1e999}", None),
            ("{\"score\": 1e300}", None),
            ("{\"score\": null}", None),
            ("{}", None),
            ("0.25", None),
            ("[0.25]", None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(number(answer.as_bytes()), expected, "{answer}");
        }
    }
}
