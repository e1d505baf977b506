//! Turns the compiled core into what a page loads: `headwater-pack IN.wasm OUT_DIR`, which is `wasm-bindgen` pinned by
//! the lock file instead of a tool that has to be installed. Promises the same bytes for the same input; does not
//! know what the exports mean, nor how the page calls them.

use std::{env, process::ExitCode};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [input, out_dir] = arguments.as_slice() else {
        return fail("usage: headwater-pack IN.wasm OUT_DIR");
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).out_name("headwater").typescript(true).remove_name_section(true);
    let made = bindgen.bundler(true).and_then(|bindgen| bindgen.generate(out_dir));
    made.map_or_else(|error| fail(&format!("{input}: {error:#}")), |()| ExitCode::SUCCESS)
}

#[allow(clippy::print_stderr, reason = "a command line tool tells its caller what went wrong")]
fn fail(message: &str) -> ExitCode {
    eprintln!("headwater-pack: {message}");
    ExitCode::FAILURE
}
