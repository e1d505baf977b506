//! The settings document: what `analytics-next` and Segment's mobile libraries fetch before they send.
//! Promises that a client that knows only where this document is sends its events here, and nothing to
//! anyone else. Deliberately has no opinion on destinations: none is loaded into a page.

use hyper::header;
use serde_json::{Value, json};

use super::answer::{Answer, ok, set};

/// The key in `/v1/projects/KEY/settings`.
pub(super) fn key_in(path: &str) -> Option<&str> {
    let key = path.strip_prefix("/v1/projects/")?.strip_suffix("/settings")?;
    (!key.is_empty() && !key.contains('/')).then_some(key)
}

/// The document for the holder of this key.
///
/// `host` is the one that was asked, and `prefix` what stands in front of `/v1` where it was asked for.
pub(super) fn document(key: &str, host: Option<&str>, tls: bool, prefix: &str) -> Answer {
    let mut segment = json!({
        "apiKey": key,
        // Nothing of Segment's own bookkeeping in the events.
        "addBundledMetadata": false,
        "unbundledIntegrations": [],
    });
    if let Some(host) = host {
        // Without it a client would send to Segment.
        segment["apiHost"] = Value::from(format!("{host}{prefix}/v1"));
        segment["protocol"] = Value::from(if tls { "https" } else { "http" });
    }
    let everything = json!({"__default": {"enabled": true, "integrations": {}}});
    let document = json!({
        "integrations": {"Segment.io": segment},
        "plan": {"track": everything, "identify": everything, "group": everything},
        "edgeFunction": {},
        "analyticsNextEnabled": true,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        // They count themselves and report it to Segment, unless told not to.
        "metrics": {"sampleRate": 0.0},
        "legacyVideoPluginsEnabled": false,
        "remotePlugins": [],
    });
    let mut answer = ok("application/json", document.to_string());
    // It depends on how it was asked for, and is asked for once a page.
    set(answer.headers_mut(), header::CACHE_CONTROL, "no-store");
    answer
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn the_key_is_one_part_of_the_path() {
        assert_eq!(key_in("/v1/projects/abc/settings"), Some("abc"));
        for other in ["/v1/projects//settings", "/v1/projects/a/b/settings", "/v1/projects/abc"] {
            assert_eq!(key_in(other), None);
        }
    }

    #[tokio::test]
    async fn it_sends_a_client_back_to_where_it_asked() {
        for (tls, prefix, protocol) in [(false, "", "http"), (true, "/x7", "https")] {
            let answer = document("k", Some("hw.example:1"), tls, prefix);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let segment =
                &serde_json::from_slice::<Value>(&body).unwrap()["integrations"]["Segment.io"];
            assert_eq!(segment["apiKey"], "k");
            assert_eq!(segment["apiHost"], format!("hw.example:1{prefix}/v1"));
            assert_eq!(segment["protocol"], protocol);
        }
    }
}
