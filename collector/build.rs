//! Puts files of npm's into the binary: the browser SDK of `sdk-wasm/dist`, and what the console's pages load.
//! Promises that a checkout where they are not built yet compiles too, with empty lists.
//! Deliberately does not build them: `make build` does, in the right order.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Each under the name that pages ask for, in the order in which they load it.
const CONSOLE: &[(&str, &str)] = &[
    ("htmx.js", "node_modules/htmx.org/dist/htmx.min.js"),
    ("htmx-sse.js", "node_modules/htmx.org/dist/ext/hx-sse.min.js"),
];

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sdk = here.join("../sdk-wasm");
    let dist = watched(sdk.join("dist"), &sdk);
    let mut names: Vec<String> = fs::read_dir(&dist)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| [".js", ".mjs", ".wasm"].iter().any(|kind| name.ends_with(kind)))
        .collect();
    names.sort();
    let files = names.into_iter().map(|name| (name.clone(), dist.join(name)));
    write("sdk_files.rs", files);

    let console = here.join("console");
    watched(console.join("node_modules/htmx.org"), &console);
    let there = CONSOLE.iter().all(|(_, path)| console.join(path).is_file());
    let files = CONSOLE.iter().filter(|_| there);
    let files = files.map(|(name, path)| ((*name).to_owned(), console.join(path)));
    write("console_files.rs", files);
}

/// Builds anew when this changes, or comes to be: a watched path that does not exist would make every build start over.
fn watched(folder: PathBuf, or: &Path) -> PathBuf {
    let watched = if folder.is_dir() { &folder } else { or };
    println!("cargo::rerun-if-changed={}", watched.display());
    folder
}

fn write(list: &str, files: impl Iterator<Item = (String, PathBuf)>) {
    let mut text = String::from("&[");
    for (name, path) in files {
        write!(text, "({name:?}, include_bytes!({path:?})),").expect("a String takes every write");
    }
    text.push(']');
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(Path::new(&out).join(list), text).expect("cargo made OUT_DIR writable");
}
