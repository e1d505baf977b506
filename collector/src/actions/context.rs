//! What a message can say: the person, the account, the event, and why the rule fired, as templates see them.
//! Promises one moment of the state. Deliberately sends nothing and decides nothing.

use rusqlite::{Connection, Result};
use serde_json::{Map, Value, json};

use super::{Rendered, Templates};
use crate::{
    event_log::{Identity, Timestamp},
    expression::words::in_words,
    people::{self, Kind, Whole},
    rules::{self, Pending, Records, What},
};

/// All that is known of a firing, by the names under which templates find it, and how the person is reached.
pub(super) struct Told {
    pub(super) context: Value,
    email: Option<people::Identifier<'static>>,
    phone: Option<people::Identifier<'static>>,
    /// Channels that the person does not want to be written to by.
    without_consent: Vec<String>,
    /// The identifier that began it, for events that are derived: its kind and its value.
    pub(super) identifier: people::Identifier<'static>,
}

impl Told {
    /// That the person does not want to be written to by this channel, if that is so.
    pub(super) fn wants_none_by(&self, kind: &str) -> Option<String> {
        let is_without = self.without_consent.iter().any(|without| without == kind);
        is_without.then(|| format!("the person does not want to be written to by {kind}"))
    }

    /// What is to be read, if there is a template for it; why it cannot be made otherwise.
    pub(super) fn rendered(
        &self,
        templates: Option<&Templates>,
        template: Option<&str>,
    ) -> Result<Rendered, String> {
        match (template, templates) {
            (None, _) => Ok(Rendered::default()),
            (Some(template), Some(templates)) => {
                templates.render(template, &self.context).map_err(|refused| refused.to_string())
            }
            (Some(_), None) => Err("there are no templates".to_owned()),
        }
    }

    /// Where the person is reached by this channel, if it has addresses of people and one is known.
    pub(super) fn address_for(&self, kind: &str) -> Option<people::Identifier<'static>> {
        match kind {
            "email" => self.email.clone(),
            "sms" => self.phone.clone(),
            _ => None,
        }
    }
}

/// In front of the name of a channel, the trait that says whether somebody wants to be written to by it.
const CONSENT: &str = "consent_";

