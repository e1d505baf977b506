//! Writes into a channel of Slack: by an incoming webhook, or as a bot (`chat.postMessage`).
//! Promises that neither the token nor the URL stands in a reason, and that a message which may have been posted is not said to have
//! failed: Slack knows no message again. Deliberately does not listen to the buttons: that is `http`'s business.

mod blocks;
mod mrkdwn;

use reqwest::Url;
use serde::Deserialize;
use serde_json::json;

use super::{
    Message, Outcome,
    posting::{Answer, Posted, Posting, PostingError, Wanted},
    reason::without_people,
};
use crate::{
    config::{Secret, SlackConfig, SlackEntry},
    limits::DELIVERY_TIMEOUT,
    sinks::answer::retry_after,
};

/// A channel of Slack, or a bot that may write to several.
pub struct Slack {
    posting: Posting,
    /// An incoming webhook's is a secret.
    url: Secret<Url>,
    bot: Option<Bot>,
}

struct Bot {
    token: Secret<String>,
    channel: String,
}

impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slack").field("bot", &self.bot.is_some()).finish_non_exhaustive()
    }
}

impl Slack {
    /// Makes ready to post.
    pub fn open(config: &SlackConfig) -> Result<Self, PostingError> {
        let (base, url, bot) = match &config.entry {
            SlackEntry::IncomingWebhook(url) => (url.expose(), url.expose().as_url().clone(), None),
            SlackEntry::Bot { token, channel, api_url } => {
                let mut url = api_url.as_url().clone();
                let mut path = url.path_segments_mut().map_err(|()| PostingError::NoBase)?;
                path.pop_if_empty().push("chat.postMessage");
                drop(path);
                (api_url, url, Some(Bot { token: token.clone(), channel: channel.clone() }))
            }
        };
        let posting = Posting::open(base, config.allow_private.clone(), DELIVERY_TIMEOUT)?;
        Ok(Self { posting, url: Secret::new(url), bot })
    }

    /// Tries once. A bot writes to the message's channel if it names one.
    pub async fn send(&self, message: &Message) -> Outcome {
        let with_buttons = self.bot.is_some();
        let Some(mut body) = blocks::message(message, with_buttons) else {
            return Outcome::refused(
                "there is nothing to post: a message is made of a template NAME.md or NAME.txt",
            );
        };
        let mut request = self.posting.client.post(self.url.expose().clone());
        if let Some(bot) = &self.bot {
            body["channel"] = json!(message.to.as_ref().unwrap_or(&bot.channel));
            // A rule's message is not a page to be shown: links stand in it as they are.
            (body["unfurl_links"], body["unfurl_media"]) = (json!(false), json!(false));
            request = request.bearer_auth(bot.token.expose());
        }
        let request = request
            .header("content-type", "application/json; charset=utf-8")
            .body(body.to_string());
        let answer = match self.posting.post(request, Wanted::Words).await {
            Posted::Answered(answer) => answer,
            Posted::NotSent(reason) => return Outcome::failed(reason),
            Posted::Lost(reason) => return Outcome::unknown(reason),
        };
        match &self.bot {
            Some(_) => of_bot(&answer, message.to.is_some()),
            None => of_webhook(&answer),
        }
    }
}

/// Slack's words for what only its side or ours can mend, and which is the same for every message
/// (<https://docs.slack.dev/reference/methods/chat.postMessage>, "Errors").
const NOT_THE_MESSAGE: [&str; 26] = [
    "access_denied",
    "account_inactive",
    "deprecated_endpoint",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "invalid_auth",
    "invalid_token",
    "message_limit_exceeded",
    "method_deprecated",
    "missing_scope",
    "no_permission",
    "no_service",
    "no_service_id",
    "no_team",
    "not_allowed_token_type",
    "not_authed",
    "org_login_required",
    "rate_limited",
    "ratelimited",
    "request_timeout",
    "service_unavailable",
    "team_access_not_granted",
    "team_added_to_org",
    "team_disabled",
    "token_expired",
    "token_revoked",
];
/// What is wrong with the channel: the configuration's, a person mends it; the message's own, nothing does.
const THE_CHANNEL: [&str; 6] = [
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "is_archived",
    "not_in_channel",
    "posting_to_general_channel_denied",
];
/// "It's possible some aspect of the operation succeeded before the error was raised", in Slack's words.
const PERHAPS_DONE: [&str; 3] = ["fatal_error", "internal_error", "rollup_error"];

