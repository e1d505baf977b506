//! Every path of the collector, one a line. The OpenAPI document is held to this table by a test.
//! Promises that a path has one meaning. Deliberately does none of the work.

use crate::decode::{EventType, Shape};

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Ingest(Shape),
    Pixel(EventType),
    Settings,
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
}

impl Route {
    /// What it answers to, beside `HEAD` for what can be got, and what browsers ask before they send.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Ingest(_) => "POST, OPTIONS",
            // Not HEAD: it asks what a GET would say, and must not be an event.
            Self::Pixel(_) => "GET",
            // Nor here: who fetches events takes a lease on them.
            Self::Consumers { order: false } => "GET",
            Self::Consumers { order: true } => "POST",
            _ => "GET, HEAD",
        }
    }

    /// Whether it is for clients, and so found under the path prefix as well.
    pub(super) fn is_for_clients(self) -> bool {
        matches!(self, Self::Ingest(_) | Self::Pixel(_) | Self::Settings | Self::Sdk)
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
        ("/v1/projects/{writeKey}/settings", R::Settings, "settings"),
        ("/headwater.js", R::Sdk, "sdk"),
        ("/headwater.mjs", R::Sdk, "sdk"),
        ("/headwater.wasm", R::Sdk, "sdk"),
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

    #[test]
    fn the_document_has_these_paths_and_methods_and_no_others() {
        let document: serde_json::Value =
            serde_json::from_str(super::super::routes::OPENAPI).unwrap();
        let mut described = Vec::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            described.extend(
                methods.as_object().unwrap().keys().map(|m| (path.as_str(), m.to_uppercase())),
            );
        }
        let mut known: Vec<_> = TABLE
            .iter()
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
