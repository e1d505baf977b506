//! The browser SDK, served out of the binary: `/headwater.js`, `/headwater.mjs` and the wasm beside them.
//! Promises that what is sent is what was built, compressed once at start, and that a page of any
//! origin may load it. Deliberately does not know how it is built.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::{HeaderMap, StatusCode, header};
use sha2::{Digest as _, Sha256};

use super::answer::{Answer, Failure, empty, ok, set};

/// The files, as they were when the binary was built.
const BUILT: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// Five minutes without a question, so that a new release reaches pages soon. After them a page uses the copy it has and asks
/// behind its back, for a month: a page that opens while the collector is down still has the SDK, which keeps its events.
const CACHE: &str = "public, max-age=300, stale-while-revalidate=2592000";

/// All files, ready to be sent.
#[derive(Debug)]
pub(super) struct Sdk(Vec<File>);

#[derive(Debug)]
struct File {
    name: &'static str,
    content_type: &'static str,
    plain: Bytes,
    gzip: Bytes,
    etag: String,
}

impl Sdk {
    pub(super) fn new() -> Self {
        Self(BUILT.iter().map(|(name, bytes)| File::new(name, bytes)).collect())
    }

    /// Whether the path is one of the SDK's, built or not.
    pub(super) fn is_path(&self, path: &str) -> bool {
        let name = path.strip_prefix('/').unwrap_or(path);
        matches!(name, "headwater.js" | "headwater.mjs") || self.file(path).is_some()
    }

    /// The file at this path.
    pub(super) fn answer(&self, path: &str, headers: &HeaderMap) -> Answer {
        let Some(file) = self.file(path) else {
            let message = "this binary was built without the browser SDK; `make build` makes both";
            return Failure::new(StatusCode::NOT_FOUND, "sdk_not_built", message).into_answer();
        };
        let known = headers.get_all(header::IF_NONE_MATCH).iter();
        if known.filter_map(|etag| etag.to_str().ok()).any(|etag| etag.contains(&file.etag)) {
            return file.described(empty(StatusCode::NOT_MODIFIED));
        }
        let accepts_gzip = headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|coding| {
                matches!(coding.split_once(';').unwrap_or((coding, "")),
                (name, q) if name.trim() == "gzip" && !matches!(q.trim(), "q=0" | "q=0.0"))
            });
        if accepts_gzip {
            let mut answer = file.described(ok(file.content_type, file.gzip.clone()));
            set(answer.headers_mut(), header::CONTENT_ENCODING, "gzip");
            return answer;
        }
        file.described(ok(file.content_type, file.plain.clone()))
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.0.iter().find(|file| path.strip_prefix('/') == Some(file.name))
    }
}

impl File {
    fn new(name: &'static str, bytes: &'static [u8]) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        let gzip = gzip.write_all(bytes).and_then(|()| gzip.finish());
        let hash = Sha256::digest(bytes);
        Self {
            name,
            content_type: if name.ends_with(".wasm") {
                "application/wasm"
            } else {
                "text/javascript; charset=utf-8"
            },
            plain: Bytes::from_static(bytes),
            gzip: gzip.expect("a Vec takes every write").into(),
            etag: format!(
                "\"{}\"",
                hash[..12].iter().map(|b| format!("{b:02x}")).collect::<String>()
            ),
        }
    }

    fn described(&self, mut answer: Answer) -> Answer {
        let headers = answer.headers_mut();
        headers.insert(
            header::ETAG,
            self.etag.parse().expect("hex digits in quotes are a header value"),
        );
        set(headers, header::CACHE_CONTROL, CACHE);
        set(headers, header::VARY, "Accept-Encoding");
        set(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        // A page under `Cross-Origin-Embedder-Policy: require-corp` refuses scripts without it.
        set(
            headers,
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "cross-origin",
        );
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn files_are_sent_as_built_once_and_compressed_if_wanted() {
        let sdk = Sdk(vec![File::new("headwater.js", b"1;1;1;1;1"), File::new("a.wasm", b"\0asm")]);
        let plain = sdk.answer("/headwater.js", &HeaderMap::new());
        assert_eq!(plain.headers()["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(plain.headers()["access-control-allow-origin"], "*");
        assert_eq!(plain.headers()["cross-origin-resource-policy"], "cross-origin");
        let etag = plain.headers()["etag"].to_str().unwrap();
        let again = sdk.answer("/headwater.js", &asked(header::IF_NONE_MATCH, etag));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let gzip = sdk.answer("/headwater.js", &asked(header::ACCEPT_ENCODING, "br, gzip;q=0.8"));
        assert_eq!(gzip.headers()["content-encoding"], "gzip");
        let refused = sdk.answer("/headwater.js", &asked(header::ACCEPT_ENCODING, "gzip;q=0"));
        assert!(!refused.headers().contains_key("content-encoding"));
        assert_eq!(
            sdk.answer("/a.wasm", &HeaderMap::new()).headers()["content-type"],
            "application/wasm"
        );
    }

    #[test]
    fn a_binary_without_the_sdk_says_how_to_get_one() {
        let sdk = Sdk(Vec::new());
        assert!(sdk.is_path("/headwater.js") && !sdk.is_path("/other.js"));
        assert_eq!(sdk.answer("/headwater.js", &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }
}
