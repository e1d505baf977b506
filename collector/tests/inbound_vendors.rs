//! Webhooks of Stripe, Zendesk, HubSpot and SendGrid against the real server: what they document becomes the events that are written
//! down in `inbound/`, and what is forged, changed or old is not taken. Each signature is made here a second time.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

use std::path::Path;

use crate::server::{self, Server, client};
use crate::webhooks::{answered, now, stored};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use headwater_collector::{
    config::Config,
    event_log::Timestamp,
    inbound::{Delivery, Inbound, Unbelieved},
};
use reqwest::{RequestBuilder, header::HeaderMap};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

const STRIPE_SECRET: &str = "whsec_0123456789abcdef0123456789abcdef";
const ZENDESK_SECRET: &str = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==";
const HUBSPOT_SECRET: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// Signs as a vendor documents it, written down a second time.
struct Vendors {
    server: Server,
    mail: EcdsaKeyPair,
}

fn mail_key() -> (EcdsaKeyPair, String) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random);
    let pair = pair.unwrap();
    // RFC 5480: the same 26 bytes before every point of this curve.
    let mut key = BASE64_STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=").unwrap();
    key.truncate(26);
    key.extend_from_slice(pair.public_key().as_ref());
    (pair, BASE64_STANDARD.encode(key))
}

impl Vendors {
    async fn start(folder: &Path) -> Self {
        let (mail, key) = mail_key();
        let toml = format!(
            "[inbound.stripe]\nkind = 'stripe'\nsecret = '{STRIPE_SECRET}'\n\
             [inbound.zendesk]\nkind = 'zendesk'\nsecret = '{ZENDESK_SECRET}'\n\
             [inbound.hubspot]\nkind = 'hubspot'\nsecret = '{HUBSPOT_SECRET}'\n\
             [inbound.sendgrid]\nkind = 'sendgrid'\npublic_key = '{key}'\n"
        );
        Self { server: Server::start_with(folder, &toml).await, mail }
    }

    /// The body as this vendor would post it at this time, unix seconds.
    fn signed(&self, vendor: &str, at: u64, body: &str) -> RequestBuilder {
        let url = self.server.at(&format!("/v1/in/{vendor}"));
        let request = client().post(&url).body(body.to_owned());
        let mac = |key: &str, text: String| hmac_sha256::HMAC::mac(text.as_bytes(), key.as_bytes());
        match vendor {
            "stripe" => {
                let mac = mac(STRIPE_SECRET, format!("{at}.{body}"));
                let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
                // The first is of a secret that is being rotated out.
                let old = "0".repeat(64);
                request.header("stripe-signature", format!("t={at},v1={old},v1={hex},v0=x"))
            }
            "zendesk" => {
                let at = Timestamp::from_unix_ms(i64::try_from(at * 1000).unwrap()).to_string();
                let mac = mac(ZENDESK_SECRET, format!("{at}{body}"));
                let request = request.header("x-zendesk-webhook-signature-timestamp", at);
                request.header("x-zendesk-webhook-signature", BASE64_STANDARD.encode(mac))
            }
            "hubspot" => {
                let at = at * 1000;
                let mac = mac(HUBSPOT_SECRET, format!("POST{url}{body}{at}"));
                let request = request.header("x-hubspot-request-timestamp", at.to_string());
                request.header("x-hubspot-signature-v3", BASE64_STANDARD.encode(mac))
            }
            _ => {
                let signed = format!("{at}{body}");
                let signature = self.mail.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
                let header = "x-twilio-email-event-webhook-timestamp";
                let request = request.header(header, at.to_string());
                let header = "x-twilio-email-event-webhook-signature";
                request.header(header, BASE64_STANDARD.encode(signature.as_ref()))
            }
        }
    }
}

/// What a vendor documents that it sends, and the events that this becomes.
fn documented(vendor: &str) -> Vec<Value> {
    let file = format!("{}/tests/webhooks/{vendor}.json", env!("CARGO_MANIFEST_DIR"));
    let text: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    text["deliveries"].as_array().unwrap().clone()
}

const VENDORS: [&str; 4] = ["stripe", "zendesk", "hubspot", "sendgrid"];

