//! A length of time in a rule: `90s`, `30m`, `1h`, `14d`.

use std::time::Duration;

use serde::Deserialize;

/// Two years: what anyone waits for or looks back at.
const LONGEST: Duration = Duration::from_secs(731 * 24 * 3600);

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Length(pub(super) Duration);

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no length of time; expected `90s`, `30m`, `1h` or `14d`, up to 731d"
            )
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 24 * 3600,
            _ => return Err(wrong()),
        };
        let length = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds));
        let length = length.map(Duration::from_secs).filter(|length| *length <= LONGEST);
        length.filter(|length| !length.is_zero()).map(Self).ok_or_else(wrong)
    }
}

/// In milliseconds.
pub(super) fn ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}
