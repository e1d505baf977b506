//! `/v1/rules`, `/v1/firings` and `/v1/decide`: what rules say, what they came to, the switch, and decisions that are waited for.
//! Promises that every list is bounded, and that a decision is answered within its deadline or says that it was not made in time.
//! Deliberately decides nothing: rules do.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, StatusCode, body::Body};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    Http,
    answer::{Answer, Failure},
    auth,
    client::{Client, Peer},
    door::Front,
    people::{NO_ACCOUNT, NO_PERSON, answer, known, limit, not_found},
    query::{decoded, only, parameter, wrong_parameter},
};
use crate::{
    decode::{EventType, Shape, inflate},
    event_log::Trust,
    ingest::{Incoming, NotTaken},
    limits::MAX_BODY_BYTES,
    rules::Listed,
};

/// How long a decision is waited for where nothing else is said, and at most.
const DEADLINE_MS: u64 = 250;
const LONGEST_MS: u64 = 5_000;

/// Why nothing is decided.
const STAND_STILL: &str =
    "rules do not run: the collector's log says why, and it has to be started again";
const OTHER_BODY: &str = "another event is stored under this `messageId`, and this one is not: give each event an id of its own";
const GONE: &str = "it was stored before, and is not among what its person did last: what was decided then is not known any more";
const NOT_READ: &str =
    "what rules came to cannot be read now; ask again under the same `messageId`";

impl Http {
    /// Answers a request below `/v1/rules` or `/v1/firings`.
    pub(super) async fn rules<B>(&self, request: &Request<B>) -> Result<Answer, Failure> {
        let by = auth::require_admin(request.headers(), &self.door.admins.get())?;
        let path = request.uri().path();
        let parts = path.split('/').skip(2).map(decoded).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (desk, query) = (&self.desk, request.uri().query());
        let parameters: &[&str] = match parts[..] {
            ["firings"] => &["rule", "who", "account", "before", "limit"],
            [.., "why"] => &["who"],
            _ => &[],
        };
        only(query, parameters)?;
        match parts[..] {
            ["rules"] => Ok(answer(&json!({ "rules": desk.rules().await? }))),
            ["rules", switch @ ("stop" | "resume")] => {
                let changed = desk.switch_rule(None, switch == "resume", &by).await?;
                Ok(answer(&json!({ "rules": desk.rules().await?, "changed": changed })))
            }
            ["rules", rule, "why"] => {
                let who = parameter(query, "who")?;
                let who = who.ok_or_else(|| {
                    wrong_parameter(
                        "`who` is missing: a person, or an account where the rule is about those",
                    )
                })?;
                let why = desk.why(rule, &who).await?;
                let why = why.ok_or_else(|| not_found(&desk.no_rule(rule)))?;
                why.map(|why| answer(&why)).map_err(|nobody| {
                    let finds =
                        "`GET /v1/people?q=…` finds people by how an identifier or a trait begins";
                    not_found(&format!("{nobody}; {finds}"))
                })
            }
            ["rules", rule, switch] => {
                let on = switch == "resume";
                let changed = desk.switch_rule(Some(rule), on, &by).await?;
                let changed = changed.ok_or_else(|| not_found(&desk.no_rule(rule)))?;
                Ok(answer(&json!({ "rules": desk.rules().await?, "changed": changed })))
            }
            ["firings"] => {
                let before = parameter(query, "before")?.map(|text| text.parse::<i64>());
                let before = before.transpose().map_err(|_| {
                    wrong_parameter(
                        "`before` is the `number` of the last firing of the page before",
                    )
                })?;
                let rule = parameter(query, "rule")?;
                let unknown = rule.clone().filter(|rule| !desk.rules.has_rule(rule));
                let wanted = Listed { rule, before, limit: limit(query)?, ..Listed::default() };
                let (found, nobody) = match (parameter(query, "who")?, parameter(query, "account")?)
                {
                    (Some(_), Some(_)) => {
                        let message =
                            "`who` is a person and `account` an account: name one of them";
                        return Err(wrong_parameter(message));
                    }
                    (who, None) => (desk.firings(who, wanted).await?, NO_PERSON),
                    (None, Some(id)) => (desk.account_firings(&id, wanted).await?, NO_ACCOUNT),
                };
                // One that is gone may have fired.
                if let Some(rule) = unknown
                    && found.as_ref().is_some_and(Vec::is_empty)
                    && before.is_none()
                {
                    return Err(not_found(&desk.no_rule(&rule)));
                }
                known(found.map(|firings| json!({ "firings": firings })), nobody)
            }
            _ => Err(not_found("there is nothing at this path")),
        }
    }

