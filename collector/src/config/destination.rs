//! `[destinations.NAME]`: where a rule's actions go, and what lets us in there.
//! Promises that a kind's keys are its own, that what cannot work is an error at its line, and that no secret is printed.
//! Deliberately does not know how anything is sent: see `actions`.

mod email;
mod secrets;
mod slack;
mod sms;
mod webhook;

use std::ops::Range;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::consumer::{Mistake, keys_of, one_of};
pub use email::{EmailConfig, SmtpTls};
pub use slack::{SlackConfig, SlackEntry};
pub use sms::SmsConfig;
pub(crate) use sms::is_number;
pub use webhook::ActionWebhookConfig;

/// `[destinations.NAME]`: in a file `kind`, and that kind's keys beside it.
///
/// Each secret among them is given in one of three ways: `token = "…"`, `token_file = "/run/secrets/slack"` (a file that has it on one
/// line), or `token_env = "SLACK_TOKEN"` (a variable of the collector's environment). Both are read when the configuration is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationConfig {
    /// A channel of Slack.
    Slack(SlackConfig),
    /// A URL that is posted to, signed as Standard Webhooks says.
    Webhook(ActionWebhookConfig),
    /// A mail server that takes our mail.
    Email(EmailConfig),
    /// Text messages, by Twilio's API.
    Sms(SmsConfig),
}

impl DestinationConfig {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Slack(_) => "slack",
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Sms(_) => "sms",
        }
    }
}

