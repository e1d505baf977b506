//! Turns the compiled core into what a page loads: `headwater-pack IN.wasm OUT.wasm`, which is `wasm-bindgen` pinned by
//! the lock file instead of a tool that has to be installed. Promises the same bytes for the same input, and a module that
//! imports nothing; does not know what the exports mean, nor how the page calls them.

use std::{env, error::Error, fs, process::ExitCode};

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let made = match arguments.as_slice() {
        [input, output] => pack(input, output),
        _ => Err("usage: headwater-pack IN.wasm OUT.wasm".into()),
    };
    made.map_or_else(|error| fail(&*error), |()| ExitCode::SUCCESS)
}

fn pack(input: &str, output: &str) -> Result<(), Box<dyn Error>> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).out_name("headwater").typescript(false).bundler(true)?;
    let mut made = bindgen.generate_output()?;
    let module = made.wasm_mut();
    // With numbers alone at the boundary nothing needs wasm-bindgen's own exports, nor the imports behind them.
    let unused = module.exports.iter().filter(|export| export.name.starts_with("__"));
    let unused: Vec<_> = unused.map(|export| export.id()).collect();
    unused.into_iter().for_each(|id| module.exports.delete(id));
    module.start = None;
    walrus::passes::gc::run(module);
    if let Some(import) = module.imports.iter().next() {
        return Err(format!("{input} needs `{}` of the host: numbers only", import.name).into());
    }
    fs::write(output, module.emit_wasm())?;
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a command line tool tells its caller what went wrong")]
fn fail(error: &dyn Error) -> ExitCode {
    eprintln!("headwater-pack: {error}");
    ExitCode::FAILURE
}
