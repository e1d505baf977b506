//! Every path of the collector, one a line. The OpenAPI document is held to this table by a test.
//! Promises that a path has one meaning. Deliberately does none of the work.

use crate::decode::{EventType, Shape};

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Ingest(Shape),
    Pixel(EventType),
    /// Webhooks of others.
    Inbound,
    Settings,
    /// Which events are stored.
    Seen,
    /// What is meant for a device.
    Messages,
    Sdk,
    Events,
    Live,
    Healthy,
    Ready,
    Metrics,
    OpenApi,
    /// What orders something, or what is only asked.
    Consumers {
        order: bool,
    },
    /// What orders something, or what is only asked.
    People {
        order: bool,
    },
    /// What orders something, or what is only asked.
    Rules {
        order: bool,
    },
    /// What orders something, or what is only asked.
    Suppressions {
        order: bool,
    },
    /// An event that is decided about at once.
    Decide,
    /// A page for people.
    Console,
}

impl Route {
    /// What it answers to, beside `HEAD` for what can be got, and what browsers ask before they send.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Ingest(_) | Self::Seen | Self::Messages => "POST, OPTIONS",
            // Not HEAD: it asks what a GET would say, and must not be an event.
            Self::Pixel(_) => "GET",
            // Nor here: who fetches events takes a lease on them.
            Self::Consumers { order: false }
            | Self::People { order: false }
            | Self::Rules { order: false }
            | Self::Suppressions { order: false } => "GET",
            Self::Consumers { order: true }
            | Self::People { order: true }
            | Self::Rules { order: true }
            | Self::Suppressions { order: true }
            | Self::Decide
            | Self::Inbound => "POST",
            Self::Console => "GET, HEAD, POST",
            _ => "GET, HEAD",
        }
    }

    /// Whether it is for clients, and so found under the path prefix as well.
    pub(super) fn is_for_clients(self) -> bool {
        matches!(
            self,
            Self::Ingest(_)
                | Self::Pixel(_)
                | Self::Settings
                | Self::Seen
                | Self::Messages
                | Self::Sdk
        )
    }
}

