//! What `headwater rules stop` and `resume` have changed, in a line or two.
//! Promises to name what is stopped still. Deliberately asks nobody: it is given the answer.

use serde_json::Value;

use super::{items, text};

/// Who has stopped a rule, or all, and when.
fn by(stopped: &Value) -> String {
    format!("by {}, {}", text(&stopped["by"]), text(&stopped["at"]))
}

pub(super) fn stopped(answer: &Value, rule: Option<&str>) -> String {
    let mut of = items(&answer["rules"]).filter(|it| rule.is_none_or(|rule| it["name"] == rule));
    let (what, is) = match rule {
        Some(rule) => (text(&rule.into()), "is"),
        None => (format!("all {} rules", items(&answer["rules"]).count()), "are"),
    };
    if answer["changed"] == true {
        let (again, it) = match rule {
            Some(rule) => (format!(" {}", text(&rule.into())), "it"),
            None => (String::new(), "them"),
        };
        return format!(
            "{what} {is} stopped: what is set off waits, and expires if that goes on for too long\n\
             `headwater rules resume{again}` lets {it} go on\n"
        );
    }
    let stopped = of.next().map_or(&Value::Null, |it| &it["stopped"]);
    format!("{what} {is} stopped already, {}\n", by(stopped))
}

pub(super) fn resumed(answer: &Value, rule: Option<&str>) -> String {
    let changed = answer["changed"] == true;
    let Some(rule) = rule else {
        let mut shown = match changed {
            true => "the stop of all rules is lifted\n".to_owned(),
            false => "there was no stop of all rules\n".to_owned(),
        };
        let still = items(&answer["rules"]).filter(|it| it["stopped"].is_object());
        for it in still {
            let (name, by) = (text(&it["name"]), by(&it["stopped"]));
            shown += &format!(
                "{name} is stopped by its name still, {by}: `headwater rules resume {name}` lets it go on\n"
            );
        }
        return shown;
    };
    let name = text(&rule.into());
    let mut of = items(&answer["rules"]).filter(|it| it["name"] == rule);
    let stopped = of.next().map_or(&Value::Null, |it| &it["stopped"]);
    match (changed, stopped["all"] == true) {
        (true, false) => format!("{name} goes on\n"),
        (false, false) => format!("{name} was not stopped\n"),
        (_, true) => {
            let itself = if changed {
                "is not stopped by its name any more"
            } else {
                "was not stopped by its name"
            };
            format!(
                "{name} {itself}, but all rules still are, {}: `headwater rules resume` lets them go on\n",
                by(stopped)
            )
        }
    }
}
