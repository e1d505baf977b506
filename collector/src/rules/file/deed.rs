//! One action of a rule. Promises that it is one, and says what it needs.

use std::time::Duration;

use toml::Spanned;

use super::{
    super::{
        fold::{ANSWERED, DONE},
        length::ms,
        rule::{Do, Stands, What},
    },
    Mistake,
    error::Source,
    raw::RawDo,
};
use crate::{messages::MESSAGE, people::ERASED};

/// What only the collector says.
const OURS: [&str; 6] = [ANSWERED, DONE, ERASED, MESSAGE, "Identity Merged", "Identity Unmerged"];
/// For how long an action is of use where nothing else is said: who is still on the page, or still at the desk.
const EXPIRES: Duration = Duration::from_secs(15 * 60);

/// One thing that a rule does.
pub(super) fn deed(raw: Spanned<RawDo>, file: &Source) -> Result<(Do, Stands), Mistake> {
    let at = raw.span().start;
    let raw = raw.into_inner();
    let sends =
        [("slack", raw.slack), ("webhook", raw.webhook), ("email", raw.email), ("sms", raw.sms)];
    let mut all: Vec<(What, bool)> = Vec::new();
    if let Some(event) = raw.emit {
        let name = event.get_ref().trim();
        if name.is_empty() || name.len() > 200 {
            return Err((at, "`emit` is the name of an event".to_owned()));
        }
        if OURS.contains(&name) {
            return Err((
                at,
                format!("`{name}` is what the collector itself says; choose another name"),
            ));
        }
        all.push((What::Emit { event: name.to_owned() }, false));
    }
    if let Some(traits) = raw.set {
        let json = |value: &toml::Value| serde_json::to_value(value).unwrap_or_default();
        let traits = traits.iter().map(|(name, value)| (name.clone(), json(value))).collect();
        all.push((What::Set { traits }, false));
    }
    let written = raw.template.as_ref().map(Spanned::get_ref);
    let template = written.map(|it| it.rsplit_once('.').map_or(&**it, |it| it.0).to_owned());
    let mut stands = Stands {
        destination: file.line(at),
        template: file.line(raw.template.as_ref().map_or(at, |it| it.span().start)),
        file: written.filter(|it| it.contains('.')).cloned(),
    };
    if let Some(placement) = raw.in_app {
        let Some(template) = template.clone() else {
            return Err((at, "`in_app` needs a `template`: what it says".to_owned()));
        };
        let placement = placement.into_inner();
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if placement.is_empty() || placement.len() > 64 || !placement.chars().all(is_word) {
            let message = "`in_app` says where in the page it belongs, in letters, digits, `-` and `_`; `card` is drawn by the SDK";
            return Err((at, message.to_owned()));
        }
        all.push((What::InApp { placement, template }, true));
    }
    for (kind, to) in sends {
        let Some(to) = to else { continue };
        let needs = kind != "webhook";
        if needs && template.is_none() {
            return Err((at, format!("`{kind}` needs a `template`: what it says")));
        }
        stands.destination = file.line(to.span().start);
        let (destination, template) = (to.into_inner(), template.clone());
        let send = What::Send { destination, kind: kind.to_owned(), template };
        all.push((send, true));
    }
    let (Some((what, takes_template)), true) = (all.pop(), all.is_empty()) else {
        let message = "each action of `then` is one of `emit`, `set`, `slack`, `webhook`, `email`, `sms` and `in_app`";
        return Err((at, message.to_owned()));
    };
    if !takes_template && raw.template.is_some() {
        return Err((at, "`emit` and `set` have no `template`".to_owned()));
    }
    let expires_ms = ms(raw.expires.map_or(EXPIRES, |it| it.0));
    Ok((Do { what, expires_ms }, stands))
}
