//! A timeline as it is told: chapters with a heading and a gist, and in them what was done, in words.
//! Promises a line for every event, whatever it holds. Deliberately marks nothing up: templates do, and escape.

use serde_json::{Map, Value};

use super::{
    deeds,
    words::{When, count, label, short, span, value},
};
use crate::people::{Chapter, Moment, Page};

/// A page of a timeline.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) chapters: Vec<Told>,
    /// Where to go on.
    pub(crate) next: Option<String>,
}

/// A chapter.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Stays the same while the chapter grows: of its earliest event.
    pub(crate) key: String,
    pub(crate) from: When,
    /// `Web, 12 minutes`.
    pub(crate) heading: String,
    /// `Pricing, Checkout and 3 more`.
    pub(crate) gist: String,
    pub(crate) size: String,
    pub(crate) lines: Vec<Line>,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) offset: String,
    pub(crate) at: When,
    /// `Viewed Pricing`.
    pub(crate) what: String,
    /// What was said with it, in part: `plan: pro · value: 49`.
    pub(crate) with: String,
    pub(crate) source: String,
    pub(crate) call: String,
    /// The person, where a timeline is of several.
    pub(crate) person: String,
    /// All of it, to be read by someone who wants to know.
    pub(crate) json: String,
}

/// Names in a gist: a heading is read at a glance.
const NAMES: usize = 4;
/// Properties in a line, and characters of each.
const PROPERTIES: usize = 3;
const PROPERTY: usize = 40;

impl Story {
    pub(crate) fn of(page: Page) -> Self {
        Self { chapters: page.chapters.into_iter().map(Told::of).collect(), next: page.next }
    }
}