fn kinds() -> [(&'static str, &'static [&'static str]); 4] {
    [
        ("slack", keys_of::<SlackConfig>()),
        ("webhook", keys_of::<ActionWebhookConfig>()),
        ("email", keys_of::<EmailConfig>()),
        ("sms", keys_of::<SmsConfig>()),
    ]
}

/// Puts what a file says about each destination into the shape of [`DestinationConfig`]: `kind = "slack"` and that kind's keys
/// become `{ slack = { … } }`, as [`nest_sinks`](super::consumer::nest_sinks) does for the same reason.
pub(super) fn nest_kinds(document: &mut DeTable<'_>) -> Result<(), Mistake> {
    let Some(destinations) = document.get_mut("destinations") else { return Ok(()) };
    let DeValue::Table(destinations) = destinations.get_mut() else { return Ok(()) };
    for (name, destination) in destinations.iter_mut() {
        let at = destination.span();
        match destination.get_mut() {
            DeValue::Table(keys) => nest_kind(name.span(), keys)?,
            // Serde would expect the name of a kind here.
            _ => return Err((at, "expected a table, with a `kind` in it".to_owned())),
        }
    }
    Ok(())
}

fn nest_kind(at: Range<usize>, keys: &mut DeTable<'_>) -> Result<(), Mistake> {
    let kinds = kinds();
    let words = kinds.map(|(word, _)| word);
    let Some((mut word, kind)) = keys.remove_entry("kind") else {
        return Err((at, format!("missing field `kind`: {}", one_of(&words))));
    };
    let value = kind.get_ref().as_str().unwrap_or_default();
    let Some((known, its_keys)) = kinds.into_iter().find(|(known, _)| *known == value) else {
        return Err((kind.span(), format!("unknown kind `{value}`, {}", one_of(&words))));
    };
    if let Some(key) = keys.keys().find(|key| !its_keys.contains(&key.get_ref().as_ref())) {
        let known: Vec<_> = ["kind"].iter().chain(its_keys).copied().collect();
        return Err((key.span(), format!("unknown field `{key}`, {}", one_of(&known))));
    }
    // What is missing is said to be missing at the line that says the kind.
    let its_own = Spanned::new(kind.span(), DeValue::Table(std::mem::take(keys)));
    *word.get_mut() = known.into();
    keys.insert(word, its_own);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs=";

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("headwater.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_has_its_keys_and_no_secret_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "xoxb-hidden-in-a-file\n").unwrap();
        let config = parse(&format!(
            "[destinations.sales]\nkind = 'slack'\nwebhook_url = 'https://hooks.example/services/T0/B0/hidden'\n\
             [destinations.bot]\nkind = 'slack'\ntoken_file = '{}'\nchannel = '#sales'\n\
             [destinations.crm]\nkind = 'webhook'\nurl = 'https://user:hidden@crm.example/in?key=hidden'\nsecret = '{SECRET}'\n\
             [destinations.mail]\nkind = 'email'\nhost = 'mail.example'\nfrom = 'Shop <hello@shop.example>'\nusername = 'shop'\n\
             password = 'hidden-word'\nunsubscribe = 'https://shop.example/u/{{{{ person.user_id }}}}'\n\
             [destinations.texts]\nkind = 'sms'\naccount_sid = 'AC00000000000000000000000000000000'\nauth_token = 'hidden-token'\nfrom = '+15005550006'",
            file.display()
        ))
        .unwrap();
        let kinds: Vec<_> =
            config.destinations.values().map(super::DestinationConfig::kind).collect();
        assert_eq!(kinds, ["slack", "webhook", "email", "slack", "sms"]);
        let printed = format!("{config:?}");
        assert!(!printed.contains("hidden") && !printed.contains("C2FV"), "{printed}");
    }

    #[test]
    fn what_does_not_go_together_is_named_with_its_line() {
        let sms = "kind = 'sms'\naccount_sid = 'AC00000000000000000000000000000000'\nfrom = '+15005550006'";
        let mail = "kind = 'email'\nhost = 'h'\nfrom = 'a@b.example'";
        for (text, line, part) in [
            (
                "",
                1,
                "the key `kind` is missing; expected one of `slack`, `webhook`, `email`, `sms`",
            ),
            ("kind = 'slak'", 2, "did you mean `slack`?"),
            ("kind = 'slack'", 1, "`webhook_url`"),
            ("kind = 'slack'\ntokn = 'x'", 3, "did you mean `token`?"),
            ("kind = 'slack'\ntoken = 'x'\nwebhook_url = 'https://h/'", 1, "not both"),
            ("kind = 'slack'\ntoken = 'x'", 1, "`channel` is missing"),
            ("kind = 'slack'\nwebhook_url = 'https://h/'\nchannel = 'x'", 1, "`channel`"),
            ("kind = 'slack'\nwebhook_url = 'not-shown'", 1, "`webhook_url`: expected an absolute"),
            (
                "kind = 'slack'\ntoken = 'x'\ntoken_env = 'X'\nchannel = 'c'",
                1,
                "use one of the three",
            ),
            (
                "kind = 'slack'\ntoken_env = 'HEADWATER_NO_SUCH'\nchannel = 'c'",
                1,
                "`HEADWATER_NO_SUCH` is not set",
            ),
            (
                "kind = 'slack'\ntoken_file = '/nowhere'\nchannel = 'c'",
                1,
                "`token_file`: cannot read /nowhere",
            ),
            ("kind = 'webhook'\nurl = 'https://h/'", 1, "`secret` is missing"),
            ("kind = 'webhook'\nurl = 'https://h/'\nsecret = 'short'", 4, "starts with `whsec_`"),
            ("kind = 'webhook'\nurl = 'https://h/'\nbatch = 5", 4, "unknown key `batch`"),
            ("kind = 'email'\nhost = 'h'\nfrom = 'nobody'", 1, "`from` is no e-mail address"),
            (&format!("{mail}\ntls = 'ssl'"), 5, "expected one of `implicit`"),
            (&format!("{mail}\npassword = 'p'"), 1, "`username`"),
            (&format!("{mail}\nunsubscribe = 'http://h/'"), 1, "https:// or mailto:"),
            (&format!("{mail}\ntimeout_seconds = 0"), 5, "not within 1 to 600"),
            (sms, 1, "`auth_token` is missing"),
            (&format!("{sms}\nauth_token = 'x'\nto = 'y'"), 6, "unknown key `to`"),
            (
                "kind = 'sms'\naccount_sid = '12'\nauth_token = 'x'\nfrom = '+15005550006'",
                1,
                "`AC`",
            ),
            (&format!("{}\nauth_token = 'x'", sms.replace("+1", "")), 1, "`from`"),
        ] {
            let error = parse(&format!("[destinations.a]\n{text}")).unwrap_err();
            let at_its_line = error.starts_with(&format!("headwater.toml:{line}: "));
            assert!(at_its_line && error.contains(part), "{text}: {error}");
            assert!(!error.contains("not-shown"), "{error}");
        }
        for text in ["destinations = 5", "[destinations]\na = 5", "destinations.a = 'slack'"] {
            assert!(parse(text).unwrap_err().contains("expected a table"), "{text}");
        }
    }

    #[test]
    fn a_destination_that_changes_needs_a_restart() {
        let of = |channel: &str| {
            parse(&format!("[destinations.a]\nkind = 'slack'\ntoken = 't'\nchannel = '{channel}'"))
        };
        let (old, new) = (of("#a").unwrap(), of("#b").unwrap());
        assert_eq!(old.needs_restart(&new), ["destinations.a"]);
        assert_eq!(parse("").unwrap().needs_restart(&new), ["destinations.a"]);
        assert!(old.needs_restart(&old).is_empty());
    }
}
