//! When an event happened: what its client claims, corrected by our own clock.
//! Promises that a corrected time is never ahead of its receipt by more than a small allowance, and
//! that a text that is no time is no time, not an error. Deliberately reads no clock.

use crate::{event_log::Timestamp, limits::MAX_AHEAD_MS};

/// The client's `timestamp`, as if its clock had been ours: moved by how far its clock was from ours
/// when it sent the event (`sent_at`, stamped at each attempt). An event without a time happened
/// when it was received.
pub fn corrected(
    claimed: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
) -> Timestamp {
    let received = received_at.unix_ms();
    let Some(claimed) = claimed.map(Timestamp::unix_ms) else { return received_at };
    // Timestamps are within the years 0 to 9999, so that none of this overflows.
    let behind = sent_at.map_or(0, |sent_at| received - sent_at.unix_ms());
    Timestamp::from_unix_ms((claimed + behind).min(received + MAX_AHEAD_MS))
}

/// Reads a number as clients write one for a time: of seconds up to the year 5138, which is 1973 for milliseconds, else of those.
pub fn from_unix(number: f64) -> Option<Timestamp> {
    const SECONDS_END: f64 = 1e11;
    let ms = if number.abs() < SECONDS_END { number * 1000.0 } else { number };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float's cast saturates, and that is no time"
    )]
    let ms = ms.trunc() as i64;
    // No event is from 1970: that is a counter, or a clock that was never set.
    (ms > DAY_MS && ms <= Timestamp::MAX.unix_ms()).then(|| Timestamp::from_unix_ms(ms))
}

const DAY_MS: i64 = 86_400_000;

/// Reads an ISO 8601 time as clients write it: `2026-11-22T00:00:00.000Z`, with any number of
/// decimals (finer than a millisecond is cut off), with an offset, or, as Python's naive
/// `isoformat`, with none, which is read as UTC. A date alone is its first moment in UTC.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = text.as_bytes().split_at_checked(10)?;
    let [_, _, _, _, b'-', _, _, b'-', _, _] = date else { return None };
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }

    if time.is_empty() {
        return Some(Timestamp::from_unix_ms(days_since_1970(year, month, day) * DAY_MS));
    }

    let (clock, rest) = time.split_at_checked(9)?;
    let [b'T' | b't' | b' ', _, _, b':', _, _, b':', _, _] = clock else { return None };
    let (hour, minute, second) =
        (number(&clock[1..3])?, number(&clock[4..6])?, number(&clock[7..])?);
    // A leap second is the last moment of its minute for whoever counts in unix time.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }

    let (ms, zone) = match rest {
        [b'.' | b',', decimals @ ..] => {
            let digits = decimals.iter().take_while(|b| b.is_ascii_digit()).count();
            let ms = match digits {
                0 => return None,
                1 => number(&decimals[..1])? * 100,
                2 => number(&decimals[..2])? * 10,
                _ => number(&decimals[..3])?,
            };
            (ms, &decimals[digits..])
        }
        zone => (0, zone),
    };
    let offset_minutes = match zone {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, minutes) = match rest {
                [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => {
                    (number(&[*h1, *h2])?, number(&[*m1, *m2])?)
                }
                [h1, h2] => (number(&[*h1, *h2])?, 0),
                _ => return None,
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };

    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some(Timestamp::from_unix_ms((minutes * 60 + second.min(59)) * 1000 + ms))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + i64::from(digit - b'0')))
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so that the
/// leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn times_as_clients_write_them() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T00:00:00.123456789Z", 951_782_400_123),
            ("2026-01-01T01:00:00+01:00", 1_767_225_600_000),
            ("2026-01-01 00:00:00.5", 1_767_225_600_500),
            ("2025-12-31T19:00:00-0500", 1_767_225_600_000),
            ("1969-12-31T23:59:60Z", -1000),
            ("2026-01-01", 1_767_225_600_000),
        ] {
            assert_eq!(parse(text), Some(at(ms)), "{text}");
        }
        for text in [
            "",
            "now",
            "2026-02-29T00:00:00Z",
            "2026-01-01T",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1",
            "2026-01-01T00:00:00é",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        for (number, ms) in [
            (1_767_225_600.0, 1_767_225_600_000),
            (1_767_225_600.25, 1_767_225_600_250),
            (1_767_225_600_123.0, 1_767_225_600_123),
        ] {
            assert_eq!(from_unix(number), Some(at(ms)), "{number}");
        }
        for number in [0.0, -1e9, 1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(from_unix(number), None, "{number}");
        }
    }

    #[test]
    fn a_wrong_clock_is_corrected_and_the_future_is_not_believed() {
        let received = at(1_000_000);
        assert_eq!(corrected(None, None, received), received);
        assert_eq!(corrected(Some(at(999_000)), None, received), at(999_000));
        // A clock one hour ahead, an event two minutes before it was sent.
        let (claimed, sent) = (Some(at(4_480_000)), Some(at(4_600_000)));
        assert_eq!(corrected(claimed, sent, received), at(880_000));
        assert_eq!(corrected(Some(at(9_000_000)), None, received), at(1_000_000 + MAX_AHEAD_MS));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(ms in -62_167_219_200_000_i64..=253_402_300_799_999) {
            prop_assert_eq!(parse(&at(ms).to_string()), Some(at(ms)));
        }

        #[test]
        fn no_text_and_no_clocks_make_it_panic(text: String, claimed: i64, sent: i64, received: i64) {
            parse(&text);
            corrected(Some(at(claimed)), Some(at(sent)), at(received));
        }
    }
}