    /// Takes an event as `/v1/track` does, and answers what rules came to because of it.
    pub(super) async fn decide_at_once<B>(
        &self,
        request: Request<B>,
        peer: Peer,
        front: &Front,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let begun = Instant::now();
        let (head, body) = request.into_parts();
        only(head.uri.query(), &["deadline_ms"])?;
        let deadline = match parameter(head.uri.query(), "deadline_ms")? {
            None => DEADLINE_MS,
            Some(text) => {
                let number = text.parse().ok().filter(|ms| (1..=LONGEST_MS).contains(ms));
                number.ok_or_else(|| {
                    wrong_parameter(&format!(
                        "`deadline_ms` is a whole number from 1 to {LONGEST_MS}"
                    ))
                })?
            }
        };
        let until = begun + Duration::from_millis(deadline);
        let from = Client::of(peer, &head.headers, &front.trusted_proxies);
        let shape = Shape::Single(EventType::Track);
        let (mut incoming, held) = self.receive(&head, body, shape, &from).await?;
        let trusted = |incoming: &Incoming| {
            incoming.source.as_ref().is_some_and(|source| source.trust == Trust::Server)
        };
        if !trusted(&incoming) {
            let message = "decisions are made for sources with `trust = \"server\"` only, whose key stands in the header";
            return Err(Failure::new(StatusCode::FORBIDDEN, "not_trusted", message));
        }
        let _room = self.room(&incoming)?;
        incoming.body = inflate(incoming.body, incoming.encoding.take(), MAX_BODY_BYTES)
            .map_err(NotTaken::from)?;
        let (named, id) = about(&incoming.body)?;
        let source = incoming.source.as_ref().map(|source| source.name.clone());
        let receipt = self.hand_in(incoming).await?;
        drop(held);
        if let Some(refused) = receipt.not_accepted.iter().find_map(|it| it.refused.as_ref()) {
            let (reason, detail) = refused;
            let message = format!("the event is refused: {}: {detail}", reason.as_str());
            return Err(Failure::new(StatusCode::BAD_REQUEST, "invalid_event", message));
        }
        let is_duplicate = receipt.duplicate > 0;
        // Who asks again, because the first answer was lost, gets the same one; who asks about something else does not.
        let recorded = async {
            if receipt.other_bodies > 0 {
                return Err(OTHER_BODY.to_owned());
            }
            let before = async {
                let source = source.ok_or(GONE)?;
                let found = self.desk.sent_before(&source, &named, &id).await;
                found.map_err(|_| NOT_READ)?.ok_or(GONE)
            };
            match receipt.first {
                Some(first) => Ok(first),
                None => Ok(before.await?),
            }
        };
        let unseen = || {
            if !self.desk.is_folding() {
                return STAND_STILL.to_owned();
            }
            let why = match self.desk.is_rebuilding() {
                true => ": what they come to is being made from the log",
                false => "",
            };
            format!("rules had not seen it after {deadline} ms{why}")
        };
        let found = timeout_at(until, recorded).await.unwrap_or_else(|_| Err(unseen()));
        let found = match found {
            Ok(record) => match self.desk.decided(record, until).await {
                Ok(Some(decided)) => match self.desk.unjudged(record).await {
                    Ok(unjudged) => Ok((decided, unjudged)),
                    Err(_) => Err(NOT_READ.to_owned()),
                },
                Ok(None) => Err(unseen()),
                Err(_) => Err(NOT_READ.to_owned()),
            },
            Err(why) => Err(why),
        };
        let (undecided, fired, heard, unjudged) = match found {
            Ok((decided, unjudged)) => {
                let why = self.desk.unanswered(&decided, deadline);
                (why, decided.fired, decided.heard, unjudged)
            }
            Err(why) => (Some(why), Vec::new(), Vec::new(), Vec::new()),
        };
        let made = self.desk.decision(&fired);
        let default = self.desk.rules.default_decision();
        let (decision, by) = match &made {
            Some((decision, rule)) => (*decision, Some(rule.as_str())),
            None => (default, None),
        };
        self.vitals.metrics().decision(by, decision, undecided.is_none(), begun.elapsed());
        let mut said = json!({
            "decision": decision,
            "by": by,
            "complete": undecided.is_none(),
            "duplicate": is_duplicate,
            "scores": heard,
            "firings": fired,
            "unjudged": unjudged,
        });
        if let Some(why) = undecided {
            said["undecided"] = json!(why);
        }
        Ok(answer(&said))
    }
}

/// The event that is decided about, and its id. Rules read all of it, so that a number which no rule could compare, 1e999, is wrong here.
fn about(body: &[u8]) -> Result<(Value, String), Failure> {
    let event: Value = serde_json::from_slice(body).map_err(|error| {
        let message = format!("the event cannot be read: {error}");
        Failure::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    })?;
    let Some(members) = event.as_object() else {
        let message = "what is decided about is one event, a JSON object with a `messageId`";
        return Err(Failure::new(StatusCode::BAD_REQUEST, "invalid_json", message));
    };
    let message = match members.get("messageId") {
        Some(Value::String(id)) if id.is_empty() => {
            "`messageId` is empty: who asks again under the same one gets the same answer"
        }
        Some(Value::String(id)) => {
            let id = id.clone();
            return Ok((event, id));
        }
        Some(_) => "`messageId` is a text of your own: who asks again gives the same one",
        None => "`messageId` is missing: who asks again under the same one gets the same answer",
    };
    Err(Failure::new(StatusCode::BAD_REQUEST, "invalid_parameter", message))
}