/// Path, what it stands for, and its name in metrics. `{…}` stands for one part of a path.
pub(super) const TABLE: &[(&str, Route, &str)] = {
    use {EventType as E, Route as R};
    const BATCH: Route = R::Ingest(Shape::Batch);
    const fn one(event_type: E) -> Route {
        R::Ingest(Shape::Single(event_type))
    }
    &[
        ("/v1/batch", BATCH, "batch"),
        ("/v1/b", BATCH, "batch"),
        ("/v1/track", one(E::Track), "track"),
        ("/v1/t", one(E::Track), "track"),
        ("/v1/identify", one(E::Identify), "identify"),
        ("/v1/i", one(E::Identify), "identify"),
        ("/v1/page", one(E::Page), "page"),
        ("/v1/p", one(E::Page), "page"),
        ("/v1/screen", one(E::Screen), "screen"),
        ("/v1/s", one(E::Screen), "screen"),
        ("/v1/group", one(E::Group), "group"),
        ("/v1/g", one(E::Group), "group"),
        ("/v1/alias", one(E::Alias), "alias"),
        ("/v1/a", one(E::Alias), "alias"),
        ("/v1/import", BATCH, "import"),
        ("/v1/pixel/track", R::Pixel(E::Track), "pixel"),
        ("/v1/pixel/identify", R::Pixel(E::Identify), "pixel"),
        ("/v1/pixel/page", R::Pixel(E::Page), "pixel"),
        ("/v1/pixel/screen", R::Pixel(E::Screen), "pixel"),
        ("/v1/pixel/group", R::Pixel(E::Group), "pixel"),
        ("/v1/pixel/alias", R::Pixel(E::Alias), "pixel"),
        ("/v1/in/{name}", R::Inbound, "inbound"),
        ("/v1/projects/{writeKey}/settings", R::Settings, "settings"),
        ("/v1/seen", R::Seen, "seen"),
        ("/v1/messages", R::Messages, "messages"),
        ("/headwater.js", R::Sdk, "sdk"),
        ("/headwater.mjs", R::Sdk, "sdk"),
        ("/headwater.wasm", R::Sdk, "sdk"),
        ("/headwater.core.js", R::Sdk, "sdk"),
        ("/headwater-autocapture.js", R::Sdk, "sdk"),
        ("/headwater-debug.js", R::Sdk, "sdk"),
        ("/headwater-message.js", R::Sdk, "sdk"),
        ("/headwater-lease.js", R::Sdk, "sdk"),
        ("/v1/events", R::Events, "events"),
        ("/v1/live", R::Live, "live"),
        ("/healthz", R::Healthy, "healthz"),
        ("/readyz", R::Ready, "readyz"),
        ("/metrics", R::Metrics, "metrics"),
        ("/openapi.json", R::OpenApi, "openapi"),
        ("/v1/consumers", R::Consumers { order: false }, "consumers"),
        ("/v1/consumers/{name}", R::Consumers { order: false }, "consumers"),
        ("/v1/consumers/{name}/pause", R::Consumers { order: true }, "consumers"),
        ("/v1/consumers/{name}/resume", R::Consumers { order: true }, "consumers"),
        ("/v1/consumers/{name}/seek", R::Consumers { order: true }, "consumers"),
        ("/v1/consumers/{name}/replay", R::Consumers { order: true }, "consumers"),
        ("/v1/consumers/{name}/parked", R::Consumers { order: false }, "consumers"),
        ("/v1/consumers/{name}/parked/redrive", R::Consumers { order: true }, "consumers"),
        ("/v1/consumers/{name}/parked/drop", R::Consumers { order: true }, "consumers"),
        ("/v1/consumers/{name}/events", R::Consumers { order: false }, "consumers"),
        ("/v1/consumers/{name}/ack", R::Consumers { order: true }, "consumers"),
        ("/v1/people", R::People { order: false }, "people"),
        ("/v1/people/{person}", R::People { order: false }, "people"),
        ("/v1/people/{person}/timeline", R::People { order: false }, "people"),
        ("/v1/people/{person}/graph", R::People { order: false }, "people"),
        ("/v1/people/{person}/live", R::People { order: false }, "people"),
        ("/v1/people/{person}/export", R::People { order: false }, "people"),
        ("/v1/people/{person}/erase", R::People { order: true }, "people"),
        ("/v1/people/{person}/merge", R::People { order: true }, "people"),
        ("/v1/people/{person}/unmerge", R::People { order: true }, "people"),
        ("/v1/accounts/{account}", R::People { order: false }, "people"),
        ("/v1/accounts/{account}/timeline", R::People { order: false }, "people"),
        ("/v1/people/{person}/scores", R::People { order: false }, "people"),
        ("/v1/accounts/{account}/scores", R::People { order: false }, "people"),
        ("/v1/rules", R::Rules { order: false }, "rules"),
        ("/v1/rules/stop", R::Rules { order: true }, "rules"),
        ("/v1/rules/resume", R::Rules { order: true }, "rules"),
        ("/v1/rules/{rule}/stop", R::Rules { order: true }, "rules"),
        ("/v1/rules/{rule}/resume", R::Rules { order: true }, "rules"),
        ("/v1/rules/{rule}/why", R::Rules { order: false }, "rules"),
        ("/v1/firings", R::Rules { order: false }, "firings"),
        ("/v1/suppressions", R::Suppressions { order: false }, "suppressions"),
        ("/v1/suppressions/add", R::Suppressions { order: true }, "suppressions"),
        ("/v1/suppressions/remove", R::Suppressions { order: true }, "suppressions"),
        ("/v1/decide", R::Decide, "decide"),
        ("/v1/projection", R::People { order: false }, "projection"),
        ("/v1/projection/rebuild", R::People { order: true }, "projection"),
        ("/console", R::Console, "console"),
        ("/console/{page}", R::Console, "console"),
        ("/console/files/{name}", R::Console, "console"),
        ("/console/live/stream", R::Console, "console"),
        ("/console/firings/live", R::Console, "console"),
        ("/console/rules/{rule}", R::Console, "console"),
        ("/console/rules/{rule}/{page}", R::Console, "console"),
        ("/console/people/{person}", R::Console, "console"),
        ("/console/people/{person}/{page}", R::Console, "console"),
        ("/console/accounts/{account}", R::Console, "console"),
        ("/console/accounts/{account}/live", R::Console, "console"),
    ]
};

/// What this path stands for, and its name in metrics.
pub(super) fn find(path: &str) -> Option<(Route, &'static str)> {
    TABLE.iter().find(|(known, ..)| is(known, path)).map(|&(_, route, name)| (route, name))
}

