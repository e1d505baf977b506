//! Where the collector is: whether an address can be one, and why nothing reaches it. Promises a word for the first of a run of failures and
//! for none of the others, and that a mistake in the address is seen as the client opens. Sends nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::transport::{Answered, Path};

/// Says what is wrong with an address.
pub(crate) fn check(endpoint: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("endpoint {endpoint:?} {what}"));
    let no_address =
        "is no address: say where the collector is, such as https://events.example.com";
    let Some((scheme, rest)) = endpoint.split_once("://") else { return wrong(no_address) };
    if !matches!(scheme, "http" | "https") {
        return wrong("is neither http:// nor https://");
    }
    if rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
        return wrong("has a space in it");
    }
    if rest.contains(['?', '#']) {
        return wrong("has a ? or #: say the address alone");
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The colons within brackets are those of an IPv6 address.
    let (host, port) = match host_and_port.rfind(']') {
        Some(end) => host_and_port.split_at(end + 1),
        None => host_and_port.split_at(host_and_port.find(':').unwrap_or(host_and_port.len())),
    };
    if host.is_empty() || host == "[]" {
        return wrong("names no host");
    }
    let number = port.strip_prefix(':').map(str::parse::<u16>);
    if !port.is_empty() && !matches!(number, Some(Ok(1..))) {
        return wrong("has a port that is none");
    }
    let path = path.trim_end_matches('/');
    if matches!(path, "v1" | "v1/batch") || path.ends_with("/v1") || path.ends_with("/v1/batch") {
        return wrong("goes on too far: leave out /v1, which is added to it");
    }
    Ok(())
}

/// Whether the collector was reached the last time.
#[derive(Debug)]
pub(crate) struct Reach {
    endpoint: String,
    failing: AtomicBool,
    /// The last request that was a question which events have arrived.
    question: AtomicU64,
}

impl Reach {
    pub(crate) fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            failing: AtomicBool::new(false),
            question: AtomicU64::new(0),
        }
    }

    /// This request goes out.
    pub(crate) fn sends(&self, id: u64, url: &str) {
        if url == Path::Seen.url(&self.endpoint) {
            self.question.store(id, Relaxed);
        }
    }

    /// What is to be told after this answer. `status` is 0 if nobody answered, and `cause` says why; without a cause it was given up on purpose.
    pub(crate) fn told(
        &self,
        id: u64,
        answered: &Answered,
        status: u16,
        cause: &str,
    ) -> Option<String> {
        let why = match answered {
            // Other servers of Segment's API do not know the question: the events go once more.
            Answered::Refused { .. } if id == self.question.load(Relaxed) => return None,
            // Of a key that is refused, and of an event, other reports tell.
            Answered::Delivered(_)
            | Answered::Refused { status: 400 | 401 | 403 | 413 | 422, .. } => {
                self.failing.store(false, Relaxed);
                return None;
            }
            Answered::Unreachable if status == 0 && cause.is_empty() => return None,
            Answered::Unreachable if status == 0 => format!("cannot be reached: {cause}"),
            Answered::Unreachable if status < 300 => format!(
                "answered {status}, but not as a collector does: is it the collector's address? A proxy or a hotel's network may stand \
                 before it"
            ),
            Answered::Unreachable if status < 400 => {
                format!(
                    "answered {status}, a redirect, which is not followed: name the address that it leads to"
                )
            }
            Answered::Unreachable => format!(
                "answered {status} with a page, as no collector does: is it the collector's address, and without /v1? A proxy may stand before it"
            ),
            Answered::Refused { status: 404 | 405 | 410, .. } => {
                format!(
                    "answered {status}: there is no collector; is the address right, and without /v1?"
                )
            }
            Answered::Refused { status: 429, .. } => {
                "answered 429: it asks to be left alone for a while".into()
            }
            Answered::Refused { status, .. } => format!("answered {status}"),
        };
        if self.failing.swap(true, Relaxed) {
            return None;
        }
        Some(format!("{} {why}. Events are kept, and it is tried again", self.endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_with_a_host() {
        for right in [
            "https://events.example.com",
            "http://127.0.0.1:8430/",
            "https://[::1]:8430",
            "https://[2001:db8::1]",
            "https://example.com/hw/",
            "https://example.com/api/v1/hw",
            "https://user:secret@example.com:443/hw",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for (wrong, says) in [
            ("", "no address"),
            ("events.example.com", "no address"),
            ("ftp://events.example.com", "neither"),
            ("https://", "no host"),
            ("https:///path", "no host"),
            ("https://:8430", "no host"),
            ("https://user@", "no host"),
            ("https://[]:1", "no host"),
            ("https://https://events.example.com", "port"),
            ("https://events.example.com:", "port"),
            ("https://events.example.com:0", "port"),
            ("https://events.example.com:70000", "port"),
            ("https://[::1]8430", "port"),
            ("https://events.example.com ", "space"),
            ("https://events.example.com/?receipt=1", "? or #"),
            ("https://events.example.com/v1", "/v1"),
            ("https://events.example.com/hw/v1/", "/v1"),
            ("https://events.example.com/v1/batch", "/v1"),
        ] {
            let said = check(wrong).expect_err(wrong);
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }

    #[test]
    fn each_run_of_failures_is_told_once() {
        let reach = Reach::new("https://a.example");
        let unreachable = |status, cause| reach.told(1, &Answered::Unreachable, status, cause);
        let refused =
            |status| reach.told(1, &Answered::Refused { status, retry_after_ms: 0 }, status, "");
        assert_eq!(unreachable(0, ""), None, "given up on purpose");
        let said = unreachable(0, "no such host").expect("the first of a run");
        assert!(said.starts_with("https://a.example cannot be reached: no such host."), "{said}");
        assert_eq!(unreachable(0, "no such host"), None);
        assert_eq!(refused(503), None);
        for ends in [400, 401, 403, 413, 422] {
            assert_eq!(refused(ends), None);
            assert!(refused(404).is_some_and(|said| said.contains("answered 404")), "{ends}");
        }
        assert_eq!(reach.told(1, &Answered::Delivered(Vec::new()), 200, ""), None);
        assert!(unreachable(200, "").is_some_and(|said| said.contains("not as a collector does")));
        assert_eq!(reach.told(1, &Answered::Delivered(Vec::new()), 200, ""), None);
        assert!(unreachable(302, "").is_some_and(|said| said.contains("redirect")));
        assert_eq!(reach.told(1, &Answered::Delivered(Vec::new()), 200, ""), None);
        assert!(unreachable(404, "").is_some_and(|said| said.contains("answered 404 with a page")));
        assert_eq!(reach.told(1, &Answered::Delivered(Vec::new()), 200, ""), None);
        // A question that a server does not know is no failure.
        reach.sends(1, "https://a.example/v1/seen?receipt=1");
        assert_eq!(refused(404), None);
        reach.sends(2, "https://a.example/v1/batch?receipt=1");
        let answered = Answered::Refused { status: 404, retry_after_ms: 0 };
        assert!(reach.told(2, &answered, 404, "").is_some());
    }
}