#[tokio::test]
async fn what_vendors_document_becomes_the_events_that_are_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let vendors = Vendors::start(folder.path()).await;
    let (mut seen, mut wrong) = (0, Vec::new());
    for vendor in VENDORS {
        for delivery in documented(vendor) {
            let mut request = vendors.signed(vendor, now(), &delivery["body"].to_string());
            for (name, value) in delivery["headers"].as_object().into_iter().flatten() {
                request = request.header(name, value.as_str().unwrap());
            }
            let what = format!("{vendor}: {}", delivery["what"]);
            let answer = answered(request).await;
            assert_eq!(answer.status, 200, "{what}: {}", answer.body);
            let all = stored(&vendors.server).await;
            let became: Vec<Value> = all[seen..]
                .iter()
                .map(|event| {
                    assert_eq!(
                        (&event["source"], &event["trust"]),
                        (&json!(vendor), &json!("server"))
                    );
                    let mut event = event.clone();
                    let members = event.as_object_mut().unwrap();
                    // Without a time of its own it is that of its receipt.
                    if members.remove("originalTimestamp").is_none() {
                        members.remove("timestamp");
                    }
                    for own in ["offset", "receivedAt", "source", "trust", "origin", "orderKey"] {
                        members.remove(own);
                    }
                    event
                })
                .collect();
            seen = all.len();
            if json!(became) != delivery["events"] {
                wrong.push(format!("{what}\n{:#}", json!(became)));
            }
            let ignored = answer.body["ignored"] == json!(true);
            let duplicate = answer.body["duplicate"].as_u64().unwrap_or_default() > 0;
            assert_eq!(became.is_empty(), ignored || duplicate, "{what}: {}", answer.body);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    vendors.server.stop().await;
}

#[tokio::test]
async fn whom_a_mail_service_cannot_or_may_not_write_to_is_on_the_suppression_list() {
    let folder = tempfile::tempdir().unwrap();
    let vendors = Vendors::start(folder.path()).await;
    let token = vendors.server.new_token.clone().unwrap();
    for delivery in documented("sendgrid") {
        let request = vendors.signed("sendgrid", now(), &delivery["body"].to_string());
        assert_eq!(answered(request).await.status, 200);
    }
    let begun = std::time::Instant::now();
    loop {
        let request = client().get(vendors.server.at("/v1/suppressions")).bearer_auth(&token);
        let list = server::json(request.send().await.unwrap()).await;
        let all = list["suppressions"].as_array().unwrap().iter();
        let mut all: Vec<_> =
            all.map(|it| json!([it["address"], it["reason"], it["by"]]).to_string()).collect();
        all.sort();
        let gone = r#"["gone@example.com","bounced","sendgrid"]"#;
        let unsubscribed = r#"["pat@example.com","unsubscribed","sendgrid"]"#;
        if all == [gone, unsubscribed] {
            break;
        }
        assert!(begun.elapsed() < server::PATIENCE, "{all:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    vendors.server.stop().await;
}

#[tokio::test]
async fn what_is_forged_changed_or_old_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let vendors = Vendors::start(folder.path()).await;
    for vendor in VENDORS {
        let body = documented(vendor)[0]["body"].to_string();
        let taken = |request: RequestBuilder| async { answered(request).await };
        let other = body.replacen(':', ": ", 1);

        let tampered = vendors.signed(vendor, now(), &body).body(other);
        let unsigned =
            client().post(vendors.server.at(&format!("/v1/in/{vendor}"))).body(body.clone());
        // Of another vendor, or of nobody.
        let foreign =
            vendors.signed(if vendor == "stripe" { "zendesk" } else { "stripe" }, now(), &body);
        let (_, foreign) = foreign.build_split();
        let mut foreign = foreign.unwrap();
        *foreign.url_mut() = vendors.server.at(&format!("/v1/in/{vendor}")).parse().unwrap();
        let foreign = RequestBuilder::from_parts(client(), foreign);
        for (what, request) in
            [("tampered", tampered), ("unsigned", unsigned), ("foreign", foreign)]
        {
            let answer = taken(request).await;
            assert_eq!((answer.status, answer.code()), (401, "bad_signature"), "{vendor} {what}");
        }
        for at in [now() - 301, now() + 310] {
            let answer = taken(vendors.signed(vendor, at, &body)).await;
            assert_eq!((answer.status, answer.code()), (401, "stale_signature"), "{vendor} {at}");
            assert!(answer.message().contains("another time than now"), "{}", answer.message());
        }
        for header in [
            "stripe-signature",
            "x-zendesk-webhook-signature",
            "x-hubspot-signature-v3",
            "x-twilio-email-event-webhook-signature",
        ] {
            // Which of two counts must not be for the sender to choose.
            let twice = vendors.signed(vendor, now(), &body).header(header, "x");
            let (_, request) = twice.build_split();
            let request = request.unwrap();
            if request.headers().get_all(header).iter().count() == 2 {
                let answer = taken(RequestBuilder::from_parts(client(), request)).await;
                assert_eq!(answer.code(), "bad_signature", "{vendor}");
            }
        }
    }
    assert_eq!(stored(&vendors.server).await, Vec::<Value>::new());
    let metrics =
        client().get(vendors.server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    for (reason, count) in [("bad_signature", 4), ("stale_signature", 2)] {
        let line = format!(
            "headwater_inbound_not_events_total{{source=\"stripe\",reason=\"{reason}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    for vendor in VENDORS {
        let body = documented(vendor)[0]["body"].to_string();
        let answer = answered(vendors.signed(vendor, now() - 290, &body)).await;
        assert_eq!(answer.status, 200, "{vendor}: within the tolerance");
    }
    vendors.server.stop().await;
}

#[tokio::test]
async fn a_secret_can_be_rotated_and_a_hubspot_address_given() {
    let folder = tempfile::tempdir().unwrap();
    let toml = format!(
        "[inbound.hubspot]\nkind = 'hubspot'\nsecrets = ['another-secret-0123', '{HUBSPOT_SECRET}']\n\
         url = 'https://in.example/v1/in/hubspot?x=a%3Ab'\ntolerance_seconds = 20\ntest = true\n"
    );
    let server = Server::start_with(folder.path(), &toml).await;
    let body = documented("hubspot")[0]["body"].to_string();
    let post = |secret: &str, at: u64| {
        let at = at * 1000;
        let text = format!("POSThttps://in.example/v1/in/hubspot?x=a:b{body}{at}");
        let mac = hmac_sha256::HMAC::mac(text.as_bytes(), secret.as_bytes());
        client()
            .post(server.at("/v1/in/hubspot"))
            .header("x-hubspot-request-timestamp", at.to_string())
            .header("x-hubspot-signature-v3", BASE64_STANDARD.encode(mac))
            .body(body.clone())
    };
    assert_eq!(answered(post("another-secret-0123", now())).await.body["accepted"], 4);
    assert_eq!(answered(post(HUBSPOT_SECRET, now())).await.body["duplicate"], 4);
    assert_eq!(answered(post("a-third-secret-01234", now())).await.code(), "bad_signature");
    assert_eq!(answered(post(HUBSPOT_SECRET, now() - 30)).await.code(), "stale_signature");
    assert!(stored(&server).await.iter().all(|event| event["test"] == true));
    server.stop().await;
}

/// From the tests of SendGrid's own library for Go (helpers/eventwebhook), with the time as it was then.
#[test]
fn the_signature_that_sendgrid_publishes_holds() {
    let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
    let config = format!("[inbound.mail]\nkind = 'sendgrid'\npublic_key = '{key}'");
    let config = Config::parse(&config, Path::new("test.toml")).unwrap();
    let (name, config) = config.inbound.iter().next().unwrap();
    let inbound = Inbound::open(name, config).unwrap();
    let body = concat!(
        r#"[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","#,
        r#""sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0","smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]"#,
        "\r\n"
    );
    let mut headers = HeaderMap::new();
    let signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=";
    headers.insert("x-twilio-email-event-webhook-signature", signature.parse().unwrap());
    headers.insert("x-twilio-email-event-webhook-timestamp", "1600112502".parse().unwrap());
    let at = |ms| Delivery {
        headers: &headers,
        url: "",
        body: body.as_bytes(),
        now: Timestamp::from_unix_ms(ms),
    };
    assert_eq!(inbound.verify(&at(1_600_112_502_000)), Ok(()));
    assert_eq!(inbound.verify(&at(1_600_112_802_000)), Ok(()), "300 seconds later");
    assert_eq!(inbound.verify(&at(1_600_112_802_001)), Err(Unbelieved::Stale));
    let other = body.replace("hello", "holle");
    let other = Delivery { body: other.as_bytes(), ..at(1_600_112_502_000) };
    assert_eq!(inbound.verify(&other), Err(Unbelieved::Wrong));
}

/// The example of "Verifying requests from Slack" (docs.slack.dev/authentication/verifying-requests-from-slack).
#[test]
fn the_signature_that_slack_publishes_holds() {
    let config = "[inbound.slack]\nkind = 'slack'\nsecret = '8f742231b10e8888abcd99yyyzzz85a5'";
    let config = Config::parse(config, Path::new("test.toml")).unwrap();
    let (name, config) = config.inbound.iter().next().unwrap();
    let inbound = Inbound::open(name, config).unwrap();
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar\
        &user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com\
        %2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let mut headers = HeaderMap::new();
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    headers.insert("x-slack-signature", signature.parse().unwrap());
    headers.insert("x-slack-request-timestamp", "1531420618".parse().unwrap());
    let at = |ms| Delivery {
        headers: &headers,
        url: "",
        body: body.as_bytes(),
        now: Timestamp::from_unix_ms(ms),
    };
    assert_eq!(inbound.verify(&at(1_531_420_618_000)), Ok(()));
    assert_eq!(inbound.verify(&at(1_531_420_918_001)), Err(Unbelieved::Stale));
    let other = body.replace("foobar", "barfoo");
    let other = Delivery { body: other.as_bytes(), ..at(1_531_420_618_000) };
    assert_eq!(inbound.verify(&other), Err(Unbelieved::Wrong));
}

#[tokio::test]
async fn a_button_under_a_message_in_slack_comes_back_as_an_event() {
    const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    let folder = tempfile::tempdir().unwrap();
    let toml = format!("[inbound.slack]\nkind = 'slack'\nsecret = '{SLACK_SECRET}'\n");
    let server = Server::start_with(folder.path(), &toml).await;
    // As `block_actions` is documented (docs.slack.dev/reference/interaction-payloads/block_actions-payload).
    let payload = |action: &str| {
        json!({"type": "block_actions", "user": {"id": "UA8RXUSPL", "username": "someone", "team_id": "T9TK3CUKW"},
            "container": {"type": "message", "message_ts": "1548261231.000200", "channel_id": "CBR2V3XEX"},
            "channel": {"id": "CBR2V3XEX", "name": "success"},
            "actions": [{"action_id": action, "block_id": "=qXel", "text": {"type": "plain_text", "text": "Acknowledge"},
                "value": "0123456789abcdef01234567.0", "type": "button", "action_ts": "1548426417.840180"}]})
    };
    let post = |action: &str, secret: &str| {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("payload", &payload(action).to_string())
            .finish();
        let at = now();
        let mac = hmac_sha256::HMAC::mac(format!("v0:{at}:{form}").as_bytes(), secret.as_bytes());
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        client()
            .post(server.at("/v1/in/slack"))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-slack-request-timestamp", at.to_string())
            .header("x-slack-signature", format!("v0={hex}"))
            .body(form)
    };
    for action in ["headwater_ack", "headwater_snooze", "headwater_assign"] {
        assert_eq!(answered(post(action, SLACK_SECRET)).await.body["accepted"], 1, "{action}");
    }
    assert_eq!(answered(post("headwater_ack", SLACK_SECRET)).await.body["duplicate"], 1);
    assert_eq!(answered(post("another_app", SLACK_SECRET)).await.body["ignored"], true);
    let forged = answered(post("headwater_ack", "another-secret-0123456789")).await;
    assert_eq!((forged.status, forged.code()), (401, "bad_signature"));
    let all = stored(&server).await;
    let names: Vec<_> = all.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["Firing Acknowledged", "Firing Snoozed", "Firing Assigned"]);
    assert_eq!(all[0]["properties"]["action"], "0123456789abcdef01234567.0");
    assert_eq!(all[0]["timestamp"], "2019-01-25T14:26:57.840Z");
    assert_eq!(all[0]["context"]["externalIds"][0]["type"], "slack_user_id");
    server.stop().await;
}
