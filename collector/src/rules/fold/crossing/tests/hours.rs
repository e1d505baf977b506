//! Lines that go by the hour and the day of the week, held against looking at every minute, in zones with half hours and summer times.

use std::collections::HashMap;

use jiff::{Timestamp as Moment, tz::TimeZone};
use proptest::prelude::*;
use serde_json::json;

use super::{BEGIN_MS, MINUTE, World};

const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Of whom it is asked at a moment, all in milliseconds after the beginning.
struct Seen<'a> {
    now: i64,
    happened: &'a [i64],
    hour: i8,
    weekday: i8,
    hour_in_kolkata: i8,
}

impl Seen<'_> {
    fn within(&self, window: i64, ago: i64) -> i64 {
        super::within(self.happened, self.now - ago - window, self.now - ago)
    }

    /// Since the last one.
    fn minutes(&self) -> i64 {
        self.happened.iter().max().map_or(0, |last| (self.now - last).div_euclid(MINUTE))
    }

    /// Whether so many minutes are over: at the very moment they are not.
    fn is_since(&self, minutes: i64) -> bool {
        self.happened.iter().max().is_some_and(|last| self.now - last > minutes * MINUTE)
    }
}

/// What crosses a line, said by its rules and by what they come to.
struct Told {
    rules: &'static str,
    is_beyond: fn(&Seen<'_>) -> bool,
    holds: fn(&Seen<'_>) -> bool,
    is_back: fn(&Seen<'_>) -> bool,
}

const TOLD: [Told; 8] = [
    // A short hour of the day, long after the line was crossed.
    Told {
        rules: "[features.last]\non = 'Tick'\nlast = 'event.time'\n\
            [scores.gone]\nterms = { t = 'minutes_since(features.last)' }\n\
            [rules.gone]\ncrosses = { score = 'gone', above = 1370.0, rearm_below = 100.0 }\n\
            if = 'local_hour() == 9'\n",
        is_beyond: |it| it.is_since(1370),
        holds: |it| it.hour == 9,
        is_back: |it| it.minutes() < 100,
    },
    // One day of the week, in the morning.
    Told {
        rules: "[features.last]\non = 'Tick'\nlast = 'event.time'\n\
            [scores.gone]\nterms = { t = 'minutes_since(features.last)' }\n\
            [rules.gone]\ncrosses = { score = 'gone', above = 3001.0, rearm_below = 100.0 }\n\
            if = ['local_weekday() == 2', 'local_hour() >= 3 && local_hour() < 6']\n",
        is_beyond: |it| it.is_since(3001),
        holds: |it| it.weekday == 2 && (3..6).contains(&it.hour),
        is_back: |it| it.minutes() < 100,
    },
    // A score that is higher at night: over the line and back every day until a window has moved on.
    Told {
        rules: "[features.n]\non = 'Tick'\ncount = true\nwindow = '3007m'\n\
            [scores.night]\nterms = { n = 'features.n > 1 ? 0.5 : 0.0', t = 'local_hour() < 6 ? 0.4 : 0.0' }\n\
            [rules.night]\ncrosses = { score = 'night', above = 0.7 }\n",
        is_beyond: |it| it.within(3007 * MINUTE, 0) > 1 && it.hour < 6,
        holds: |_| true,
        is_back: |it| it.within(3007 * MINUTE, 0) <= 1 || it.hour >= 6,
    },
    // What goes by both within one condition.
    Told {
        rules: "[features.last]\non = 'Tick'\nlast = 'event.time'\n\
            [features.n]\non = 'Tick'\ncount = true\nwindow = '5d'\n\
            [scores.n]\nterms = { n = 'double(features.n)' }\n\
            [rules.n]\ncrosses = { score = 'n', above = 1.5, rearm_below = 1.0 }\n\
            if = 'local_hour() == 23 && minutes_since(features.last) > 611.0 || local_hour() == 2 && local_weekday() == 7'\n",
        is_beyond: |it| it.within(5 * DAY, 0) > 1,
        holds: |it| it.hour == 23 && it.is_since(611) || it.hour == 2 && it.weekday == 7,
        is_back: |it| it.within(5 * DAY, 0) < 1,
    },
    // Below a line.
    Told {
        rules: "[features.n]\non = 'Tick'\ncount = true\nwindow = '1600m'\n\
            [rules.few]\ncrosses = { feature = 'n', below = 2, rearm_above = 2 }\n\
            if = 'local_hour() < 1 || local_weekday() == 6'\n",
        is_beyond: |it| it.within(1600 * MINUTE, 0) < 2,
        holds: |it| it.hour < 1 || it.weekday == 6,
        is_back: |it| it.within(1600 * MINUTE, 0) >= 2,
    },
    // Two clocks, of which one is half an hour off.
    Told {
        rules: "[features.last]\non = 'Tick'\nlast = 'event.time'\n\
            [scores.gone]\nterms = { t = 'minutes_since(features.last)' }\n\
            [rules.gone]\ncrosses = { score = 'gone', above = 500.0, rearm_below = 300.0 }\n\
            if = [\"hour_in('Asia/Kolkata') == 17 && local_hour() != 4\", 'features.last != null']\n",
        is_beyond: |it| it.is_since(500),
        holds: |it| it.hour_in_kolkata == 17 && it.hour != 4,
        is_back: |it| it.minutes() < 300,
    },
    // By way of a score, with a window that is over.
    Told {
        rules: "[features.n]\non = 'Tick'\ncount = true\nwindow = '1d'\nago = '777m'\n\
            [scores.open]\nterms = { t = 'local_hour() in [7, 22] ? 1.0 : 0.0' }\n\
            [scores.n]\nterms = { n = 'double(features.n) * scores.open' }\n\
            [rules.n]\ncrosses = { score = 'n', above = 0.5 }\nif = 'local_weekday() < 6'\n",
        is_beyond: |it| it.within(DAY, 777 * MINUTE) > 0 && [7, 22].contains(&it.hour),
        holds: |it| it.weekday < 6,
        is_back: |it| it.within(DAY, 777 * MINUTE) == 0 || ![7, 22].contains(&it.hour),
    },
    // A place that is found only when it is asked.
    Told {
        rules: "[features.last]\non = 'Tick'\nlast = 'event.time'\n\
            [scores.gone]\nterms = { t = 'minutes_since(features.last)' }\n\
            [rules.gone]\ncrosses = { score = 'gone', above = 500.0, rearm_below = 300.0 }\n\
            if = 'hour_in(person.timezone) == 11'\n",
        is_beyond: |it| it.is_since(500),
        holds: |it| it.hour == 11,
        is_back: |it| it.minutes() < 300,
    },
];

/// In whole hours, half ones and quarters; with summer times of an hour, of half an hour, and none.
const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Paris",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/New_York",
    "Pacific/Chatham",
];

/// In which minutes it fires, said by looking at every one of them: at each event, and in the middle between two full minutes, as
/// all that ever changes does so at a full minute.
fn by_looking_always(told: &Told, zone: &str, events: &[i64], end: i64) -> Vec<i64> {
    let [home, kolkata] = [zone, "Asia/Kolkata"].map(|name| TimeZone::get(name).unwrap());
    let mut shown = HashMap::new();
    let mut show = |at: i64| {
        *shown.entry(at.div_euclid(15 * MINUTE)).or_insert_with(|| {
            let at = Moment::from_millisecond(BEGIN_MS + at).unwrap();
            let there = home.to_datetime(at);
            let weekday = there.weekday().to_monday_one_offset();
            (there.hour(), weekday, kolkata.to_datetime(at).hour())
        })
    };
    let (mut is_crossed, mut fired) = (false, Vec::new());
    for minute in events[0] / MINUTE..end / MINUTE {
        let at = minute * MINUTE;
        let before = events.partition_point(|it| *it < at);
        let mut looks = vec![(at + MINUTE / 2, events.partition_point(|it| *it <= at))];
        if events.get(before) == Some(&at) {
            looks.splice(0..0, [(at, before), (at, before + 1)]);
        }
        for (now, known) in looks {
            let (hour, weekday, hour_in_kolkata) = show(now);
            let happened = &events[..known];
            let seen = Seen { now, happened, hour, weekday, hour_in_kolkata };
            // Of whom nothing is known nothing is asked.
            if known == 0 {
                continue;
            }
            if is_crossed && (told.is_back)(&seen) {
                is_crossed = false;
            } else if !is_crossed && (told.is_beyond)(&seen) && (told.holds)(&seen) {
                is_crossed = true;
                fired.push(minute);
            }
        }
    }
    fired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn by_the_hour_all_is_found_in_the_second_in_which_it_is_so(
        zone in prop::sample::select(&ZONES[..]),
        begins in 0..365 * 96_i64,
        pauses in prop::collection::vec(prop_oneof![0..8_i64, 0..700_i64], 0..6),
        restarts in any::<bool>(),
    ) {
        // Each a minute before a clock on a wall can change, from when on it is looked at.
        let mut events = vec![begins * 15 * MINUTE + 14 * MINUTE];
        for pause in &pauses {
            events.push(events[events.len() - 1] + pause.max(&1) * 15 * MINUTE);
        }
        let end = events[events.len() - 1] + 17 * DAY;
        for told in &TOLD {
            let mut world = World::new(told.rules);
            for at in &events {
                world.came((*at, *at), &json!({
                    "type": "track", "event": "Tick", "anonymousId": "phone", "context": { "timezone": zone },
                }));
                if restarts {
                    world.restart();
                }
            }
            world.pass(end);
            let fired = world.fired();
            let minutes: Vec<i64> = fired.iter().map(|at| at.div_euclid(MINUTE)).collect();
            let always = by_looking_always(told, zone, &events, end);
            prop_assert_eq!(minutes, always, "{} in {}, events at {:?}", told.rules, zone, events);
            let late = fired.iter().map(|at| at.rem_euclid(MINUTE)).max();
            prop_assert!(late.is_none_or(|late| late <= 1000), "{:?}", fired);
        }
    }
}

#[test]
fn who_never_meets_the_hour_is_looked_at_once_after_an_event_and_no_more() {
    for condition in [
        "local_hour() == 9 && features.n > 5",
        "local_hour() > 23",
        "local_weekday() == 1 && minutes_since(features.last) < 3.0",
    ] {
        let mut world = World::new(&format!(
            "[features.last]\non = 'Tick'\nlast = 'event.time'\n\
             [features.n]\non = 'Tick'\ncount = true\n\
             [scores.gone]\nterms = {{ t = 'minutes_since(features.last)' }}\n\
             [rules.gone]\ncrosses = {{ score = 'gone', above = 1000.0 }}\nif = '{condition}'\n"
        ));
        world.tick(14 * MINUTE);
        world.pass(400 * DAY);
        assert_eq!((world.fired(), world.looks()), (vec![], 0), "{condition}");
        assert_eq!(world.rules.take_looked().len(), 2, "{condition}");
    }
}

#[test]
fn what_an_event_brings_over_the_line_is_held_against_the_next_hour_as_it_begins() {
    let mut world = World::new(
        "[features.n]\non = 'Tick'\ncount = true\nwindow = '1d'\n\
         [rules.n]\ncrosses = { feature = 'n', above = 0 }\nif = 'local_hour() == 9'\n",
    );
    world.tick(8 * HOUR + 58 * MINUTE);
    world.pass(DAY);
    assert_eq!(world.fired(), [9 * HOUR]);
}