impl Told {
    fn of(chapter: Chapter) -> Self {
        let sources: Vec<_> = chapter.sources.iter().rev().map(|source| label(source)).collect();
        let sources = match &sources[..] {
            [first, second, third, rest @ ..] if !rest.is_empty() => {
                format!("{first}, {second}, {third} and {} more", rest.len())
            }
            [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
            _ => sources.concat(),
        };
        let heading = match span(&chapter.from, &chapter.to) {
            Some(span) => format!("{sources}, {span}"),
            None => sources,
        };
        let size = count(chapter.moments.len() as u64, "event", "events");
        let key = chapter.moments.last().map(|moment| moment.offset.clone()).unwrap_or_default();
        let lines: Vec<_> = chapter.moments.into_iter().map(Line::of).collect();
        Self { key, from: When::of(&chapter.from), heading, gist: gist(&lines), size, lines }
    }
}

/// What happened, in its order, each thing once. Who it was is said only where nothing else happened.
fn gist(lines: &[Line]) -> String {
    let mut names: Vec<&str> = Vec::new();
    let is_about_who = |line: &Line| matches!(line.call.as_str(), "identify" | "group" | "alias");
    let nothing_else = lines.iter().all(is_about_who);
    for line in lines.iter().rev().filter(|line| nothing_else || !is_about_who(line)) {
        let name = line.what.strip_prefix(VIEWED).unwrap_or(&line.what);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

const VIEWED: &str = "Viewed ";

impl Line {
    fn of(moment: Moment) -> Self {
        let event: Value = serde_json::from_str(moment.event.get()).unwrap_or_default();
        Self {
            what: what(&moment.call, &moment.name, &event),
            with: with(&moment.call, &event),
            json: serde_json::to_string_pretty(&event).unwrap_or_default(),
            at: When::of(&moment.at),
            person: moment.person.to_string(),
            offset: moment.offset,
            source: moment.source,
            call: moment.call,
        }
    }
}

/// What was done, in words.
pub(crate) fn what(call: &str, name: &str, event: &Value) -> String {
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).filter(|t| !t.is_empty());
    match call {
        "page" | "screen" => {
            let address = || text("/properties/title").or_else(|| text("/properties/path"));
            let address = || address().or_else(|| text("/context/page/path"));
            let name = Some(name).filter(|name| !name.is_empty()).or_else(address);
            format!(
                "{VIEWED}{}",
                name.unwrap_or(if call == "page" { "a page" } else { "a screen" })
            )
        }
        "identify" => match text("/userId").or_else(|| text("/traits/email")) {
            Some(who) => format!("Identified as {who}"),
            None => "Identified".to_owned(),
        },
        "group" => match text("/traits/name").or_else(|| text("/groupId")) {
            Some(account) => format!("Joined {account}"),
            None => "Joined an account".to_owned(),
        },
        "alias" => match text("/previousId") {
            Some(previous) => format!("Was {previous} before"),
            None => "Took another id".to_owned(),
        },
        _ if name.is_empty() => "Something without a name".to_owned(),
        _ => deeds::told(name, &event["properties"]).unwrap_or_else(|| name.to_owned()),
    }
}

/// The same where there is no room for more than one text: of what rules bring about, with what tells most of it.
pub(super) fn in_one(call: &str, name: &str, event: &Value) -> String {
    let what = what(call, name, event);
    match deeds::gist(name, &event["properties"]).filter(|_| call == "track") {
        Some(gist) => format!("{what}: {}", short(&gist, 2 * PROPERTY)),
        None => what,
    }
}

/// Properties that tell what an event was about, as Segment's specification names them, and those of our mappings.
const TELLING: [&str; 18] = [
    "subject",
    "product",
    "product_name",
    "sku",
    "query",
    "plan",
    "amount",
    "value",
    "total",
    "revenue",
    "price",
    "currency",
    "reason",
    "code",
    "decline_code",
    "priority",
    "rating",
    "status",
];

/// What was said with it, as far as a line has room.
pub(super) fn with(call: &str, event: &Value) -> String {
    let object = if matches!(call, "identify" | "group") { "traits" } else { "properties" };
    let none = Map::new();
    let said = event[object].as_object().unwrap_or(&none);
    if let Some(gist) = event["event"].as_str().and_then(|name| deeds::gist(name, &event[object])) {
        return short(&gist, 2 * PROPERTY);
    }
    let dull = ["url", "path", "title", "referrer", "search", "name", "hash"];
    let said = said.iter().filter(|(name, value)| {
        !dull.contains(&name.as_str())
            && matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
    });
    // A line has room for a few: what tells most, then as they are sorted.
    let mut said: Vec<_> = said.collect();
    said.sort_by_key(|(name, _)| {
        TELLING.iter().position(|known| name == known).unwrap_or(usize::MAX)
    });
    let said = said.into_iter().take(PROPERTIES).map(|(name, json)| {
        format!("{}: {}", short(name, PROPERTY), short(&value(&json.to_string()), PROPERTY))
    });
    said.collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(what: &str) -> Line {
        Line {
            offset: String::new(),
            at: When::default(),
            what: what.to_owned(),
            with: String::new(),
            source: String::new(),
            call: String::new(),
            person: String::new(),
            json: String::new(),
        }
    }

    #[test]
    fn what_rules_bring_about_is_told_by_what_it_says_and_not_by_its_ids() {
        for (name, properties, told) in [
            (
                "In-App Message",
                json!({"message_id": "f.0", "rule": "cart", "title": "Your cart is waiting", "body": "Hello", "expires_ms": 1}),
                "Your cart is waiting",
            ),
            ("In-App Message", json!({"title": null, "body": "Hello", "expires_ms": 1}), "Hello"),
            (
                "Message Clicked",
                json!({"message_id": "f.0", "rule": "cart_abandoned", "placement": "card"}),
                "Cart abandoned",
            ),
            (
                "Score Answered",
                json!({"score": "model_risk", "value": 0.834, "asked_ms": 1}),
                "Model risk: 0.83",
            ),
            ("Order Completed", json!({"value": 12}), "value: 12"),
        ] {
            let event = json!({"type": "track", "event": name, "properties": properties});
            assert_eq!(with("track", &event), told);
            let once = name != "Order Completed";
            let all = if once { format!("{name}: {told}") } else { name.to_owned() };
            assert_eq!(in_one("track", name, &event), all);
        }
    }

    #[test]
    fn every_call_is_told_in_words_and_none_without_any() {
        for (call, name, event, told) in [
            ("page", "Pricing", json!({}), "Viewed Pricing"),
            ("page", "", json!({"properties": {"path": "/p"}}), "Viewed /p"),
            ("page", "", json!({"context": {"page": {"path": "/c"}}}), "Viewed /c"),
            ("screen", "", json!({}), "Viewed a screen"),
            ("track", "Order Completed", json!({}), "Order Completed"),
            ("track", "", json!(null), "Something without a name"),
            ("identify", "", json!({"userId": "u-1"}), "Identified as u-1"),
            ("group", "", json!({"groupId": "g"}), "Joined g"),
            ("alias", "", json!({"previousId": "a"}), "Was a before"),
            ("alias", "", json!({"previousId": 5}), "Took another id"),
        ] {
            assert_eq!(what(call, name, &event), told);
        }
    }

    #[test]
    fn a_gist_has_each_thing_once_in_its_order() {
        let latest_first =
            ["Order Completed", "Viewed Checkout", "Viewed Pricing", "Viewed Pricing"];
        let lines = latest_first.map(line);
        assert_eq!(gist(&lines), "Pricing, Checkout, Order Completed");
        let many = ["f", "e", "d", "c", "b", "a"].map(line);
        assert_eq!(gist(&many), "a, b, c, d and 2 more");
        let mut both = ["Order Completed", "Identified as u-1"].map(line);
        both[1].call = "identify".to_owned();
        assert_eq!(gist(&both), "Order Completed");
        assert_eq!(gist(&both[1..]), "Identified as u-1");
    }

    #[test]
    fn a_line_says_the_first_simple_properties() {
        let event = json!({"properties": {"plan": "pro", "url": "u", "items": [1], "value": 4.5}});
        assert_eq!(with("track", &event), "plan: pro · value: 4.5");
        let failed = json!({"properties": {"attempt": 1, "amount": 4900, "currency": "usd", "reason": "declined"}});
        assert_eq!(with("track", &failed), "amount: 4900 · currency: usd · reason: declined");
        assert_eq!(with("track", &json!({"properties": 5})), "");
    }
}
