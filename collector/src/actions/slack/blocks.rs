//! A message in Slack's Block Kit: a header, sections, the reasons of a score, and buttons.
//! Promises Slack's documented limits, whatever is in the message: what is too long is cut, and shows that it is. Deliberately lets Slack
//! make nothing of the text by itself (`verbatim`): no name in it becomes a mention, no address a link.

use serde_json::{Value, json};

use super::{super::Message, mrkdwn};
use crate::rules::rounded;

/// Blocks of a message, characters of a section, of a header, and elements of a context block
/// (<https://docs.slack.dev/reference/block-kit/blocks>).
const BLOCKS: usize = 50;
const SECTION: usize = 3000;
const HEADER: usize = 150;
const CONTEXT_ELEMENTS: usize = 10;
/// Of one reason: ten of them are to be read at a glance.
const REASON: usize = 150;
/// What is shown where blocks are not, in a notification: Slack advises no more than 4,000.
const FALLBACK: usize = 3000;

/// The words of the buttons, by the ids under which Slack reports them.
const BUTTONS: [(&str, &str); 3] = [
    ("headwater_ack", "Acknowledge"),
    ("headwater_snooze", "Snooze"),
    ("headwater_assign", "Assign"),
];

/// What is posted, or nothing if there is nothing to read in it.
pub(super) fn message(message: &Message, with_buttons: bool) -> Option<Value> {
    let rendered = &message.rendered;
    let title = rendered.title.as_deref().filter(|title| !title.trim().is_empty());
    let lines = match (&rendered.markdown, &rendered.text) {
        (Some(markdown), _) => mrkdwn::of_markdown(markdown),
        (None, Some(text)) => text.lines().map(mrkdwn::escape).collect(),
        (None, None) => Vec::new(),
    };
    let header = title.map(|title| {
        json!({"type": "header", "text": {"type": "plain_text", "text": cut(title, HEADER), "emoji": false}})
    });
    let reasons = reasons(&message.context);
    let reasons = (!reasons.is_empty()).then(|| json!({"type": "context", "elements": reasons}));
    let buttons = with_buttons.then(|| {
        let button = |(id, word)| {
            let text = json!({"type": "plain_text", "text": word});
            json!({"type": "button", "action_id": id, "text": text, "value": message.key})
        };
        json!({"type": "actions", "elements": BUTTONS.map(button)})
    });
    let others = [&header, &reasons, &buttons].into_iter().flatten().count();
    let sections = sections(&lines, BLOCKS - others);
    let fallback = match (title, sections.first()) {
        (Some(title), _) => mrkdwn::escape(title),
        (None, Some(section)) => section.clone(),
        (None, None) => return None,
    };
    let section = |text| json!({"type": "section", "text": mrkdwn_text(text)});
    let blocks: Vec<_> = header
        .into_iter()
        .chain(sections.into_iter().map(section))
        .chain(reasons)
        .chain(buttons)
        .collect();
    Some(json!({"text": cut_markup(&fallback, FALLBACK), "blocks": blocks}))
}

#[allow(clippy::needless_pass_by_value, reason = "it is moved into the JSON")]
fn mrkdwn_text(text: String) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// `reasons` of the context: each in its `words` where there are any, which say all of it, as of a term `cancel page +0.42`; else its
/// `text` with its `value`. A condition without words is code.
fn reasons(context: &Value) -> Vec<Value> {
    let list = context["reasons"].as_array().map_or(&[][..], Vec::as_slice);
    let say = |reason: &Value| {
        let said = match (reason["words"].as_str(), reason["text"].as_str(), &reason["value"]) {
            (Some(words), ..) => words.to_owned(),
            (None, None, _) => return None,
            (_, Some(text), Value::String(value)) => format!("{text}: {value}"),
            (_, Some(text), Value::Number(value)) => {
                format!("{text}: {}", rounded(value.as_f64()?))
            }
            (_, Some(text), _) => text.to_owned(),
        };
        let said = cut(said.trim(), REASON);
        let is_code =
            reason["value"].is_boolean() && reason["words"].is_null() && !said.contains('`');
        (!said.is_empty()).then(|| match (is_code, mrkdwn::escape(&said)) {
            (true, code) => mrkdwn_text(format!("`{code}`")),
            (false, said) => mrkdwn_text(said),
        })
    };
    list.iter().filter_map(say).take(CONTEXT_ELEMENTS).collect()
}

