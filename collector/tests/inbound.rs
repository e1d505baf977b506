//! Webhooks of others against the real server: what each vendor signs is taken, what is forged, old, changed or not understood is
//! not, and a delivery that comes twice is stored once.
#![allow(clippy::unwrap_used, reason = "what a test expects, it unwraps, in its functions too")]

mod server;

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use headwater_collector::{
    config::Config,
    event_log::Timestamp,
    inbound::{
        Delivery, Inbound, Unbelieved,
        mapping::{About, Mapped, Mapping, Subject},
    },
};
use reqwest::{RequestBuilder, header::HeaderMap};
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

#[tokio::test]
async fn what_cannot_be_mapped_is_said_and_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = "each = 'body.orders'\n[[event]]\non = 'item.n > 0'\nevent = 'Order Paid'\nuser_id = 'item.user'\n\
                   [event.properties]\ntext = 'item.?text'\n";
    let server = shop(folder.path(), mapping).await;
    let post = |id: &str, body: &Value| answered(signed(&server, id, now(), &body.to_string()));
    let orders = json!({"orders": [{"n": 1, "user": "a"}, {"n": 1, "u": "pat@example.com"}, {"n": 0}, {"n": 1, "user": "b"}]});
    let answer = post("msg_1", &orders).await;
    assert_eq!((answer.status, answer.code()), (422, "mapping_failed"));
    let place = "shop.toml:5: `user_id`: there is no `user`; where it may be missing, write `.?user` (item 1)";
    assert!(answer.message().contains(place), "{}", answer.message());
    assert!(!answer.message().contains("pat@"), "{}", answer.message());
    assert_eq!(stored(&server).await.len(), 2, "the others are stored");

    // Too large for an event, as the event itself says; and what is no list.
    let large = json!({"orders": [{"n": 1, "user": "c", "text": "x".repeat(40_000)}]});
    let answer = post("msg_2", &large).await;
    assert!(
        answer
            .message()
            .contains("shop.toml:2: the event that is made here is not taken: too_large"),
        "{}",
        answer.message()
    );
    let answer = post("msg_3", &json!({"orders": 5})).await;
    assert!(
        answer.message().contains("shop.toml:1: `each`: expected a list, found int"),
        "{}",
        answer.message()
    );
    let answer = post("msg_4", &json!({"orders": [{"n": 0}, {"n": -1}]})).await;
    assert_eq!((answer.status, answer.body), (200, json!({"success": true, "ignored": true})));

    // The mapping is corrected, without a restart; the sender tries again.
    std::fs::write(
        folder.path().join("shop.toml"),
        mapping.replace("item.user'", "item.?user.or(item.?u)'"),
    )
    .unwrap();
    let config = format!(
        "[inbound.shop]\nkind = 'generic'\nsecret = '{SECRET}'\nmap = '{}'\n",
        folder.path().join("shop.toml").display()
    );
    let config = Config::parse(&config, Path::new("test.toml")).unwrap();
    let reload = std::sync::Arc::clone(&server.reload);
    let told = tokio::task::spawn_blocking(move || reload.apply(&config)).await.unwrap().unwrap();
    assert!(!told.iter().any(|key| key.contains("inbound")), "{told:?}");
    let answer = post("msg_1", &orders).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"], &answer.body["duplicate"]),
        (200, &json!(1), &json!(2))
    );
    let ids: Vec<_> = server::ids(&stored(&server).await);
    assert_eq!(ids, ["msg_1:0", "msg_1:3", "msg_1:1"]);

    let metrics = client().get(server.at("/metrics")).send().await.unwrap().text().await.unwrap();
    for (reason, count) in [("ignored", 4), ("mapping_failed", 3)] {
        let line = format!(
            "headwater_inbound_not_events_total{{source=\"shop\",reason=\"{reason}\"}} {count}"
        );
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_mapping_that_is_wrong_changes_nothing_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(folder.path(), SHOP).await;
    let map = folder.path().join("shop.toml");
    std::fs::write(&map, "[[event]]\nevent = 'A'\nuser_id = 'body.('").unwrap();
    let config = format!(
        "[inbound.shop]\nkind = 'generic'\nsecret = '{SECRET}'\nmap = '{}'\n",
        map.display()
    );
    let config = Config::parse(&config, Path::new("test.toml")).unwrap();
    let reload = std::sync::Arc::clone(&server.reload);
    let error =
        tokio::task::spawn_blocking(move || reload.apply(&config)).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("shop.toml:3: `user_id`: is no CEL"), "{error}");
    let body =
        json!({"type": "customer.changed", "id": "c-1", "user": "u", "traits": {"plan": "pro"}});
    let answer = answered(signed(&server, "msg", now(), &body.to_string())).await;
    assert_eq!(answer.body["accepted"], 1);
    let event = &stored(&server).await[0];
    assert_eq!(
        (&event["type"], &event["traits"], &event["messageId"]),
        (&json!("identify"), &json!({"plan": "pro"}), &json!("c-1"))
    );
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_webhook_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = shop(folder.path(), SHOP).await;
    let answer = answered(signed(&server, "m", now(), "{")).await;
    assert_eq!((answer.status, answer.code()), (400, "invalid_json"));
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(1024 * 1024));
    let answer = answered(signed(&server, "m", now(), &large)).await;
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    let answer = answered(client().post(server.at("/v1/in/nobody")).body(large)).await;
    assert_eq!((answer.status, answer.code()), (404, "unknown_inbound"));
    let answer = answered(client().get(server.at("/v1/in/shop"))).await;
    assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"));
    // Nobody can send as the webhook's source with a key.
    let event = json!({"event": "A", "userId": "u", "writeKey": "shop"});
    let answer = answered(client().post(server.at("/v1/track")).body(event.to_string())).await;
    assert_eq!(answer.code(), "unknown_write_key");
    server.stop().await;
}

#[tokio::test]
async fn a_body_may_become_more_than_one_batch_can_hold() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = "each = 'body'\n[[event]]\nevent = 'A'\nuser_id = 'item.u'\n[event.properties]\nx = 'item.x + item.x'\n";
    let server = shop(folder.path(), mapping).await;
    let items: Vec<_> = (0..60).map(|n| json!({"u": n, "x": "y".repeat(15_000)})).collect();
    let answer = answered(signed(&server, "m", now(), &json!(items).to_string())).await;
    assert_eq!(answer.body, json!({"success": true, "accepted": 60, "duplicate": 0}));
    server.stop().await;
}

/// The mapping that the README explains.
#[test]
fn the_mapping_of_the_readme_does_what_it_says() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let mut blocks =
        readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let text = blocks.find(|block| block.contains("[[event]]")).unwrap();
    let mapping = Mapping::parse(text, "README.md", Subject::Request).unwrap();
    let body = json!({"orders": [
        {"state": "paid", "id": 7, "paid_at": 1_790_000_000, "total": 4900, "customer": {"id": "c-1", "email": "pat@example.com"}},
        {"state": "open"},
    ]});
    let about = About { subject: &body, headers: &[], id: None, until: None };
    let Mapped { events, ignored, failures } = mapping.map(&about);
    assert_eq!((events.len(), ignored, failures), (1, 1, Vec::new()));
    let event: Value = serde_json::from_str(&events[0].json).unwrap();
    assert_eq!(event["properties"], json!({"total": 49.0}));
    assert_eq!(
        (&event["messageId"], &event["anonymousId"]),
        (&json!("7"), &json!("shop_customer_id:c-1"))
    );
}
