//! What an event says about who did it: the identifiers, the group, the traits, and what of the device is worth keeping.
//! Promises that a record which says it strangely says less, never something else. Deliberately decides nothing.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::identifier::{Identifier, Kind};
use crate::event_log::{Identity, Record, Trust};

/// Identifiers of one event. More are not looked at: a list of hundreds is somebody's mistake.
const MAX_EXTERNAL_IDS: usize = 6;

/// What an event says.
#[derive(Debug)]
pub(crate) struct Said<'a> {
    /// Who did it, the surest identifier first; none if it names nobody.
    pub(crate) identifiers: Vec<Identifier<'a>>,
    /// Whom it names besides, without the proof that was asked for: it counts for none of them.
    pub(crate) claims: Vec<Identifier<'a>>,
    /// What was said: `track`, `identify`, …
    pub(crate) call: Call<'a>,
    /// The name of what happened, or of the page or screen.
    pub(crate) name: Cow<'a, str>,
    /// The account.
    pub(crate) group: Option<Cow<'a, str>>,
    /// Of the person, each with its JSON.
    pub(crate) traits: Vec<(Cow<'a, str>, &'a str)>,
    /// Whether the proof that was asked for is missing: the traits are then what a device says of itself.
    pub(crate) is_claimed: bool,
    /// Of the account.
    pub(crate) group_traits: Vec<(Cow<'a, str>, &'a str)>,
    /// Of the device and the visit, each with its JSON.
    pub(crate) facts: Vec<(&'static str, &'a str)>,
    /// The session that a device says it is in.
    pub(crate) session: Option<Cow<'a, str>>,
}

/// What kind of call it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call<'a> {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    /// Two identifiers are one person, because someone said so.
    Alias(Option<Cow<'a, str>>),
}

impl Call<'_> {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias(_) => "alias",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wire<'a> {
    #[serde(borrow, rename = "type")]
    call: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    anonymous_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    previous_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    group_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    traits: Option<&'a RawValue>,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
}

/// Each as raw JSON: a member of an unexpected kind costs itself only.
#[derive(Default)]
struct Context<'a> {
    traits: Option<&'a RawValue>,
    external_ids: Option<&'a RawValue>,
    group_id: Option<&'a RawValue>,
    session_id: Option<&'a RawValue>,
    campaign: Option<&'a RawValue>,
    location: Option<&'a RawValue>,
    ip_country: Option<&'a RawValue>,
    locale: Option<&'a RawValue>,
    timezone: Option<&'a RawValue>,
    user_agent: Option<&'a RawValue>,
    os: Option<&'a RawValue>,
    app: Option<&'a RawValue>,
    bot: Option<&'a RawValue>,
}

impl<'a> Context<'a> {
    /// Of a repeated name the last counts, as JavaScript reads it.
    fn of(raw: &'a RawValue) -> Self {
        let mut context = Self::default();
        let Ok(Members(members)) = serde_json::from_str(raw.get()) else { return context };
        for (name, value) in members {
            let member = match &*name {
                "traits" => &mut context.traits,
                "externalIds" => &mut context.external_ids,
                "groupId" => &mut context.group_id,
                "sessionId" => &mut context.session_id,
                "campaign" => &mut context.campaign,
                "location" => &mut context.location,
                "ipCountry" => &mut context.ip_country,
                "locale" => &mut context.locale,
                "timezone" => &mut context.timezone,
                "userAgent" => &mut context.user_agent,
                "os" => &mut context.os,
                "app" => &mut context.app,
                "bot" => &mut context.bot,
                _ => continue,
            };
            *member = Some(value);
        }
        context
    }
}

#[derive(Deserialize)]
struct WireExternalId {
    id: String,
    #[serde(rename = "type")]
    kind: String,
}

