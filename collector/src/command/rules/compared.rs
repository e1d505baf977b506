//! What `headwater rules backtest` says to people: by rule how often it fires and acts, and what is different.
//! Promises that a list is cut where nobody reads it any more, and says so. Deliberately compares nothing.

use headwater_collector::rules::{Compared, Counted, Moved, Once};

use super::printable;

/// Firings of one kind that are named.
const NAMED: usize = 20;

/// All of it; `has_end` says whether the time was said until which time passes.
pub(super) fn shown(compared: &Compared, has_end: bool) -> String {
    let mut shown = format!("{} events\n", compared.events);
    for (rule, of) in &compared.rules {
        let (before, now) = (counted(&of.before), counted(&of.now));
        shown += &format!("  {rule}: before {before}; now {now}\n");
    }
    let once = |it: &Once, held: &str| {
        let held = it.held.as_ref().map_or_else(String::new, |why| format!("  ({held}: {why})"));
        let who = who(&it.name, &it.person, it.account.as_deref());
        format!("{}  {}  {who}{held}", it.at, it.rule)
    };
    let moved = |it: &Moved| {
        let who = who(&it.name, &it.person, it.account.as_deref());
        format!("{} -> {}  {}  {who}", it.before, it.now, it.rule)
    };
    let acts = |it: &Once| once(it, "held before");
    shown += &list("would act now, and did not before", "", &compared.acts_now, acts);
    let acted = |it: &Once| once(it, "held now");
    shown += &list("would not act any more", "", &compared.acts_no_more, acted);
    shown += &list("at another time", "", &compared.moved, moved);
    let end = if has_end { "a later --to" } else { "a --to in the future" };
    let note = format!("; {end} lets their time come");
    if !compared.not_due.is_empty() {
        shown += &list("not due yet", &note, &compared.not_due, moved);
    }
    for (what, all) in [
        ("would be on record now, and held", &compared.only_new),
        ("held before, and not on record any more", &compared.only_old),
    ] {
        let held: Vec<Once> = all.iter().filter(|it| it.held.is_some()).cloned().collect();
        if !held.is_empty() {
            shown += &list(what, "", &held, |it| once(it, "held"));
        }
    }
    shown + compared.not_judged + "\n"
}

fn counted(Counted { fired, acts, held }: &Counted) -> String {
    let held: Vec<_> = held.iter().map(|(why, times)| format!("{times} {why}")).collect();
    let held =
        if held.is_empty() { String::new() } else { format!(" (held: {})", held.join(", ")) };
    format!("{fired} fired, {acts} act{held}")
}

fn who(name: &str, person: &str, account: Option<&str>) -> String {
    printable(&format!("{} ({name})", account.unwrap_or(person)))
}

fn list<T>(what: &str, note: &str, all: &[T], line: impl Fn(&T) -> String) -> String {
    let mut shown = format!("{what}: {}{note}\n", all.len());
    for one in all.iter().take(NAMED) {
        shown += &format!("  {}\n", line(one));
    }
    if all.len() > NAMED {
        shown += &format!("  … and {} more (--json names all)\n", all.len() - NAMED);
    }
    shown
}
