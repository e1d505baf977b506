//! What rules do, and what became of it, in the words of a page: one table of kinds and states for all of them.
//! Promises words for every state, also of a kind that this release does not know. Deliberately draws nothing.

use super::words::{label, sentence};
use crate::{
    messages::{DEVICE_EVENTS, MESSAGE},
    people::{MERGED, UNMERGED},
    rules::{ANSWERED, ActionState, DONE, IN_APP},
};

/// A kind of action: what is done, and the word for it once it is.
struct Kind {
    kind: &'static str,
    what: &'static str,
    done: &'static str,
}

const KINDS: [Kind; 8] = [
    Kind { kind: "emit", what: "event", done: "emitted" },
    Kind { kind: "set", what: "traits", done: "set" },
    Kind { kind: "slack", what: "Slack message", done: "sent" },
    Kind { kind: "email", what: "e-mail", done: "sent" },
    Kind { kind: "sms", what: "text message", done: "sent" },
    Kind { kind: "webhook", what: "webhook", done: "called" },
    // What a device says of it stands in its place.
    Kind { kind: IN_APP, what: "in-app message", done: "ready" },
    Kind { kind: "score", what: "model", done: "answered" },
];

/// What a device has said of a message: each means that it was seen.
const SAID: [&str; 3] = ["shown", "clicked", "dismissed"];

/// An action in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// `Slack message`.
    pub(super) what: String,
    /// `sent`.
    pub(super) state: String,
    /// Before the words, for the eye.
    pub(super) mark: &'static str,
    /// Where a device has told `state`: the word for what the collector had done before.
    pub(super) before: Option<&'static str>,
}

/// What was done, and what became of it.
pub(super) fn words(kind: &str, state: ActionState, detail: Option<&str>) -> Words {
    let known = KINDS.iter().find(|known| known.kind == kind);
    let said = detail.filter(|said| kind == IN_APP && SAID.contains(said));
    let done = known.map_or("done", |known| known.done);
    let (state, mark) = match (state, said) {
        (_, Some(said)) => (said, "✓"),
        (ActionState::Accepted, None) => (done, "✓"),
        (ActionState::Pending, None) => ("waiting", "…"),
        (ActionState::Refused, None) => ("refused", "✕"),
        // Nothing is broken: it is not wanted.
        (ActionState::Withheld, None) => ("withheld", "–"),
        (ActionState::Expired, None) => ("expired", "✕"),
        // Its answer was lost.
        (ActionState::Unknown, None) => ("perhaps sent", "?"),
    };
    let what = known.map_or_else(|| label(kind), |known| sentence(known.what));
    Words { what, state: state.to_owned(), mark, before: said.map(|_| done) }
}

/// What a firing has decided for who asks, or would have, and why it has not.
pub(super) fn decided(decision: &str, undecided: Option<&str>) -> String {
    match undecided {
        None => format!("decided {decision}"),
        Some(why) => format!("did not decide {decision}: {why}"),
    }
}

/// A rule by its name; who asks a model for a score is one, too.
pub(crate) fn rule_label(name: &str) -> String {
    match name.strip_prefix("score:") {
        Some(score) => format!("{}, asked of the model", label(score)),
        None => label(name),
    }
}

/// An event that the collector itself has written, in words that say what it is about: `None` for any other.
pub(super) fn told(event: &str, properties: &serde_json::Value) -> Option<String> {
    let text = |name: &str| properties[name].as_str().filter(|text| !text.is_empty());
    match event {
        DONE => {
            let detail = text("detail");
            let state = ActionState::read(text("outcome")?, detail)?;
            let done = words(text("kind")?, state, None);
            // An abbreviation stays one: `SMS`, but `e-mail`.
            let mut what = done.what;
            if !what.starts_with("Slack")
                && let Some(first) = what.get_mut(..1)
            {
                first.make_ascii_lowercase();
            }
            Some(format!("{}: {what} {}", rule_label(text("rule")?), done.state))
        }
        MERGED => Some(format!("Said to be one person: {} and {}", text("a")?, text("b")?)),
        UNMERGED => Some(format!("Said to be two people: {} and {}", text("a")?, text("b")?)),
        _ => None,
    }
}

/// What tells most of an event that the collector, or a device for it, has made of a rule: `None` for any other.
pub(super) fn gist(event: &str, properties: &serde_json::Value) -> Option<String> {
    let text = |name: &str| properties[name].as_str().filter(|text| !text.is_empty());
    match event {
        MESSAGE => text("title").or_else(|| text("body")).map(str::to_owned),
        event if DEVICE_EVENTS.contains(&event) => text("rule").map(rule_label),
        ANSWERED => {
            let score = label(text("score")?);
            let of = text("account").map_or_else(String::new, |id| format!(" of {id}"));
            Some(format!("{score}{of}: {}", crate::rules::rounded(properties["value"].as_f64()?)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_state_is_said_in_words() {
        let said = |kind, state, detail| {
            let words = words(kind, state, detail);
            format!("{} {} {}", words.mark, words.what, words.state)
        };
        use ActionState::{Accepted, Expired, Pending, Refused, Unknown, Withheld};
        for (kind, state, detail, text) in [
            ("slack", Accepted, None, "✓ Slack message sent"),
            ("email", Pending, None, "… E-mail waiting"),
            ("sms", Unknown, None, "? Text message perhaps sent"),
            ("webhook", Refused, Some("400"), "✕ Webhook refused"),
            ("email", Withheld, Some("no address"), "– E-mail withheld"),
            ("emit", Accepted, None, "✓ Event emitted"),
            ("set", Expired, None, "✕ Traits expired"),
            ("in_app", Accepted, None, "✓ In-app message ready"),
            ("in_app", Accepted, Some("shown"), "✓ In-app message shown"),
            ("in_app", Accepted, Some("clicked"), "✓ In-app message clicked"),
            ("in_app", Refused, Some("no text"), "✕ In-app message refused"),
            ("score", Accepted, None, "✓ Model answered"),
            ("push_note", Accepted, None, "✓ Push note done"),
        ] {
            assert_eq!(said(kind, state, detail), text);
        }
        let done = |rule, kind, outcome, detail: Option<&str>| {
            let of = serde_json::json!({"rule": rule, "kind": kind, "outcome": outcome, "detail": detail});
            told("Action Done", &of)
        };
        for (kind, outcome, detail, text) in [
            ("email", "refused", Some("550"), "Cart abandoned: e-mail refused"),
            (
                "email",
                "refused",
                Some("no address of the person is known"),
                "Cart abandoned: e-mail withheld",
            ),
            ("slack", "accepted", None, "Cart abandoned: Slack message sent"),
            ("webhook", "unknown", None, "Cart abandoned: webhook perhaps sent"),
        ] {
            assert_eq!(done("cart_abandoned", kind, outcome, detail).as_deref(), Some(text));
        }
        // Anybody may call an event so, and say nothing of the kind in it.
        assert_eq!(done("", "email", "accepted", None), None);
        assert_eq!(done("a", "email", "eaten", None), None);
        assert_eq!(decided("review", None), "decided review");
        assert_eq!(
            decided("review", Some("`lost` decides")),
            "did not decide review: `lost` decides"
        );
        assert_eq!(rule_label("score:model_risk"), "Model risk, asked of the model");
        assert_eq!(rule_label("cart_abandoned"), "Cart abandoned");
    }
}
