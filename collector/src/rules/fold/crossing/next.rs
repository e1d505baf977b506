//! When a line will next be crossed if nothing happens, this way or back.
//! Promises to look ahead a bounded number of times, and as far as most of a year. Deliberately changes nothing.

use std::sync::Arc;

use rusqlite::Result;

use super::{
    super::{
        super::{rule::When, scope::Scope, waiting},
        Fold, keys,
    },
    ahead::{self, EXACTLY_MS},
    hours::Turns,
};

/// How far ahead is looked for what the clock moves: each look is twice as far as the one before, from an hour.
const AHEAD_MS: i64 = 3600 * 1000;
const LOOKS_AHEAD: u32 = 14;

impl Fold {
    /// Found by looking ahead, at each step that a window makes, since what one brings another can take away; and where the clock
    /// moves it too, between those.
    pub(super) fn crosses_next(&mut self, scope: &Scope<'_>, number: usize) -> Result<Option<i64>> {
        let rule = &scope.set.rules[number];
        let When::Crosses(crossing) = &rule.when else { return Ok(None) };
        let (db, now, by) = (scope.db, scope.now_ms, (number, rule.name.as_str()));
        let keys = keys(scope.whose);
        let is_crossed = waiting::is_crossed(db, &mut self.standing, by, &keys)?;
        let lines = Arc::clone(&self.lines);
        let Some(line) = lines.iter().find(|line| line.rule == number) else { return Ok(None) };
        if line.only_back && line.is_bare && !is_crossed {
            return Ok(None);
        }
        let mut looks = scope.steps(&line.windowed)?;
        if line.goes_by_the_clock {
            looks.extend((0..LOOKS_AHEAD).map(|look| now + (AHEAD_MS << look)));
            looks.sort_unstable();
        }
        let mut turns = Turns { scope, rule, crossing, hours: &line.hours, is_crossed };
        if let Some(walls) = line.hours.walls(scope, is_crossed)? {
            // At this moment it is as it was just found; and what stands after the last step is looked at, too.
            looks.insert(0, now + 1);
            looks.extend(looks.last().map(|last| last + ahead::ALL_SHOWN_MS));
            looks.dedup();
            return ahead::first(&walls, &looks, &mut turns);
        }
        let mut not_yet = now;
        for mut by in looks {
            if turns.at(by)? {
                while line.goes_by_the_clock && by - not_yet > EXACTLY_MS {
                    let middle = not_yet + (by - not_yet) / 2;
                    match turns.at(middle)? {
                        true => by = middle,
                        false => not_yet = middle,
                    }
                }
                return Ok(Some(by));
            }
            not_yet = by;
        }
        Ok(None)
    }
}