impl<'a> Said<'a> {
    /// `None` if the record's JSON is not that of an event.
    pub(crate) fn of(record: &'a Record) -> Option<Self> {
        let wire: Wire<'a> = serde_json::from_str(&record.json).ok()?;
        let call = match &*wire.call {
            "track" => Call::Track,
            "identify" => Call::Identify,
            "page" => Call::Page,
            "screen" => Call::Screen,
            "group" => Call::Group,
            "alias" => Call::Alias(wire.previous_id),
            _ => return None,
        };
        let context = wire.context.map(Context::of).unwrap_or_default();
        // Segment: on `identify` the traits are the person's, on `group` the account's; elsewhere the context has the person's.
        let (mut traits, mut group_traits) = (Vec::new(), Vec::new());
        match call {
            Call::Group => group_traits = members(wire.traits),
            Call::Identify => traits = members(wire.traits),
            _ => {}
        }
        for (name, value) in members(context.traits) {
            if !traits.iter().any(|(known, _)| *known == name) {
                traits.push((name, value));
            }
        }

        let externals = external_ids(context.external_ids);
        // Where there is nothing better, what brings other systems' events in puts such an id in the device's place.
        let anonymous = wire.anonymous_id.filter(|id| !externals.iter().any(|known| known == id));
        let trait_text = |name: &str| {
            let (_, raw) = traits.iter().find(|(known, _)| known == name)?;
            serde_json::from_str::<String>(raw).ok()
        };
        let found = [
            wire.user_id.and_then(|id| Identifier::new(Kind::User, id)),
            trait_text("email").and_then(|email| Identifier::new(Kind::Email, email)),
            trait_text("phone").and_then(|phone| Identifier::new(Kind::Phone, phone)),
            anonymous.and_then(|id| Identifier::new(Kind::Anonymous, id)),
        ];
        let externals = externals.into_iter().filter_map(elsewhere);
        let mut identifiers: Vec<_> = found.into_iter().flatten().chain(externals).collect();
        identifiers.sort();
        identifiers.dedup();
        let (identifiers, mut claims): (Vec<_>, Vec<_>) =
            identifiers.into_iter().partition(|identifier| is_believed(record, identifier.kind));
        let is_claimed = record.flags.identity == Identity::Claimed;
        let call = match call {
            Call::Alias(previous) if is_claimed => {
                for kind in [Kind::User, Kind::Anonymous] {
                    claims.extend(previous.clone().and_then(|id| Identifier::new(kind, id)));
                }
                Call::Alias(None)
            }
            call => call,
        };

        let group = wire.group_id.or_else(|| text(context.group_id));
        let group = group.filter(|id| !id.is_empty() && id.len() <= super::MAX_IDENTIFIER_BYTES);
        // Whoever says that he is of an account is somebody who is known.
        let group = group.filter(|_| !is_claimed);
        // What the collector found out before what the device says.
        let country =
            raw(context.ip_country).or_else(|| object_member(context.location, "country"));
        let facts = [
            ("campaign", raw(context.campaign)),
            ("country", country),
            ("locale", raw(context.locale)),
            ("timezone", raw(context.timezone)),
            ("userAgent", raw(context.user_agent)),
            ("os", object_member(context.os, "name")),
            ("app", object_member(context.app, "version")),
            ("bot", raw(context.bot)),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let name = match call {
            Call::Track => wire.event,
            Call::Page | Call::Screen => wire.name,
            Call::Identify | Call::Group | Call::Alias(_) => None,
        };
        let session = text(context.session_id).filter(|id| !id.is_empty() && id.len() <= 64);
        Some(Self {
            identifiers,
            claims,
            call,
            name: name.unwrap_or_default(),
            group,
            traits,
            is_claimed,
            group_traits,
            facts,
            session,
        })
    }
}

/// Whether an identifier of this kind counts for the record, by what was asked of its source. A signature is for the user: with the
/// key of a page, anyone can add somebody else's address to his own id.
fn is_believed(record: &Record, kind: Kind) -> bool {
    match record.flags.identity {
        _ if record.trust == Trust::Server => true,
        Identity::Unasked => true,
        Identity::Proven => matches!(kind, Kind::User | Kind::Anonymous),
        Identity::Claimed => kind == Kind::Anonymous,
    }
}

/// Longest value of a trait or fact that is kept: 4 KiB, a paragraph or a list. A profile is not a place for documents.
const MAX_VALUE_BYTES: usize = 4 * 1024;
/// Longest name of one.
const MAX_NAME_BYTES: usize = 128;

/// An object's members, each with its JSON; those that are too large are left out.
fn members(object: Option<&RawValue>) -> Vec<(Cow<'_, str>, &str)> {
    let parsed = object.and_then(|raw| serde_json::from_str::<Members<'_>>(raw.get()).ok());
    let mut members: Vec<(Cow<'_, str>, &str)> = Vec::new();
    for (name, value) in parsed.map(|members| members.0).unwrap_or_default() {
        if name.len() > MAX_NAME_BYTES || value.get().len() > MAX_VALUE_BYTES {
            continue;
        }
        members.retain(|(known, _)| **known != *name);
        members.push((name, value.get()));
    }
    members
}

/// In their order, repeated names and all.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for Visitor<'a> {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor(std::marker::PhantomData))
    }
}

/// serde borrows a text only where it is told to.
#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn external_ids(list: Option<&RawValue>) -> Vec<String> {
    let list = list.and_then(|raw| serde_json::from_str::<Vec<Value>>(raw.get()).ok());
    let ids = list.unwrap_or_default().into_iter();
    let ids = ids.filter_map(|id| serde_json::from_value::<WireExternalId>(id).ok());
    let ids = ids.filter(|id| !id.kind.is_empty() && !id.kind.contains(':'));
    ids.take(MAX_EXTERNAL_IDS).map(|id| format!("{}:{}", id.kind, id.id)).collect()
}

/// An id at another system; an address or a number among them is what it is everywhere.
fn elsewhere<'a>(id: String) -> Option<Identifier<'a>> {
    match id.split_once(':') {
        Some(("email", address)) => Identifier::new(Kind::Email, address.to_owned()),
        Some(("phone", number)) => Identifier::new(Kind::Phone, number.to_owned()),
        _ => Identifier::new(Kind::External, id),
    }
}

fn raw(value: Option<&RawValue>) -> Option<&str> {
    let text = value?.get();
    (text != "null" && text != "\"\"" && text != "{}" && text.len() <= MAX_VALUE_BYTES)
        .then_some(text)
}

fn text(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(value?.get()).ok().map(|name| name.0)
}

fn object_member<'a>(object: Option<&'a RawValue>, name: &str) -> Option<&'a str> {
    let members = members(object);
    let (_, value) = members.into_iter().find(|(known, _)| known == name)?;
    (value != "null" && value != "\"\"").then_some(value)
}