fn of_word(word: &str, answer: &Answer, own_channel: bool) -> Outcome {
    let reason = without_people(word, None);
    match word {
        word if NOT_THE_MESSAGE.contains(&word) => {
            Outcome::Failed { reason, retry_after: retry_after(&answer.headers) }
        }
        word if THE_CHANNEL.contains(&word) && !own_channel => Outcome::failed(reason),
        word if PERHAPS_DONE.contains(&word) => Outcome::unknown(reason),
        _ if answer.status.is_server_error() => Outcome::unknown(reason),
        _ => Outcome::refused(reason),
    }
}

/// A bot is answered 200 with `ok`, whatever became of it.
fn of_bot(answer: &Answer, own_channel: bool) -> Outcome {
    #[derive(Deserialize)]
    struct Said {
        ok: bool,
        error: Option<String>,
        channel: Option<String>,
        ts: Option<String>,
    }
    let said: Option<Said> = serde_json::from_slice(&answer.text).ok();
    match said {
        Some(Said { ok: true, channel: Some(channel), ts: Some(ts), .. }) => {
            Outcome::Accepted { reference: Some(format!("{channel}:{ts}")) }
        }
        Some(Said { ok: true, .. }) => Outcome::Accepted { reference: None },
        Some(Said { ok: false, error: Some(word), .. }) => of_word(&word, answer, own_channel),
        _ => of_status(answer),
    }
}

/// An incoming webhook is answered with a status and a word: `ok`, `invalid_blocks`.
fn of_webhook(answer: &Answer) -> Outcome {
    let text = String::from_utf8_lossy(&answer.text);
    let word = text.trim();
    let is_word = !word.is_empty()
        && word.len() <= 64
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match answer.status.as_u16() {
        200..=299 => Outcome::Accepted { reference: None },
        400 | 403 | 404 | 410 | 500 if is_word => of_word(word, answer, false),
        _ => of_status(answer),
    }
}

/// Where Slack says nothing itself: what stands before it does.
fn of_status(answer: &Answer) -> Outcome {
    let reason = answer.status.to_string();
    match answer.status.as_u16() {
        // A bot's answer that breaks off, or is no JSON: the words did not arrive.
        200..=299 => Outcome::unknown(
            "the answer is not Slack's: it does not say what became of the message",
        ),
        300..=399 => {
            Outcome::failed(format!("{reason}: redirects are not followed; correct the URL"))
        }
        // RFC 9110: the server cannot handle the request now. The others (500, 502, 504) may come after it did.
        401 | 402 | 403 | 404 | 405 | 407 | 408 | 421 | 423 | 425 | 429 | 503 => {
            Outcome::Failed { reason, retry_after: retry_after(&answer.headers) }
        }
        400..=499 => Outcome::refused(reason),
        _ => Outcome::unknown(reason),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};

    use super::*;

    fn answer(status: u16, text: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), text: text.into() }
    }

    #[test]
    fn a_bots_answer_is_in_its_words() {
        let of = |status, text: &str, own| of_bot(&answer(status, text), own);
        let posted = of(200, r#"{"ok":true,"channel":"C1","ts":"1503435956.000247"}"#, false);
        assert_eq!(posted, Outcome::Accepted { reference: Some("C1:1503435956.000247".into()) });
        let error =
            |word: &str, own| of(200, &json!({"ok": false, "error": word}).to_string(), own);
        for (word, own, is) in [
            ("invalid_auth", false, "failed"),
            ("ratelimited", false, "failed"),
            ("channel_not_found", false, "failed"),
            ("channel_not_found", true, "refused"),
            ("invalid_blocks", false, "refused"),
            ("msg_too_long", false, "refused"),
            ("a_word_of_next_year", false, "refused"),
            ("internal_error", false, "unknown"),
            ("fatal_error", false, "unknown"),
        ] {
            assert_eq!(error(word, own).as_str(), is, "{word}");
        }
        for (status, is) in [
            (200, "unknown"),
            (429, "failed"),
            (500, "unknown"),
            (502, "unknown"),
            (503, "failed"),
            (413, "refused"),
        ] {
            assert_eq!(of(status, "<html>", false).as_str(), is, "{status}");
        }
    }

    #[test]
    fn an_incoming_webhooks_answer_is_a_status_and_a_word() {
        for (status, text, is) in [
            (200, "ok", "accepted"),
            (400, "invalid_payload", "refused"),
            (400, "no_text", "refused"),
            (403, "invalid_token", "failed"),
            (403, "action_prohibited", "failed"),
            (404, "no_service", "failed"),
            (404, "channel_not_found", "failed"),
            (410, "channel_is_archived", "failed"),
            (500, "rollup_error", "unknown"),
            (500, "a_word_of_next_year", "unknown"),
            (500, "service_unavailable", "failed"),
            (302, "", "failed"),
            (429, "", "failed"),
            (502, "<html>", "unknown"),
        ] {
            assert_eq!(of_webhook(&answer(status, text)).as_str(), is, "{status} {text}");
        }
    }
}
