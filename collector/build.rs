//! Puts the browser SDK into the binary: writes a list of the files in `sdk-wasm/dist`.
//! Promises that a checkout where they are not built yet compiles too, with an empty list.
//! Deliberately does not build them: `make build` does, in the right order.

use std::{env, fmt::Write as _, fs, path::Path};

fn main() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-wasm");
    let dist = sdk.join("dist");
    // A watched path that does not exist would make every build start over.
    let watched = if dist.is_dir() { &dist } else { &sdk };
    println!("cargo::rerun-if-changed={}", watched.display());

    let mut names: Vec<String> = fs::read_dir(&dist)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| [".js", ".mjs", ".wasm"].iter().any(|kind| name.ends_with(kind)))
        .collect();
    names.sort();

    let mut list = String::from("&[");
    for name in names {
        let path = dist.join(&name);
        write!(list, "({name:?}, include_bytes!({path:?})),").expect("a String takes every write");
    }
    list.push(']');
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    fs::write(Path::new(&out).join("sdk_files.rs"), list).expect("cargo made OUT_DIR writable");
}