/// Reads it. Blocks.
pub(super) fn told(db: &Connection, log: &dyn Records, pending: &Pending) -> Result<Told> {
    let whose = Whole::person(db, pending.node)?;
    let profile = people::profile(db, whose.id())?;
    let value = |said: &people::Said| serde_json::from_str(said.value.get()).unwrap_or_default();
    let traits: Map<String, Value> =
        profile.traits.iter().map(|(name, said)| (name.clone(), value(said))).collect();
    // What servers, signatures and operators say leads to an address before what anyone can have claimed.
    let user =
        whose.user_id(db)?.map(|id| people::Identifier { kind: Kind::User, value: id.into() });
    let sure = match user.as_ref().map(|user| people::node_of_identifier(db, user)).transpose()? {
        Some(Some(user)) => Whole::proven(db, user)?,
        _ => Whole::proven(db, pending.node)?,
    };
    let sure = sure.into_iter().map(|node| people::identifier(db, node));
    let sure = sure.collect::<Result<Vec<_>>>()?;
    // What a signed statement says is no identifier, and still where the person wants to be written to.
    let signed = |name: &str, kind: Kind| {
        let said = profile.traits.get(name)?;
        let record = log.at(said.offset.parse().ok()?)?;
        let is_signed = record.flags.identity == Identity::Proven;
        let text = said.text().filter(|_| is_signed)?;
        Some(people::Identifier::new(kind, text)?.into_owned())
    };
    let address = |name: &str, kind: Kind| {
        let proven = sure.iter().find(|known| known.kind == kind);
        let claimed = profile.identifiers.iter().find(|known| known.kind == kind.as_str());
        let of_kind = |value: &str| people::Identifier { kind, value: value.to_owned().into() };
        let claimed = claimed.map(|known| of_kind(&known.value));
        proven.cloned().or_else(|| signed(name, kind)).or(claimed)
    };
    let (email, phone) = (address("email", Kind::Email), address("phone", Kind::Phone));
    let no = |value: &Value| matches!(value, Value::Bool(false)) || value == "no";
    // Who does not want to be written to need not prove it.
    let claims = profile.claims.iter().map(|(name, said)| (name, value(said)));
    let all = traits.iter().map(|(name, value)| (name, value.clone())).chain(claims);
    let without_consent = all.filter(|(_, value)| no(value));
    let without_consent = without_consent.filter_map(|(name, _)| name.strip_prefix(CONSENT));
    let without_consent = without_consent.map(str::to_owned).collect();

    let now = Timestamp::from_unix_ms(pending.at_ms);
    let account = match pending.account {
        0 => match profile.accounts.first() {
            Some(membership) => people::account(db, &membership.account, now)?,
            None => None,
        },
        number => match Whole::account(db, number, pending.node)?.and_then(|it| it.account) {
            Some((_, id)) => people::account(db, &id, now)?,
            None => None,
        },
    };
    let account = account.map(|account| {
        let traits = account.traits.iter().map(|(name, said)| (name.clone(), value(said)));
        let main = account.members.first();
        json!({
            "id": account.id,
            "name": account.name,
            "traits": traits.collect::<Map<_, _>>(),
            "members": account.members.len(),
            "main_user": main.map(|main| json!({ "id": main.person.to_string(), "name": main.name })),
            "last_seen": account.last_seen,
        })
    });
    let event = pending.record.and_then(|offset| log.at(offset));
    let event: Value = event
        .and_then(|record| serde_json::from_str(&record.json).ok())
        .unwrap_or_else(|| json!({}));
    let (mut features, mut scores, mut reasons) = (Map::new(), Map::new(), Vec::new());
    let mut gather = |of: &Value| {
        for (name, value) in of.as_object().into_iter().flatten() {
            match name.split_once('.') {
                Some(("features", name)) => features.insert(name.to_owned(), value.clone()),
                Some(("scores", name)) => scores.insert(name.to_owned(), value.clone()),
                _ => None,
            };
        }
    };
    for condition in pending.why["conditions"].as_array().into_iter().flatten() {
        gather(&condition["of"]);
        let mut reason = json!({ "text": condition["text"], "value": condition["value"] });
        if let Some(words) = condition["text"].as_str().and_then(in_words) {
            reason["words"] = words.into();
        }
        reasons.push(reason);
    }
    let crossed = &pending.why["crossed"];
    for term in crossed["terms"].as_array().into_iter().flatten() {
        gather(&term["of"]);
    }
    reasons.extend(reasons_of(crossed["terms"].as_array().map_or(&[], Vec::as_slice)));
    for (name, value) in crossed["model"]["inputs"].as_object().into_iter().flatten() {
        reasons.push(json!({ "text": name.replace('_', " "), "value": value }));
    }
    if let Some(score) = crossed["score"].as_str() {
        scores.insert(score.to_owned(), crossed["value"].clone());
    }
    if let Some(feature) = crossed["feature"].as_str() {
        features.insert(feature.to_owned(), crossed["value"].clone());
    }
    let context = json!({
        "person": {
            "id": profile.id.to_string(),
            "name": profile.name,
            "email": email.as_ref().map(|it| &it.value),
            "phone": phone.as_ref().map(|it| &it.value),
            "traits": traits,
            "last_seen": profile.last_seen,
            "identifiers": profile.identifiers,
        },
        "account": account,
        "event": event,
        "trigger": event,
        "rule": { "name": pending.rule },
        "firing": {
            "id": pending.firing,
            "at": Timestamp::from_unix_ms(pending.at_ms).to_string(),
            "why": pending.why,
        },
        "features": features,
        "scores": scores,
        "reasons": reasons,
        "action": { "id": pending.id, "kind": pending.what.kind() },
    });
    let identifier = match (&pending.what.what, whose.user_id(db)?) {
        // A message says what is known of the person: it is for whoever proves to be that, and not for a device that has joined them.
        (What::InApp { .. }, Some(user)) => {
            people::Identifier { kind: Kind::User, value: user.into() }
        }
        _ => people::identifier(db, pending.node)?,
    };
    Ok(Told { context, email, phone, without_consent, identifier })
}

