//! Which events a consumer wants and how patient it is: lists that pick or leave out, and lengths of time.
//! Promises that a word that can match nothing, and a time that cannot be meant, is refused where it is written.
//! Deliberately does not know which sources there are: see `Config`.

use std::time::Duration;

use serde::Deserialize;

use crate::{decode::EventType, limits::RETRY_LONGEST};

/// A list of words: only these, `["web", "shop"]`, or all but these, `["!web"]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct Pick {
    words: Vec<String>,
    all_but: bool,
}

impl Pick {
    /// Whether it is picked.
    pub fn admits(&self, word: &str) -> bool {
        self.words.iter().any(|listed| listed == word) != self.all_but
    }

    /// Whether an event of this type, and, for `track`, of this name, is picked.
    pub fn admits_event(&self, event_type: &str, name: Option<&str>) -> bool {
        let is_it = |listed: &String| listed == event_type || Some(listed.as_str()) == name;
        self.words.iter().any(is_it) != self.all_but
    }

    /// What is listed, without the `!`.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }
}

impl TryFrom<Vec<String>> for Pick {
    type Error = String;

    fn try_from(words: Vec<String>) -> Result<Self, String> {
        let all_but = words.iter().filter(|word| word.starts_with('!')).count();
        match (words.len(), all_but) {
            (0, _) => Err("an empty list lets nothing through; leave it out to let all".to_owned()),
            (_, 0) => Ok(Self { words, all_but: false }),
            (all, some) if all == some => {
                let words = words.iter().map(|word| word[1..].to_owned()).collect();
                Ok(Self { words, all_but: true })
            }
            _ => Err("a list says which are wanted, or with `!` before each which are not; \
                      not both"
                .to_owned()),
        }
    }
}

/// A [`Pick`] of event types.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Pick")]
pub struct Types(Pick);

impl Types {
    /// Whether events of this type are wanted.
    pub fn admits(&self, event_type: &str) -> bool {
        self.0.admits(event_type)
    }
}

impl TryFrom<Pick> for Types {
    type Error = String;

    fn try_from(pick: Pick) -> Result<Self, String> {
        if let Some(unknown) = pick.words().find(|word| EventType::from_word(word).is_none()) {
            let known = EventType::ALL.map(EventType::as_str).join(", ");
            return Err(format!("`{unknown}` is no event type; expected some of {known}"));
        }
        Ok(Self(pick))
    }
}

/// A length of time: `"250ms"`, `"5s"`, `"30m"`, `"2h"`, up to 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Period(Duration);

impl Period {
    /// How long.
    pub fn as_duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no length of time; expected `250ms`, `5s`, `30m` or `2h`, up to 24h"
            )
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
        let period = ms.map(Duration::from_millis).filter(|period| *period <= RETRY_LONGEST);
        period.filter(|period| !period.is_zero()).map(Self).ok_or_else(wrong)
    }
}

/// The pauses after the first, second, … failure in a row; the last one from then on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<Period>")]
pub struct RetrySchedule(Vec<Duration>);

impl RetrySchedule {
    /// The pause after this many failures in a row, from 1.
    pub fn pause(&self, failures: u32) -> Duration {
        let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0.get(at).or(self.0.last()).copied().unwrap_or(RETRY_LONGEST)
    }
}

/// Quick tries within the first minute, so that a restart of the destination costs seconds; then the
/// schedule of Standard Webhooks ("Deliverability and reliability"), from its second step on.
impl Default for RetrySchedule {
    fn default() -> Self {
        let quick = [250, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000].map(Duration::from_millis);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let slow = [5, 30, 120, 300, 600, 840, 1200, 1440].map(minutes);
        Self(quick.into_iter().chain(slow).collect())
    }
}

impl TryFrom<Vec<Period>> for RetrySchedule {
    type Error = String;

    fn try_from(pauses: Vec<Period>) -> Result<Self, String> {
        match pauses.len() {
            1..=64 => Ok(Self(pauses.into_iter().map(Period::as_duration).collect())),
            length => Err(format!("a retry schedule has 1 to 64 pauses, this has {length}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(words: &[&str]) -> Result<Pick, String> {
        Pick::try_from(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_list_picks_or_leaves_out() {
        let some = pick(&["web", "shop"]).unwrap();
        assert!(some.admits("web") && some.admits("shop") && !some.admits("crm"));
        let all_but = pick(&["!web"]).unwrap();
        assert!(!all_but.admits("web") && all_but.admits("crm"));
        assert!(all_but.admits_event("track", Some("crm")) && all_but.admits_event("page", None));
        assert!(!all_but.admits_event("track", Some("web")) && !all_but.admits_event("web", None));
        assert!(some.admits_event("track", Some("web")) && !some.admits_event("track", None));
        assert!(pick(&["web", "!shop"]).unwrap_err().contains("not both"));
        pick(&[]).unwrap_err();
        Types::try_from(pick(&["!page", "!screen"]).unwrap()).unwrap();
        let error = Types::try_from(pick(&["pages"]).unwrap()).unwrap_err();
        assert!(error.starts_with("`pages` is no event type"), "{error}");
    }

    #[test]
    fn lengths_of_time_have_a_unit_and_an_end() {
        for (text, ms) in [("250ms", 250), ("5s", 5000), ("30m", 1_800_000), ("24h", 86_400_000)] {
            let period = Period::try_from(text.to_owned()).unwrap();
            assert_eq!(period.as_duration(), Duration::from_millis(ms));
        }
        for wrong in ["", "5", "s", "0s", "25h", "-1s", "1d", "1.5s", "99999999999999999999h"] {
            assert!(Period::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_default_is_quick_for_a_minute_and_then_patient() {
        let schedule = RetrySchedule::default();
        let minute: Duration = (1..=8).map(|failures| schedule.pause(failures)).sum();
        assert!((60..75).contains(&minute.as_secs()), "{minute:?}");
        assert_eq!(schedule.pause(9), Duration::from_secs(300));
        assert_eq!(schedule.pause(16), RETRY_LONGEST);
        assert_eq!(schedule.pause(u32::MAX), RETRY_LONGEST);
        assert!((1..16).all(|n| schedule.pause(n) < schedule.pause(n + 1)));
    }
}
