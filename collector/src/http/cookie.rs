//! The first-party cookie: a random id that the server sets, so that it outlives what scripts may store.
//! Promises that only an id of its own making is read, and that no script can read it. Deliberately knows no one
//! by it: the id goes along with the events, beside the device's own.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hyper::{HeaderMap, header, header::HeaderValue};

use crate::config::CookieConfig;

/// 128 bits: nobody meets another's by chance, nor guesses it.
const ID_BYTES: usize = 16;
/// As base64.
const ID_LENGTH: usize = 22;

/// The id that the browser brought.
pub(super) fn brought(config: &CookieConfig, headers: &HeaderMap) -> Option<Box<str>> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|line| line.split(';')).filter_map(|c| c.trim().split_once('='));
    let ours = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    pairs
        .find(|(name, id)| {
            *name == config.name.as_str() && id.len() == ID_LENGTH && id.bytes().all(ours)
        })
        .map(|(_, id)| id.into())
}

/// Whether the browser would keep a cookie of this answer: it is a page's, and of the same site as we are.
pub(super) fn is_kept(headers: &HeaderMap) -> bool {
    // Browsers say it since 2023 at the latest, but not to a server that is neither TLS nor local.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    headers.contains_key(header::ORIGIN) && !matches!(site, Some(b"cross-site" | b"none"))
}

/// `Set-Cookie` with this id, or a new one; `None` if the system has no randomness.
pub(super) fn set(config: &CookieConfig, id: Option<&str>, secure: bool) -> Option<HeaderValue> {
    let fresh = || {
        let mut random = [0; ID_BYTES];
        getrandom::fill(&mut random).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode(random))
    };
    let id = match id {
        Some(id) => id.to_owned(),
        None => fresh()?,
    };
    let seconds = u32::from(config.max_age_days) * 24 * 3600;
    let domain = config.domain.as_ref().map(|domain| format!("; Domain={}", domain.as_str()));
    let cookie = format!(
        "{}={id}; Path=/; Max-Age={seconds}{}; HttpOnly; SameSite=Lax{}",
        config.name.as_str(),
        domain.unwrap_or_default(),
        if secure { "; Secure" } else { "" },
    );
    HeaderValue::try_from(cookie).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn only_an_id_of_our_making_is_read() {
        let config = CookieConfig::default();
        let id = "AAAAAAAAAAAAAAAAAAAA_-";
        let read = |cookie: &str| brought(&config, &with("cookie", cookie));
        assert_eq!(read(&format!("a=b; hw_id={id}; c")).as_deref(), Some(id));
        assert_eq!(read(&format!("hw_id=x; hw_id={id}")).as_deref(), Some(id));
        for other in
            ["", "hw_id", "hw_id=", "hw_id=short", &format!("hw_idx={id}"), &format!("hw_id={id}A")]
        {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn it_is_kept_from_scripts_and_lasts_as_configured() {
        let config: CookieConfig =
            toml::from_str("name = 'n'\ndomain = 'shop.example'\nmax_age_days = 1").unwrap();
        let again = set(&config, Some("abc"), true).unwrap();
        assert_eq!(
            again,
            "n=abc; Path=/; Max-Age=86400; Domain=shop.example; HttpOnly; SameSite=Lax; Secure"
        );
        let (one, two) = (set(&config, None, false), set(&config, None, false));
        assert!(one != two && !one.unwrap().to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn a_browser_that_would_not_keep_it_gets_none() {
        assert!(!is_kept(&HeaderMap::new()));
        let mut headers = with("origin", "https://shop.example");
        assert!(is_kept(&headers));
        headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
        assert!(!is_kept(&headers));
        headers.insert("sec-fetch-site", HeaderValue::from_static("same-site"));
        assert!(is_kept(&headers));
    }
}