fn is(known: &str, path: &str) -> bool {
    if !known.contains('{') {
        return known == path;
    }
    let (mut known, mut parts) = (known.split('/'), path.split('/'));
    loop {
        match (known.next(), parts.next()) {
            (None, None) => return true,
            (Some(known), Some(part)) if known.starts_with('{') && !part.is_empty() => {}
            (Some(known), Some(part)) if known == part => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use hyper::StatusCode;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_line_is_found_and_what_is_only_alike_is_not() {
        for &(path, route, name) in TABLE {
            assert_eq!(find(path), Some((route, name)), "{path}: no other line is in its way");
            assert_eq!(find(&format!("{path}/")), None);
        }
        assert_eq!(find("/v1/projects/k/settings"), Some((Route::Settings, "settings")));
        for other in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1/projects//settings",
            "/v1/projects/a/b/settings",
            "/V1/batch",
        ] {
            assert_eq!(find(other), None, "{other}");
        }
    }

    fn document() -> Value {
        serde_json::from_str(super::super::routes::OPENAPI).unwrap()
    }

    /// A file of this crate, without its tests.
    fn source(path: impl AsRef<Path>) -> String {
        let text = std::fs::read_to_string(path).unwrap();
        text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
    }

    /// The number and the code of an error that is written as `StatusCode::NAME, "code"`.
    fn error(text: &str) -> Option<(u16, String)> {
        let (name, rest) = text.trim_start().strip_prefix("StatusCode::")?.split_once(',')?;
        let (code, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        let is_word = code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let named = |status: &StatusCode| {
            let reason = status.canonical_reason().unwrap_or_default();
            reason.to_uppercase().replace(' ', "_") == name
        };
        let status = (400..600).filter_map(|n| StatusCode::from_u16(n).ok()).find(named);
        status.filter(|_| is_word).map(|status| (status.as_u16(), code.to_owned()))
    }

    #[test]
    fn the_document_has_these_errors_and_no_others() {
        let mut known = BTreeSet::new();
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http")).unwrap() {
            let (path, text) = file.map(|file| (file.path(), source(file.path()))).unwrap();
            for (at, _) in text.match_indices("StatusCode::") {
                known.extend(error(&text[at..]));
            }
            for (at, new) in text.match_indices("Failure::new(") {
                let line = text[at..].lines().next().unwrap_or_default();
                let found = error(&text[at + new.len()..]);
                assert!(found.is_some(), "{}: {line}: status and code stand there", path.display());
            }
        }
        let document = document();
        let mut described = BTreeSet::new();
        let operations = document["paths"].as_object().unwrap().values();
        for operation in operations.flat_map(|methods| methods.as_object().unwrap().values()) {
            for (status, said) in operation["responses"].as_object().unwrap() {
                let place = said["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
                let said = place.map_or(said, |place| document.pointer(place).unwrap());
                let codes = "/content/application~1json/schema/allOf/1/properties/error/properties/code/enum";
                let codes = said.pointer(codes).and_then(Value::as_array);
                for code in codes.into_iter().flatten() {
                    described.insert((status.parse().unwrap(), code.as_str().unwrap().to_owned()));
                }
            }
        }
        // No operation answers these: for methods that a path does not have, and for heads that no path is looked for in.
        described.insert((405, "method_not_allowed".to_owned()));
        described.insert((431, "too_many_headers".to_owned()));
        assert_eq!(described, known);
        let codes: BTreeSet<_> = known.into_iter().map(|(_, code)| code).collect();
        let all = "/components/schemas/Error/properties/error/properties/code/enum";
        assert_eq!(document.pointer(all), Some(&json!(codes)));
    }

    #[test]
    fn the_document_has_these_reasons_and_no_others() {
        let text = source(concat!(env!("CARGO_MANIFEST_DIR"), "/src/validate.rs"));
        let (_, words) = text.split_once("impl Reason {").unwrap();
        let words = words.split_once("\n}").unwrap().0;
        let known: BTreeSet<_> = words.split('"').skip(1).step_by(2).collect();
        assert!(known.contains("bad_signature"), "{known:?}");
        let document = document();
        let described = &document["components"]["schemas"]["Receipt"]["properties"]["events"]["items"]
            ["properties"]["reason"]["enum"];
        let described: BTreeSet<_> =
            described.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(described, known);
    }

    #[test]
    fn the_document_has_these_paths_and_methods_and_no_others() {
        let document = document();
        let mut described = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            described.extend(
                methods.as_object().unwrap().keys().map(|m| (path.as_str(), m.to_uppercase())),
            );
        }
        // Pages are for people: what programs do, they do with the rest.
        let mut known: Vec<_> = TABLE
            .iter()
            .filter(|(_, route, _)| *route != Route::Console)
            .map(|&(path, route, _)| {
                let method = route.methods().split(',').next().unwrap_or_default();
                (path, method.to_owned())
            })
            .collect();
        described.sort();
        known.sort();
        assert_eq!(described, known);
    }
}
