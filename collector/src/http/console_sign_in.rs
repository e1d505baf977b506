//! Who may see the pages: an admin token becomes a session, whose cookie goes to these pages only.
//! Promises that a wrong token makes the next try slower, and that no form of another site counts. Deliberately keeps nothing:
//! `console::sessions` does.

use std::time::Instant;

use hyper::{
    HeaderMap, StatusCode,
    header::{self, HeaderValue},
};

use super::{
    Http,
    answer::Answer,
    auth,
    client::Client,
    console::{Paged, Pairs, Trouble, html, see},
};
use crate::console::{Session, SignIn};

/// Of the session.
const COOKIE: &str = "hw_console";

impl Http {
    /// Whose request it is.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs =
            cookies.flat_map(|line| line.split(';')).filter_map(|c| c.trim().split_once('='));
        let (_, id) = pairs.find(|(name, _)| *name == COOKIE)?;
        self.console.sessions.of(id, &self.door.admins.get(), Instant::now())
    }

    pub(super) fn sign_in(&self, form: &Pairs, client: &Client) -> Paged {
        let now = Instant::now();
        if let Some(wait) = self.console.patience.wait(client.address, now) {
            let seconds = wait.as_secs() + 1;
            let problem =
                format!("Too many wrong tokens came from here. Wait {seconds} s, then try again.");
            let mut answer =
                self.ask_for_token(Some(problem), form.all("next"), StatusCode::TOO_MANY_REQUESTS)?;
            answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            return Ok(answer);
        }
        let given = form.all("token");
        let Some(token) = auth::admin(given.as_bytes(), &self.door.admins.get()) else {
            self.console.patience.failed_now(client.address, now);
            let problem = "This token is not known here, or not any more.".to_owned();
            return self.ask_for_token(Some(problem), form.all("next"), StatusCode::FORBIDDEN);
        };
        self.console.patience.succeeded(client.address);
        let id = self.console.sessions.begin(token, now);
        let id = id.ok_or(Trouble::Wrong("This system has no randomness to sign you in with."))?;
        let secure = if client.secure { "; Secure" } else { "" };
        let mut answer = see(own_page(form.all("next")));
        set_cookie(
            &mut answer,
            &format!("{COOKIE}={id}; Path=/console; HttpOnly; SameSite=Strict{secure}"),
        );
        Ok(answer)
    }

    pub(super) fn ask_for_token(
        &self,
        problem: Option<String>,
        next: &str,
        status: StatusCode,
    ) -> Paged {
        let frame = self.console.frame("Sign in", "sign-in", None);
        let mut answer = html(&SignIn { frame, problem, next: own_page(next).to_owned() });
        *answer.status_mut() = status;
        Ok(answer)
    }

    /// Ends the session.
    pub(super) fn sign_out(&self, session: &Session) -> Answer {
        self.console.sessions.end(session);
        let mut answer = see("/console/sign-in");
        let gone = format!("{COOKIE}=; Path=/console; Max-Age=0; HttpOnly; SameSite=Strict");
        set_cookie(&mut answer, &gone);
        answer
    }
}

/// Whether a form was sent by a page of ours. Browsers say it since 2023 at the latest; the session's own secret counts anyway.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, None | Some(b"same-origin" | b"none"))
}

/// Whether someone followed a link of another site, to which browsers do not send the cookie: a page of ours that goes on to the
/// same address is of this site, and gets it.
pub(super) fn is_followed_link(headers: &HeaderMap) -> bool {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|given| given == value);
    is("sec-fetch-site", "cross-site") && is("sec-fetch-mode", "navigate")
}

/// An address within these pages; another's is not gone to.
pub(super) fn own_page(next: &str) -> &str {
    let rest = next.strip_prefix("/console");
    let is_own = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let path = next.split('?').next().unwrap_or_default();
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let goes_up = path.split(['/', '\\']).any(|part| part == "..");
    if is_own && !goes_up && next.bytes().all(|byte| byte.is_ascii_graphic()) {
        next
    } else {
        "/console"
    }
}

fn set_cookie(answer: &mut Answer, cookie: &str) {
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderName;

    use super::*;

    #[test]
    fn only_own_pages_are_gone_to() {
        for own in [
            "/console",
            "/console/people/p_1?type=track",
            "/console?q=a",
            "/console/rules/a%2Fb/why?who=a%40b.c",
            "/console/accounts/a%20b..c",
        ] {
            assert_eq!(own_page(own), own);
        }
        for other in [
            "",
            "//evil.example",
            "/consoles",
            "https://evil.example",
            "/console\r\nx: y",
            "/console/../v1/people",
            "/console/%2e%2E/v1/people",
            "/console/..%2fv1",
            "/console/..%5cv1",
        ] {
            assert_eq!(own_page(other), "/console", "{other}");
        }
    }

    #[test]
    fn a_form_of_another_site_does_not_count() {
        let from = |site: &'static str| {
            let site = HeaderValue::from_static(site);
            is_from_here(&HeaderMap::from_iter([(HeaderName::from_static("sec-fetch-site"), site)]))
        };
        assert!(from("same-origin") && is_from_here(&HeaderMap::new()));
        assert!(!from("cross-site") && !from("same-site"));
    }
}
