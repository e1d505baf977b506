//! What a destination's answer means.
//! Promises one verdict for every status, and that what it keeps of an answer is short.
//! Deliberately knows nothing of connections.

use std::time::{Duration, SystemTime};

use reqwest::{
    StatusCode, Url,
    header::{self, HeaderMap},
};

use super::super::Verdict;

/// Characters of an answer that a parked event keeps.
const REASON_KEPT: usize = 300;

/// Who is to blame for a status.
///
/// A status that would be the same for any event speaks of the destination: a wrong address or
/// credentials that are not accepted must not empty the log into the parked events.
pub(crate) fn verdict(status: StatusCode, headers: &HeaderMap, text: &[u8]) -> Verdict {
    let text: String = String::from_utf8_lossy(text).chars().take(REASON_KEPT).collect();
    let text = text.trim();
    let mut reason = status.to_string();
    if status.is_redirection() {
        reason += &redirect(headers);
    } else if !text.is_empty() {
        reason = format!("{reason}: {text}");
    }
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        410 => Verdict::Gone { reason },
        401 | 402 | 403 | 404 | 405 | 407 | 408 | 421 | 423 | 425 | 429 => {
            Verdict::Unavailable { reason, retry_after: retry_after(headers) }
        }
        400..=499 => Verdict::Refused { reason },
        _ => Verdict::Unavailable { reason, retry_after: retry_after(headers) },
    }
}

/// What to do about a redirect. Without its query, where credentials stand.
fn redirect(headers: &HeaderMap) -> String {
    let location = headers.get(header::LOCATION).and_then(|to| to.to_str().ok()?.parse().ok());
    let to = location.map_or_else(String::new, |to: Url| {
        let to = format!("{}{}", to.origin().ascii_serialization(), to.path());
        format!(" to {}", to.chars().take(REASON_KEPT).collect::<String>())
    });
    format!("{to}: redirects are not followed; set `url` to where the events should go")
}

/// `Retry-After`: seconds, or a date, which is read by the destination's own clock if it tells its time.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let date = |name| text(name).and_then(|date| httpdate::parse_http_date(date).ok());
    if let Ok(seconds) = text(header::RETRY_AFTER)?.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = date(header::DATE).unwrap_or_else(SystemTime::now);
    Some(date(header::RETRY_AFTER)?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(header::HeaderName, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_status_blames_the_event_or_the_destination() {
        let of = |status: u16| {
            verdict(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), b"").as_str()
        };
        for status in [200, 201, 204, 299] {
            assert_eq!(of(status), "delivered");
        }
        for status in [400, 406, 409, 411, 413, 415, 422, 451] {
            assert_eq!(of(status), "refused");
        }
        for status in [301, 307, 401, 403, 404, 408, 429, 500, 502, 503, 599, 600, 999] {
            assert_eq!(of(status), "unavailable");
        }
        assert_eq!(of(410), "gone");
    }

    #[test]
    fn a_redirect_says_where_to_and_what_to_do() {
        let to = headers(&[(header::LOCATION, "https://new.example/in?token=hidden")]);
        let Verdict::Unavailable { reason, .. } = verdict(StatusCode::FOUND, &to, b"moved") else {
            panic!("a redirect is no answer");
        };
        assert_eq!(
            reason,
            "302 Found to https://new.example/in: redirects are not followed; \
             set `url` to where the events should go"
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_destinations_clock() {
        let now = (header::DATE, "Fri, 01 Jan 1999 00:00:00 GMT");
        let after = |text| (header::RETRY_AFTER, text);
        let seconds = |list: &[_]| retry_after(&headers(list)).map(|wait| wait.as_secs());
        assert_eq!(seconds(&[after("120")]), Some(120));
        assert_eq!(seconds(&[now.clone(), after("Fri, 01 Jan 1999 00:01:30 GMT")]), Some(90));
        assert_eq!(seconds(&[now.clone(), after("Thu, 31 Dec 1998 23:00:00 GMT")]), Some(0));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!((50..=60).contains(&seconds(&[after(&soon)]).unwrap()), "by our own clock");
        for nonsense in ["", "-1", "soon", "99999999999999999999999", "1.5"] {
            assert_eq!(seconds(&[now.clone(), after(nonsense)]), None, "{nonsense}");
        }
        assert_eq!(seconds(&[now]), None);
    }

    #[test]
    fn what_is_kept_of_an_answer_is_short_and_text() {
        let long = [b"\xff\xfe".as_slice(), &[b'x'; 5000]].concat();
        let Verdict::Refused { reason } =
            verdict(StatusCode::BAD_REQUEST, &HeaderMap::new(), &long)
        else {
            panic!("400 refuses");
        };
        assert!(reason.starts_with("400 Bad Request: \u{fffd}\u{fffd}xxx"), "{reason}");
        assert!(reason.chars().count() < 330);
    }
}
