//! Looks ahead for the first moment at which something is so that goes by clocks on walls too, as "at night, once the score is high".
//! Promises to find it to the second, however short and however seldom the hour, as long as all but those clocks changes at most once
//! between two looks; and that what it costs is bounded by those looks and by what there is to see on a wall within a week.
//! Deliberately knows neither rules nor people.

use std::collections::HashMap;

use rusqlite::Result;

use super::super::super::wall::{Shown, Walls, next_quarter};

/// How exactly a moment is found.
pub(super) const EXACTLY_MS: i64 = 1000;
/// In so long clocks show all that they ever show: a week, and of an hour that a clock leaves out in spring the next one.
pub(super) const ALL_SHOWN_MS: i64 = 15 * 24 * 3600 * 1000;

/// What is asked of moments, in milliseconds of unix time. It is so where all three say so.
pub(super) trait Question {
    /// What no clock on a wall has a part in.
    fn by_time(&mut self, at_ms: i64) -> Result<bool>;
    /// What such clocks alone say.
    fn by_walls(&mut self, shown_ms: i64) -> Result<bool>;
    /// What goes by both: at one moment, with clocks that show another.
    fn by_both(&mut self, at_ms: i64, shown_ms: i64) -> Result<bool>;
}

/// The first moment from the first look on, and before the last, at which it is so. Looks are in their order; at one anything
/// may change.
pub(super) fn first(
    walls: &Walls,
    looks: &[i64],
    question: &mut impl Question,
) -> Result<Option<i64>> {
    let mut allowed = HashMap::new();
    for pair in looks.windows(2) {
        let Some(span) = part_of((pair[0], pair[1]), |at| question.by_time(at))? else { continue };
        let found = within(walls, span, &mut allowed, question)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// From when and until before when in a span something is so that changes at most once in it.
fn part_of(
    (from, to): (i64, i64),
    mut is_so: impl FnMut(i64) -> Result<bool>,
) -> Result<Option<(i64, i64)>> {
    let (mut before, mut after) = (from, to - 1);
    let (begins, ends) = (is_so(before)?, is_so(after)?);
    if begins == ends {
        return Ok(begins.then_some((from, to)));
    }
    while after - before > EXACTLY_MS {
        let middle = before + (after - before) / 2;
        match is_so(middle)? == begins {
            true => before = middle,
            false => after = middle,
        }
    }
    Ok(Some(if begins { (from, before + 1) } else { (after, to) }))
}

/// The same in a span in which it is so by time.
fn within(
    walls: &Walls,
    (from, to): (i64, i64),
    allowed: &mut HashMap<Shown, bool>,
    question: &mut impl Question,
) -> Result<Option<i64>> {
    // While clocks show this it is so from then until before then.
    let mut parts: HashMap<Shown, Option<(i64, i64)>> = HashMap::new();
    let mut at = from;
    while at < to {
        if at - from > ALL_SHOWN_MS {
            let to_come = parts.values().flatten().filter(|part| part.1 > at);
            match to_come.map(|part| part.0).min() {
                Some(begins) => at = at.max(begins),
                None => return Ok(None),
            }
        }
        let end = to.min(next_quarter(at));
        let shown = walls.show(at);
        let is_allowed = match allowed.get(&shown) {
            Some(known) => *known,
            None => *allowed.entry(shown.clone()).or_insert(question.by_walls(at)?),
        };
        let part = match parts.get(&shown) {
            _ if !is_allowed => None,
            Some(known) => *known,
            None => {
                let part = part_of((from, to), |time| question.by_both(time, at))?;
                *parts.entry(shown).or_insert(part)
            }
        };
        if let Some((begins, ends)) = part {
            let found = at.max(begins);
            // Of a place that is not known the clock may have been changed since.
            if found < ends.min(end)
                && question.by_time(found)?
                && question.by_walls(found)?
                && question.by_both(found, found)?
            {
                return Ok(Some(found));
            }
        }
        at = end;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, civil};

    use super::{super::super::super::functions::FUNCTIONS, *};
    use crate::{
        expression::{Expression, Vocabulary},
        rules::wall::Clocks,
    };

    const HOUR: i64 = 3600 * 1000;
    const DAY: i64 = 24 * HOUR;

    /// By three plain functions, with how often each was asked.
    struct Asked {
        time: fn(i64) -> bool,
        walls: fn(civil::DateTime) -> bool,
        both: fn(i64, civil::DateTime) -> bool,
        times: [usize; 3],
    }

    fn there(at_ms: i64) -> civil::DateTime {
        let paris = jiff::tz::TimeZone::get("Europe/Paris").unwrap();
        paris.to_datetime(Timestamp::from_millisecond(at_ms).unwrap())
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    impl Question for Asked {
        fn by_time(&mut self, at_ms: i64) -> Result<bool> {
            self.times[0] += 1;
            Ok((self.time)(at_ms))
        }

        fn by_walls(&mut self, shown_ms: i64) -> Result<bool> {
            self.times[1] += 1;
            Ok((self.walls)(there(shown_ms)))
        }

        fn by_both(&mut self, at_ms: i64, shown_ms: i64) -> Result<bool> {
            self.times[2] += 1;
            Ok((self.both)(at_ms, there(shown_ms)))
        }
    }

    impl Default for Asked {
        fn default() -> Self {
            Self { time: |_| true, walls: |_| true, both: |_, _| true, times: [0; 3] }
        }
    }

    /// Looked for in Paris, where it is asked for the hour and the day of the week, for most of a year.
    fn found(from: &str, asked: &mut Asked) -> Option<String> {
        let words = Vocabulary { variables: &[], functions: FUNCTIONS };
        let expression = Expression::read("local_hour() + local_weekday()", &words).unwrap();
        let walls = Clocks::of(&expression).at("Europe/Paris");
        let mut looks = vec![ms(from)];
        looks.extend((0..14).map(|look| ms(from) + (HOUR << look)));
        let at = first(&walls, &looks, asked).unwrap()?;
        Some(Timestamp::from_millisecond(at).unwrap().to_string())
    }

    #[test]
    fn what_never_is_so_costs_a_bounded_number_of_questions() {
        let never: [Asked; 4] = [
            Asked { time: |_| false, ..Asked::default() },
            Asked { walls: |_| false, ..Asked::default() },
            Asked { both: |_, _| false, ..Asked::default() },
            // As they show it for a week only the hour before.
            Asked { walls: |it| it.hour() == 2, both: |_, it| it.hour() == 3, ..Asked::default() },
        ];
        // A day is too short for a clock to show all of a week; of the seven longer spans each has all of it, at both ends.
        let most =
            [[28, 0, 0], [28, 168, 0], [28, 168, 2 * (9 * 168 + 24)], [28, 168, 2 * (9 * 7 + 7)]];
        for (mut asked, most) in never.into_iter().zip(most) {
            assert_eq!(found("2025-03-10T00:00:00Z", &mut asked), None);
            let is_bounded = asked.times.iter().zip(most).all(|(times, most)| *times <= most);
            assert!(is_bounded, "{:?}, not {most:?}", asked.times);
        }
    }

    #[test]
    fn an_hour_that_a_clock_leaves_out_in_spring_is_found_a_week_later() {
        let sunday = |it: civil::DateTime| it.weekday() == civil::Weekday::Sunday && it.hour() == 2;
        let mut asked = Asked { walls: sunday, ..Asked::default() };
        let at = found("2025-03-28T00:00:00Z", &mut asked);
        assert_eq!(at.as_deref(), Some("2025-04-06T00:00:00Z"));
        // In autumn it is there twice, and found the first time.
        let at = found("2025-10-22T00:00:00Z", &mut asked);
        assert_eq!(at.as_deref(), Some("2025-10-26T00:00:00Z"));
    }

    #[test]
    fn what_is_so_for_a_moment_of_a_far_day_is_found_there() {
        fn monday(it: civil::DateTime) -> bool {
            it.weekday() == civil::Weekday::Monday && it.hour() == 9
        }
        // From the 20th of October on in the one hour, much sooner in any other; in winter time by then.
        fn late(at: i64, it: civil::DateTime) -> bool {
            let from = if it.hour() == 9 { 1_760_918_400_000 } else { 1_742_000_000_000 };
            at >= from
        }
        let mut by_both = Asked { walls: monday, both: late, ..Asked::default() };
        let at = found("2025-03-10T00:00:00Z", &mut by_both);
        assert_eq!(at.as_deref(), Some("2025-10-20T07:00:00Z"));
        let after = |at: i64| at > 1_761_552_000_000 - DAY;
        let mut by_time = Asked { time: after, walls: monday, ..Asked::default() };
        let at = found("2025-03-10T00:00:00Z", &mut by_time);
        assert_eq!(at.as_deref(), Some("2025-10-27T08:00:00Z"));
    }
}
