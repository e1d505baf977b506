//! Webhooks of others against the real server: what each vendor signs is taken, what is forged, old, changed or not understood is
//! not, and a delivery that comes twice is stored once.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod server;

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use headwater_collector::event_log::Timestamp;
use reqwest::RequestBuilder;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use server::{SECRET, Server, client};

const SHOP: &str = r#"
[[event]]
on = 'body.type == "order.paid"'
event = "Order Paid"
user_id = 'body.?user'
timestamp = 'body.?at'
[event.properties]
total = 'body.total'
items = 'body.?items'
[event.traits]
email = 'body.?email'
[event.external_ids]
shop_customer_id = 'body.?customer'
email = 'body.?email'

[[event]]
on = 'body.type == "customer.changed"'
type = "identify"
user_id = 'body.user'
message_id = 'body.id'
traits = 'body.traits'
"#;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A collector with an inbound webhook `shop`.
async fn shop(folder: &Path, mapping: &str) -> Server {
    let map = folder.join("shop.toml");
    std::fs::write(&map, mapping).unwrap();
    let toml = format!(
        "[inbound.shop]\nkind = 'generic'\nsecret = '{SECRET}'\nmap = '{}'\n",
        map.display()
    );
    Server::start_with(&folder.join("data"), &toml).await
}

struct Answered {
    status: u16,
    body: Value,
}

impl Answered {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

async fn answered(request: RequestBuilder) -> Answered {
    let answer = request.send().await.unwrap();
    Answered { status: answer.status().as_u16(), body: server::json(answer).await }
}

/// Signs as Standard Webhooks says, at this time.
fn signed(server: &Server, id: &str, at: u64, body: &str) -> RequestBuilder {
    let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
    let signature = signer.sign(id, i64::try_from(at).unwrap(), body.as_bytes()).unwrap();
    client()
        .post(server.at("/v1/in/shop"))
        .header("webhook-id", id)
        .header("webhook-timestamp", at.to_string())
        .header("webhook-signature", signature)
        .body(body.to_owned())
}

async fn stored(server: &Server) -> Vec<Value> {
    server.events(server.new_token.as_ref().unwrap()).await
}

#[tokio::test]
async fn what_is_signed_becomes_an_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(folder.path(), SHOP).await;
    let body =
        json!({"type": "order.paid", "total": 49.5, "customer": "c-1", "email": "pat@example.com",
                      "at": 1_790_000_000})
        .to_string();
    let first = answered(signed(&server, "msg_1", now(), &body)).await;
    assert_eq!(
        (first.status, &first.body),
        (200, &json!({"success": true, "accepted": 1, "duplicate": 0}))
    );
    let again = answered(signed(&server, "msg_1", now() - 60, &body)).await;
    assert_eq!(
        (again.status, &again.body),
        (200, &json!({"success": true, "accepted": 0, "duplicate": 1}))
    );

    let events = stored(&server).await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(event["source"], "shop");
    assert_eq!(event["trust"], "server");
    assert_eq!(event["type"], "track");
    assert_eq!(event["event"], "Order Paid");
    assert_eq!(event["messageId"], "msg_1");
    assert_eq!(event["anonymousId"], "shop_customer_id:c-1");
    assert_eq!(event["timestamp"], "2026-09-21T14:13:20.000Z");
    assert_eq!(event["properties"], json!({"total": 49.5}));
    assert_eq!(
        event["context"],
        json!({
            "externalIds": [
                {"id": "c-1", "type": "shop_customer_id", "collection": "users", "encoding": "none"},
                {"id": "pat@example.com", "type": "email", "collection": "users", "encoding": "none"},
            ],
            "traits": {"email": "pat@example.com"},
        }),
        "and no address of the machine that posted it"
    );
    server.stop().await;
}

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
    let file = format!("{}/tests/inbound/{vendor}.json", env!("CARGO_MANIFEST_DIR"));
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
