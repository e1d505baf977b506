//! What pages load: our style and script, and htmx, out of the binary.
//! Promises that an address names one content for ever, so that browsers ask once. Deliberately does not know how htmx came here:
//! `build.rs` looks for what npm put into `console/node_modules`, and without it the pages work, but not live.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// htmx and its extension, as they were when the binary was built; empty if they were not there.
const VENDORED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console_files.rs"));
const OURS: &[(&str, &[u8])] = &[
    ("console.css", include_bytes!("../../console/console.css")),
    ("console.js", include_bytes!("../../console/console.js")),
    ("mark.svg", include_bytes!("../../console/mark.svg")),
];

/// A file, and the name it has in addresses.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) address: String,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: Bytes,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Files(Vec<File>);

impl Files {
    pub(crate) fn new() -> Self {
        let ours = OURS.iter().map(|(name, bytes)| File::new(name, Bytes::from_static(bytes)));
        let mut all: Vec<_> = ours.collect();
        // One file: htmx goes through the page a moment after it has run, and an extension that comes later is not told of what is there.
        let vendored: Vec<&[u8]> = VENDORED.iter().map(|(_, bytes)| *bytes).collect();
        if !vendored.is_empty() {
            all.push(File::new("htmx.js", vendored.join(&b";\n"[..]).into()));
        }
        Self(all)
    }

    /// The file with this name in its address.
    pub(crate) fn at(&self, address: &str) -> Option<&File> {
        self.0.iter().find(|file| file.address == address)
    }

    /// Addresses of what ends like this, in the order in which a page loads them.
    pub(crate) fn addresses(&self, ending: &str) -> Vec<String> {
        let found = self.0.iter().filter(|file| file.address.ends_with(ending));
        found.map(|file| format!("/console/files/{}", file.address)).collect()
    }

    /// Whether pages can be live.
    pub(crate) fn are_live() -> bool {
        !VENDORED.is_empty()
    }
}

impl File {
    fn new(name: &str, bytes: Bytes) -> Self {
        let hash = Sha256::digest(&bytes);
        let hash: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
        let content_type = match ending {
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/javascript; charset=utf-8",
        };
        Self { address: format!("{stem}-{hash}.{ending}"), content_type, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_has_another_address() {
        let [one, other] = ["a", "b"].map(|text| File::new("console.css", text.into()));
        assert_ne!(one.address, other.address);
        assert_eq!(one.content_type, "text/css; charset=utf-8");
        let files = Files::new();
        let style = files.addresses(".css");
        let name = style[0].strip_prefix("/console/files/").unwrap();
        assert!(files.at(name).is_some() && files.at("console.css").is_none());
    }
}