/// Of all that the terms of a score bring, to either side. What brings less is no reason: nobody acts on it.
const LEAST_SHARE: f64 = 0.01;

/// A reason for each term that brings something.
fn reasons_of(terms: &[Value]) -> Vec<Value> {
    let brings = |term: &Value| term["brings"].as_f64().unwrap_or_default();
    let all: f64 = terms.iter().map(|term| brings(term).abs()).sum();
    let counts = |term: &&Value| all > 0.0 && brings(term).abs() >= all * LEAST_SHARE;
    let reason = |term: &Value| {
        let name = term["term"].as_str().unwrap_or_default().replace('_', " ");
        let words = format!("{name} {}", rules::brought(brings(term)));
        let brings = (brings(term) * 100.0).round() / 100.0;
        json!({ "text": name, "value": brings, "words": words, "expression": term["text"] })
    };
    terms.iter().filter(counts).map(reason).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::{super::template::MEMBERS, *};
    use crate::{
        event_log::{EventLog, FileSystem, NewEvent, Options, system_clock},
        projection::{Projection, Rules},
        rules::{Do, What},
    };

    #[test]
    fn what_brings_less_than_a_hundredth_of_a_score_is_no_reason() {
        let told = |brings: &[f64]| {
            let terms =
                brings.iter().map(|it| json!({"term": "few_logins", "brings": it, "text": "…"}));
            let told = reasons_of(&terms.collect::<Vec<_>>());
            told.iter().map(|it| it["value"].as_f64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(told(&[0.4, 0.3, 0.000_000_027, 0.0]), [0.4, 0.3]);
        assert_eq!(told(&[60.0, -39.0, 1.0, 0.9]), [60.0, -39.0], "1.0 of 100.9 is less");
        assert_eq!(told(&[60.0, -39.0, 1.1]), [60.0, -39.0, 1.1], "taking counts as bringing");
        assert!(told(&[0.0, 0.0]).is_empty());
        let one = &reasons_of(&[
            json!({"term": "few_logins", "brings": 0.5, "text": "a > 1 ? 0.5 : 0.0"}),
        ])[0];
        assert_eq!(
            one,
            &json!({"text": "few logins", "value": 0.5, "words": "few logins +0.5", "expression": "a > 1 ? 0.5 : 0.0"})
        );
    }

    #[tokio::test]
    async fn templates_are_told_of_the_members_that_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, clock) = (Arc::new(FileSystem), system_clock());
        let log = EventLog::open(&folder.path().join("log"), Options::default(), disk, clock);
        let log = Arc::new(log.unwrap().0);
        let json = r#"{"type":"group","messageId":"1","userId":"u-1","groupId":"acme","traits":{"name":"Acme"}}"#;
        let event = NewEvent::new("web".parse().unwrap(), "1".to_owned(), "u-1", json.to_owned());
        log.append([event]).await.unwrap();
        let nobody = Arc::new(|| -> people::Gone { Arc::new(|_, _| false) });
        let limits = people::Limits::default();
        let projection =
            Projection::open(folder.path(), &log, limits, nobody, Rules::none()).unwrap();
        let handle = projection.handle();
        handle.wait_for(*log.end().borrow()).await;
        let told = handle.readers.read(|db| {
            let node = people::node_of(db, "u-1")?.unwrap();
            let pending = Pending {
                id: "a.0".to_owned(),
                number: 1,
                what: Do { what: What::Set { traits: BTreeMap::new() }, expires_ms: 1 },
                after_ms: 0,
                expires_ms: 1,
                firing: "a".to_owned(),
                rule: "r".to_owned(),
                revision: 1,
                node,
                account: 0,
                at_ms: 0,
                record: None,
                depth: 0,
                why: Value::Null,
            };
            told(db, &*log, &pending)
        });
        let context = told.unwrap().context;
        for (name, members) in MEMBERS {
            let mut members = members.to_vec();
            members.sort_unstable();
            let there: Vec<_> = context[name].as_object().unwrap().keys().collect();
            assert_eq!(there, members, "{name}");
        }
    }
}