/// The lines, in as few sections as hold them.
fn sections(lines: &[String], most: usize) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    let mut room = 0;
    for line in lines {
        let line = cut_markup(line, SECTION);
        let length = line.chars().count() + 1;
        let fits = length <= room && !sections.is_empty();
        if fits && let Some(section) = sections.last_mut() {
            *section = format!("{section}\n{line}");
        } else if line.trim().is_empty() {
            continue;
        } else if sections.len() < most {
            sections.push(line);
            room = SECTION + 1;
        } else {
            if let Some(last) = sections.last_mut() {
                *last = cut_markup(&format!("{last}\n{line}"), SECTION);
            }
            break;
        }
        room -= length;
    }
    sections.into_iter().map(|section| section.trim_end().to_owned()).collect()
}

/// The first characters, with a sign that there were more.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// [`cut`], but not within a link or an escaped character.
fn cut_markup(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let (mut end, mut open) = (0, None);
    for (count, (at, character)) in text.char_indices().enumerate() {
        if count == most - 1 {
            end = open.unwrap_or(at);
            break;
        }
        match character {
            '<' => open = Some(at),
            '&' if open.is_none() => open = Some(at),
            '>' => open = None,
            ';' if open.is_some_and(|from| text[from..].starts_with('&')) => open = None,
            _ => {}
        }
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::Rendered;

    fn of(title: Option<&str>, markdown: &str, context: Value, buttons: bool) -> Option<Value> {
        let rendered = Rendered {
            title: title.map(str::to_owned),
            markdown: Some(markdown.to_owned()),
            ..Rendered::default()
        };
        let (key, rule) = ("k-1".to_owned(), "r".to_owned());
        super::message(&Message { key, rule, to: None, rendered, context }, buttons)
    }

    #[test]
    fn a_condition_is_told_in_words_and_what_has_none_as_code() {
        let context = json!({"reasons": [
            {"text": "features.orders == 0", "words": "orders is 0", "value": true},
            {"text": "features.a + 1 > 2", "value": true}]});
        let message = of(Some("A"), "Hi", context, false).unwrap();
        let said = &message["blocks"][2]["elements"];
        assert_eq!(
            (&said[0]["text"], &said[1]["text"]),
            (&json!("orders is 0"), &json!("`features.a + 1 &gt; 2`"))
        );
    }

    #[test]
    fn a_message_has_a_header_sections_reasons_and_buttons() {
        let context = json!({"reasons": [{"text": "logins <7 d", "value": -0.46, "words": "logins <7 d −0.46"}, {"text": "sessions", "value": 3.456}, {"text": "new card"}, {"x": 1}]});
        let message = of(Some("A & B"), "**Hi**\n\n- one", context, true).unwrap();
        assert_eq!(
            message,
            json!({"text": "A &amp; B", "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "A & B", "emoji": false}},
                {"type": "section", "text": {"type": "mrkdwn", "text": "*Hi*\n\n• one", "verbatim": true}},
                {"type": "context", "elements": [
                    {"type": "mrkdwn", "text": "logins &lt;7 d −0.46", "verbatim": true},
                    {"type": "mrkdwn", "text": "sessions: 3.46", "verbatim": true},
                    {"type": "mrkdwn", "text": "new card", "verbatim": true}]},
                {"type": "actions", "elements": [
                    {"type": "button", "action_id": "headwater_ack", "text": {"type": "plain_text", "text": "Acknowledge"}, "value": "k-1"},
                    {"type": "button", "action_id": "headwater_snooze", "text": {"type": "plain_text", "text": "Snooze"}, "value": "k-1"},
                    {"type": "button", "action_id": "headwater_assign", "text": {"type": "plain_text", "text": "Assign"}, "value": "k-1"}]}]})
        );
        let plain = of(None, "x", json!({}), false).unwrap();
        assert_eq!(plain["blocks"].as_array().unwrap().len(), 1);
        assert_eq!(of(Some(" "), " \n ", json!({}), true), None);
    }

    #[test]
    fn what_is_too_long_is_cut_within_slacks_limits() {
        let reasons: Vec<_> =
            (0..30).map(|n| json!({"text": "é".repeat(500), "value": n})).collect();
        let line = format!("{}[x](https://h/{})& tail", "é&".repeat(300), "u".repeat(2000));
        for text in [vec![line; 500].join("\n"), "&".repeat(400_000), "a\n".repeat(200_000)] {
            let message =
                of(Some(&"é".repeat(400)), &text, json!({"reasons": reasons}), true).unwrap();
            let blocks = message["blocks"].as_array().unwrap();
            assert!(blocks.len() <= 50);
            for block in blocks {
                let texts = match block["type"].as_str().unwrap() {
                    "header" => vec![(&block["text"], 150)],
                    "section" => vec![(&block["text"], 3000)],
                    "context" => {
                        block["elements"].as_array().unwrap().iter().map(|e| (e, 3000)).collect()
                    }
                    _ => vec![],
                };
                assert!(texts.len() <= 10);
                for (text, most) in texts {
                    let text = text["text"].as_str().unwrap();
                    assert!((1..=most).contains(&text.chars().count()), "{}", text.chars().count());
                    assert_eq!(
                        text.matches('<').count(),
                        text.matches('>').count(),
                        "no link is cut"
                    );
                    assert_eq!(
                        text.matches('&').count(),
                        text.matches("&amp;").count(),
                        "nor an escape"
                    );
                }
            }
            let last = blocks[blocks.len() - 3]["text"]["text"].as_str().unwrap();
            assert!(last.ends_with('…'), "it shows that there was more");
        }
    }

    proptest::proptest! {
        /// Whatever somebody calls themselves: it mentions nobody and leads nowhere.
        #[test]
        fn what_is_filled_in_is_text(name in r"([\[\](){}<>!@#&|*_~`\\: \n\ré-]|https?://|x|```|<!channel>|\]\(https://x\)){0,40}") {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("a.md"), "- Hi {{ person.name }}!\n[p](https://h/{{ person.name|urlencode }}) [{{ person.name }}](https://h/)").unwrap();
            let templates = crate::actions::Templates::read(folder.path()).unwrap();
            let rendered = templates.render("a", &json!({"person": {"name": name}})).unwrap();
            let lines = mrkdwn::of_markdown(&rendered.markdown.unwrap());
            proptest::prop_assert_eq!(lines.len(), 2, "{:?}", lines);
            proptest::prop_assert!(!lines[0].contains(['<', '>']), "{:?}", lines);
            let links: Vec<_> = lines[1].match_indices('<').map(|(at, _)| &lines[1][at..]).collect();
            proptest::prop_assert!(links.iter().all(|link| link.starts_with("<https://h/")), "{:?}", lines);
            proptest::prop_assert!((1..=2).contains(&links.len()), "{:?}", lines);
            proptest::prop_assert_eq!(lines[1].matches('>').count(), links.len(), "{:?}", lines);
        }

        #[test]
        fn no_text_is_too_strange(markdown in r"([\[\]()<>#&|*_~`\\>: \n\té+-]|```|https://h/|\PC){0,200}") {
            let message = of(Some(&markdown), &markdown, json!({"reasons": [{"text": markdown, "value": 1.5}, {"words": markdown}]}), true);
            proptest::prop_assert!(message.is_none_or(|message| message["blocks"].is_array()));
        }
    }
}
