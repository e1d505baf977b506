//! By which clocks on walls something goes: whose hour, whose day of the week.
//! Promises that what they show changes at a quarter of an hour alone, as all time zones do, and that what is so at one moment is so
//! at any other at which they show the same. Deliberately does not know what is asked of them.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};

use crate::expression::Expression;

/// No clock on a wall changes its hour between two of these, in milliseconds of unix time: zones are whole quarters off UTC.
const QUARTER_MS: i64 = 15 * 60 * 1000;

/// When any of them can show something else first, after a moment.
pub(super) fn next_quarter(at_ms: i64) -> i64 {
    (at_ms.div_euclid(QUARTER_MS) + 1) * QUARTER_MS
}

/// What functions of the hour and of the day of the week there are, beside those of an event's own time.
const LOCAL_HOUR: &str = "local_hour";
const LOCAL_WEEKDAY: &str = "local_weekday";
const HOUR_IN: &str = "hour_in";

/// The clocks that something looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Clocks {
    /// The person's hour.
    hour: bool,
    /// The person's day of the week.
    weekday: bool,
    /// The hour in these places.
    places: BTreeSet<String>,
    /// The hour in a place that is found only when it is asked.
    elsewhere: bool,
}

impl Clocks {
    /// Those that an expression looks at itself.
    pub(super) fn of(expression: &Expression) -> Self {
        let given = expression.given(HOUR_IN);
        Self {
            hour: expression.calls(LOCAL_HOUR),
            weekday: expression.calls(LOCAL_WEEKDAY),
            places: given.iter().copied().flatten().map(str::to_owned).collect(),
            elsewhere: given.contains(&None),
        }
    }

    /// These and others.
    pub(super) fn and(mut self, others: &Self) -> Self {
        self.hour |= others.hour;
        self.weekday |= others.weekday;
        self.elsewhere |= others.elsewhere;
        self.places.extend(others.places.iter().cloned());
        self
    }

    /// Whether it looks at none.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks where the person is.
    pub(super) fn are_local(&self) -> bool {
        self.hour || self.weekday
    }

    /// Those of somebody who is there.
    pub(super) fn at(&self, home: &str) -> Walls {
        let zone = |name: &str| TimeZone::get(name).ok();
        Walls {
            home: self.are_local().then(|| zone(home)).flatten(),
            hour: self.hour,
            weekday: self.weekday,
            places: self.places.iter().filter_map(|name| zone(name)).collect(),
            elsewhere: self.elsewhere,
        }
    }
}

/// The same with their time zones. A zone that there is not shows nothing, at any time.
pub(super) struct Walls {
    home: Option<TimeZone>,
    hour: bool,
    weekday: bool,
    places: Vec<TimeZone>,
    elsewhere: bool,
}

/// What all of them show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shown(Vec<i8>);

impl Walls {
    /// What they show at a moment, in milliseconds of unix time.
    pub(super) fn show(&self, at_ms: i64) -> Shown {
        let mut shown = Vec::new();
        let Ok(at) = Timestamp::from_millisecond(at_ms) else { return Shown(shown) };
        if let Some(zone) = &self.home {
            let there = zone.to_datetime(at);
            shown.extend(self.hour.then(|| there.hour()));
            shown.extend(self.weekday.then(|| there.weekday().to_monday_one_offset()));
        }
        shown.extend(self.places.iter().map(|zone| zone.to_datetime(at).hour()));
        if self.elsewhere {
            // Wherever that is, a day later it is the same hour there.
            let quarter = at_ms.div_euclid(QUARTER_MS).rem_euclid(96);
            shown.extend(i8::try_from(quarter));
        }
        Shown(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Vocabulary;

    const BEGIN_MS: i64 = 1_735_689_600_000;

    fn clocks(text: &str) -> Clocks {
        let functions = crate::rules::functions::FUNCTIONS;
        let words = Vocabulary { variables: &["account"], functions };
        Clocks::of(&Expression::read(text, &words).unwrap())
    }

    #[test]
    fn all_clocks_that_are_asked_are_found_however_deep() {
        assert!(clocks("days_since(account.x) > 3.0").is_none());
        assert!(clocks("true ? local_hour() > 3 : false").hour);
        assert!(clocks("[local_weekday()].exists(x, x == 1)").weekday);
        let both = clocks("hour_in('Asia/Tokyo') > 3 || hour_in(\"Europe/Paris\") in [1, 2]");
        assert_eq!(both.places, ["Asia/Tokyo", "Europe/Paris"].map(str::to_owned).into());
        assert!(!both.elsewhere && !both.are_local());
        assert!(clocks("hour_in(account.zone) > 3").elsewhere);
    }

    #[test]
    fn what_is_shown_is_the_same_within_a_quarter_of_an_hour_and_not_for_longer_than_an_hour() {
        let all = clocks("local_hour() + local_weekday() > 3 && hour_in('Asia/Kathmandu') > 3");
        // A whole year: both changes of the clocks, of which one is by half an hour.
        for home in ["Australia/Lord_Howe", "America/St_Johns", "UTC"] {
            let walls = all.at(home);
            for at in (0..365 * 96).map(|quarter| BEGIN_MS + quarter * QUARTER_MS) {
                let shown = walls.show(at);
                assert_eq!(shown, walls.show(at + QUARTER_MS - 1), "{home} {at}");
                assert_eq!(shown.0.len(), 3);
                assert_ne!(shown, walls.show(at - 4 * QUARTER_MS), "{home} {at}");
            }
        }
        assert_eq!(all.at("Nowhere/At_All").show(BEGIN_MS).0.len(), 1);
    }
}
