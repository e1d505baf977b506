//! Sends texts by Twilio's API: `POST /2010-04-01/Accounts/{sid}/Messages.json`.
//! Promises that neither a number nor the token stands in a reason: of what Twilio says only the number of the error is kept, which its
//! documentation explains. Deliberately does not wait for the delivery to the telephone; Twilio says later what became of it.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::{
    Message, Outcome,
    posting::{Answer, Posted, Posting, PostingError, Wanted},
};
use crate::{
    config::{Secret, SmsConfig, destination::is_number},
    limits::DELIVERY_TIMEOUT,
    sinks::answer::retry_after,
    state::SuppressionReason,
};

/// Characters that Twilio takes; it makes up to ten texts of them (error 21617 beyond).
const MOST_CHARACTERS: usize = 1600;

/// Twilio's errors that come with 400 and are not the message's fault: our number, our account or its pace
/// (<https://www.twilio.com/docs/api/errors>). A person mends them, or time.
const OURS: [u32; 14] = [
    14107, // message rate exceeded
    20429, // too many requests
    21212, // invalid "From"
    21603, // a "From" is required
    21606, // the "From" is not one of ours, or cannot send texts
    21611, // the "From" has too many texts waiting
    21659, // the "From" is no number of ours
    21660, // the "From" is another account's
    21701, // the messaging service does not exist
    21703, // the messaging service has no numbers
    21704, // the messaging service has none that fits
    63038, // the account's limit of the day
    30001, // too many texts waiting
    30002, // the account is suspended
];

/// Whoever has this number has answered STOP, and Twilio lets nothing through until they answer START
/// (<https://www.twilio.com/docs/api/errors/21610>).
const OPTED_OUT: u32 = 21610;

/// An account of Twilio's.
pub struct Sms {
    posting: Posting,
    messages: Url,
    account_sid: String,
    auth_token: Secret<String>,
    from: String,
}

impl std::fmt::Debug for Sms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sms").field("account_sid", &self.account_sid).finish_non_exhaustive()
    }
}

impl Sms {
    /// Makes ready to post.
    pub fn open(config: &SmsConfig) -> Result<Self, PostingError> {
        let mut messages = config.api_url.as_url().clone();
        messages.path_segments_mut().map_err(|()| PostingError::NoBase)?.pop_if_empty().extend([
            "2010-04-01",
            "Accounts",
            &config.account_sid,
            "Messages.json",
        ]);
        Ok(Self {
            posting: Posting::open(
                &config.api_url,
                config.allow_private.clone(),
                DELIVERY_TIMEOUT,
            )?,
            messages,
            account_sid: config.account_sid.clone(),
            auth_token: config.auth_token.clone(),
            from: config.from.clone(),
        })
    }

    /// Tries once.
    pub async fn send(&self, message: &Message) -> Outcome {
        let Some(to) = message.to.as_deref().filter(|to| to.starts_with('+') && is_number(to))
        else {
            return Outcome::refused("there is no number to send to; expected one as +15005550006");
        };
        let Some(text) =
            message.rendered.text.as_deref().map(str::trim).filter(|text| !text.is_empty())
        else {
            return Outcome::refused(
                "there is nothing to send: a text is made of a template NAME.txt",
            );
        };
        if text.chars().count() > MOST_CHARACTERS {
            return Outcome::refused(format!(
                "the text has more than {MOST_CHARACTERS} characters"
            ));
        }
        let service = self.from.len() == 34 && self.from.starts_with("MG");
        let from = if service { "MessagingServiceSid" } else { "From" };
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("To", to), (from, &self.from), ("Body", text)])
            .finish();
        let request = self
            .posting
            .client
            .post(self.messages.clone())
            .basic_auth(&self.account_sid, Some(self.auth_token.expose()))
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        match self.posting.post(request, Wanted::Words).await {
            Posted::Answered(answer) => outcome(&answer),
            Posted::NotSent(reason) => Outcome::failed(reason),
            Posted::Lost(reason) => Outcome::unknown(reason),
        }
    }
}

/// What Twilio's answer means. There is no key by which it would know a text again, so what may have been sent is never sent twice.
fn outcome(answer: &Answer) -> Outcome {
    #[derive(Deserialize)]
    struct Said {
        sid: Option<String>,
        code: Option<u32>,
    }
    let said = serde_json::from_slice(&answer.text).unwrap_or(Said { sid: None, code: None });
    let mut reason = answer.status.to_string();
    if let Some(code) = said.code {
        reason =
            format!("{reason}: Twilio's error {code}, https://www.twilio.com/docs/errors/{code}");
    }
    let failed =
        |retry_after: Option<Duration>| Outcome::Failed { reason: reason.clone(), retry_after };
    match answer.status.as_u16() {
        200..=299 => {
            let plain =
                |sid: &String| sid.len() <= 64 && sid.bytes().all(|b| b.is_ascii_alphanumeric());
            Outcome::Accepted { reference: said.sid.filter(plain) }
        }
        // Not let in, not found, or not now: the same for every text.
        401 | 402 | 403 | 404 | 405 | 407 | 408 | 421 | 423 | 425 | 429 => {
            failed(retry_after(&answer.headers))
        }
        400..=499 if said.code.is_some_and(|code| OURS.contains(&code)) => failed(None),
        400..=499 if said.code == Some(OPTED_OUT) => {
            Outcome::NeverAgain { reason, because: SuppressionReason::Unsubscribed }
        }
        400..=499 => Outcome::refused(reason),
        // RFC 9110: the server cannot handle the request now. The others (500, 502, 504) may come after it did.
        503 => failed(retry_after(&answer.headers)),
        300..=399 => {
            Outcome::failed(format!("{reason}: redirects are not followed; correct `api_url`"))
        }
        _ => Outcome::unknown(reason),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};

    use super::*;

    fn of(status: u16, text: &str) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        outcome(&Answer { status, headers: HeaderMap::new(), text: text.into() })
    }

    #[test]
    fn a_text_that_may_have_been_sent_is_not_sent_again() {
        let error =
            |code: u32| format!(r#"{{"code":{code},"message":"about +15550109999","status":400}}"#);
        assert_eq!(
            of(201, r#"{"sid":"SM1","error_code":null}"#),
            Outcome::Accepted { reference: Some("SM1".into()) }
        );
        assert_eq!(of(201, "{"), Outcome::Accepted { reference: None });
        for (status, text, word) in [
            (400, error(21211), "refused"),
            (400, error(21610), "refused"),
            (400, error(21606), "failed"),
            (400, error(21611), "failed"),
            (401, error(20003), "failed"),
            (404, error(20404), "failed"),
            (429, error(20429), "failed"),
            (302, String::new(), "failed"),
            (503, String::new(), "failed"),
            (500, String::new(), "unknown"),
            (502, "<html>".to_owned(), "unknown"),
            (504, String::new(), "unknown"),
        ] {
            let outcome = of(status, &text);
            assert_eq!(outcome.as_str(), word, "{status} {text}");
            assert!(!format!("{outcome:?}").contains("15550109999"), "{outcome:?}");
        }
        let opted_out = of(400, &error(21610));
        let because = SuppressionReason::Unsubscribed;
        assert!(
            matches!(&opted_out, Outcome::NeverAgain { because: it, .. } if *it == because),
            "{opted_out:?}"
        );
        let Outcome::Refused { reason } = of(400, &error(21211)) else { panic!("it is refused") };
        assert_eq!(
            reason,
            "400 Bad Request: Twilio's error 21211, https://www.twilio.com/docs/errors/21211"
        );
    }
}
