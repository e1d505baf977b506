//! A message to the page or the app that somebody has open, as the event that it travels by.
//! Promises that where it leads runs nothing in a page. Deliberately does not know who listens: see `messages`.

use serde_json::{Value, json};

use super::Rendered;
use crate::{messages::MESSAGE, rules::Pending};

/// Bytes of a message's parts: a card has a few sentences, a handful of recommendations a few hundred bytes each.
const MOST_BYTES: usize = 16 * 1024;
/// What runs in a page instead of leading somewhere, or shows what is on the device.
const NOT_LED_TO: [&str; 6] = ["javascript", "data", "vbscript", "blob", "file", "about"];

/// The event; what is wrong with the message otherwise.
pub(super) fn event(
    pending: &Pending,
    placement: &str,
    rendered: &Rendered,
) -> Result<Value, String> {
    let Rendered { title, button, url, data, text, .. } = rendered;
    let body = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if body.is_none() && title.is_none() && data.is_empty() {
        return Err("the message says nothing".to_owned());
    }
    if let Some(url) = url {
        leads_somewhere(url)?;
    }
    let properties = json!({
        "message_id": pending.id,
        "rule": pending.rule,
        "placement": placement,
        "title": title,
        "body": body,
        "button": button,
        "url": url,
        "data": data,
        "expires_ms": pending.expires_ms,
    });
    let size = properties.to_string().len();
    if size > MOST_BYTES {
        return Err(format!("the message has {size} bytes; {MOST_BYTES} are the most"));
    }
    Ok(json!({ "type": "track", "event": MESSAGE, "properties": properties }))
}

/// The same of a template's text, as far as it is fixed: what is filled in can change neither a path nor a scheme that stand before it.
pub(super) fn may_lead_somewhere(template: &str) -> Result<(), String> {
    let fixed = ["{{", "{%", "{#"].iter().filter_map(|tag| template.find(tag)).min();
    match fixed {
        None => leads_somewhere(template.trim()),
        Some(fixed) => {
            let before = template[..fixed].trim_start();
            match before.contains([':', '/', '\\', '?', '#', ' ']) {
                true => leads_somewhere(&format!("{before}x")),
                false => Ok(()),
            }
        }
    }
}

/// A path of the page's own site, or an address with a scheme: `https://…`, or an app's own as `shop://…`.
fn leads_somewhere(url: &str) -> Result<(), String> {
    let is_path = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_scheme = |scheme: &String| {
        scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !NOT_LED_TO.contains(&scheme.as_str())
    };
    if url.chars().any(|c| c.is_control() || c == ' ')
        || !(is_path || scheme.as_ref().is_some_and(is_scheme))
    {
        return Err("`url` is a path that begins with `/`, or an address as `https://…`".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rules::What;

    fn pending() -> Pending {
        let what = What::InApp { placement: "card".into(), template: "pay".into() };
        Pending {
            id: "f.0".into(),
            number: 1,
            what: crate::rules::Do { what, expires_ms: 1_000 },
            after_ms: 0,
            expires_ms: 61_000,
            firing: "f".into(),
            revision: 1,
            rule: "payment".into(),
            node: 1,
            account: 0,
            at_ms: 0,
            record: None,
            depth: 0,
            why: Value::Null,
        }
    }

    #[test]
    fn an_address_leads_somewhere_and_runs_nothing() {
        for good in
            ["/pay?x=1#y", "https://shop.example/a", "HTTP://shop.example", "shop-app://pay"]
        {
            assert_eq!(leads_somewhere(good), Ok(()), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "javascript://%0aalert(1)",
            "JavaScript://x",
            "java\tscript://x",
            "data://text/html,x",
            "//evil.example",
            "/\\evil.example",
            "pay",
            "",
            " https://x.example",
            "://x",
            "1x://y",
        ] {
            assert!(leads_somewhere(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_fixed_of_an_address_is_looked_at_before_it_is_filled_in() {
        for good in [
            "/pay/{{ event.properties.id }}",
            "https://shop.example/{{ person.id }}",
            "{{ event.properties.url }}",
            "{% if account %}/a{% else %}/b{% endif %}",
            "https://{{ account.traits.domain }}/pay",
            "shop{{ person.traits.app }}://pay",
            " /pay ",
        ] {
            assert_eq!(may_lead_somewhere(good), Ok(()), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "javascript:pay('{{ person.id }}')",
            "//{{ person.id }}",
            "pay?{{ person.id }}",
            "",
        ] {
            assert!(may_lead_somewhere(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_says_something_and_has_its_bounds() {
        let text = |text: &str| Rendered { text: Some(text.into()), ..Rendered::default() };
        let made = event(&pending(), "card", &text(" Hello\n")).unwrap();
        assert_eq!(made["event"], MESSAGE);
        assert_eq!(made["properties"]["body"], "Hello");
        assert_eq!(made["properties"]["expires_ms"], 61_000);
        assert!(event(&pending(), "card", &text(" \n")).unwrap_err().contains("nothing"));
        let data = BTreeMap::from([("sku".to_owned(), "1".to_owned())]);
        assert!(event(&pending(), "card", &Rendered { data, ..text("") }).is_ok());
        assert!(
            event(&pending(), "card", &text(&"x".repeat(20_000))).unwrap_err().contains("bytes")
        );
        let led = Rendered { url: Some("javascript:x".into()), ..text("x") };
        assert!(event(&pending(), "card", &led).unwrap_err().contains("`url`"));
    }
}
