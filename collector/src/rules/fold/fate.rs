//! What may be done of what a rule does: how often somebody is written to, and when.
//! Promises the same for the same log. Deliberately knows no consent, which is asked for when the message goes.

use std::collections::BTreeMap;

use rusqlite::{Connection, Result};

use super::super::{
    bounds::times,
    calls::{local, timezone_of},
    firing::{self, Fate},
    length::ms,
    rule::{Cap, Do, Quiet, Rule},
    scope::Scope,
    set::RuleSet,
    shown::length,
};
use crate::{
    event_log::Timestamp,
    people::{Node, Whole},
};

/// What may be done of what a rule does: how often somebody is written to, and when.
pub(super) fn fates(scope: &Scope<'_>, rule: &Rule, node: Node, now_ms: i64) -> Result<Vec<Fate>> {
    let set = scope.set;
    if rule.urgent || set.caps.is_empty() && set.quiet.is_none() {
        return Ok(Vec::new());
    }
    // Whoever is written to is one person, whomever the rule is about.
    let person = Whole::person(scope.db, node)?;
    let mut of_this: BTreeMap<String, u32> = BTreeMap::new();
    let mut fate = |deed: &Do| -> Result<Fate> {
        let kind = deed.kind();
        if let Some(cap) = set.caps.get(&kind) {
            let since = now_ms - ms(cap.within.0);
            let earlier = of_this.entry(kind.clone()).or_default();
            let (sent, last_ms) = firing::messages(scope.db, &kind, &person, since)?;
            if sent + *earlier >= cap.times {
                let last_ms = last_ms.filter(|_| *earlier == 0);
                return Ok(Fate::Withheld(cap.refusal(&kind, last_ms)));
            }
            *earlier += 1;
        }
        let quiet = set.quiet.as_ref().filter(|quiet| quiet.kinds.contains(&kind));
        let Some(quiet) = quiet else { return Ok(Fate::After(0)) };
        let zone = timezone_of(scope.db, &person)?;
        Ok(Fate::After(quiet.ends(now_ms, &zone).unwrap_or(0)))
    };
    rule.then.iter().map(&mut fate).collect()
}

/// What stands before what a cap says of the last message.
const LAST: &str = ", the last ";

/// Which cap it is that holds a message, of what is said of it: without what was sent last, which is another at each.
pub(in super::super) fn cap_alone(refusal: &str) -> &str {
    refusal.split(LAST).next().unwrap_or(refusal)
}

impl Cap {
    /// Why a message is not sent: which line of the file is in its way, and what was sent last; nothing where that was by the same firing.
    fn refusal(&self, kind: &str, last_ms: Option<i64>) -> String {
        let (most, within) = (times(self.times), length(self.within.0));
        let last = match (self.times, last_ms) {
            (0, _) => String::new(),
            (_, Some(ms)) => format!("{LAST}set off at {}", Timestamp::from_unix_ms(ms)),
            (_, None) => format!("{LAST}by this same firing"),
        };
        format!("{}: {most} in {within} (`caps.{kind}`){last}", firing::CAPPED)
    }
}

impl RuleSet {
    /// Whether this waits for the morning of who gets it.
    pub(crate) fn is_quiet_for(&self, rule: &str, deed: &Do) -> bool {
        let is_urgent = self.rule(rule).is_some_and(|rule| rule.urgent);
        !is_urgent && self.quiet.as_ref().is_some_and(|quiet| quiet.kinds.contains(&deed.kind()))
    }

    /// When the night ends there, if it is night where somebody is.
    pub(crate) fn quiet_until(
        &self,
        db: &Connection,
        node: Node,
        now_ms: i64,
    ) -> Result<Option<i64>> {
        let Some(quiet) = &self.quiet else { return Ok(None) };
        let zone = timezone_of(db, &Whole::person(db, node)?)?;
        Ok(quiet.ends(now_ms, &zone))
    }
}

impl Quiet {
    /// When it ends, if it is quiet there.
    fn ends(&self, at_ms: i64, zone: &str) -> Option<i64> {
        let there = local(at_ms, zone)?;
        let now = i16::from(there.hour()) * 60 + i16::from(there.minute());
        let is_quiet = match self.from <= self.to {
            true => (self.from..self.to).contains(&now),
            false => now >= self.from || now < self.to,
        };
        if !is_quiet {
            return None;
        }
        // By the clock there, which may be put forward or back until then.
        let (hour, minute) = (i8::try_from(self.to / 60).ok()?, i8::try_from(self.to % 60).ok()?);
        let until = |date: jiff::civil::Date| {
            let until = date.at(hour, minute, 0, 0).to_zoned(there.time_zone().clone());
            until.ok().map(|until| until.timestamp().as_millisecond())
        };
        let today = until(there.date()).filter(|until| *until > at_ms);
        today.or_else(|| until(there.date().tomorrow().ok()?))
    }
}
