//! Turns the compiled core into what a page loads, before wasm-opt (`headwater-pack bind IN OUT`: `wasm-bindgen`, pinned by
//! the lock file instead of a tool that has to be installed) and after it (`headwater-pack trim IN OUT`). Promises the same
//! bytes for the same input, and a module that imports nothing; does not know what the exports mean, nor how the page calls them.

use std::{collections::BTreeSet, env, error::Error, fs, process::ExitCode};

use walrus::ir::{Load, Store, Value, Visitor, dfs_in_order};
use walrus::{ConstExpr, DataKind, FunctionBuilder, FunctionKind, Module};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let made = match arguments.as_slice() {
        [step, input, output] if step == "bind" => bind(input, output),
        [step, input, output] if step == "trim" => trim(input, output),
        _ => Err("usage: headwater-pack bind|trim IN.wasm OUT.wasm".into()),
    };
    made.map_or_else(|error| fail(&*error), |()| ExitCode::SUCCESS)
}

fn bind(input: &str, output: &str) -> Result<(), Box<dyn Error>> {
    let mut bindgen = Bindgen::new();
    bindgen.input_path(input).out_name("headwater").typescript(false).bundler(true)?;
    let mut made = bindgen.generate_output()?;
    let module = made.wasm_mut();
    // With numbers alone at the boundary nothing needs wasm-bindgen's own exports, nor the imports behind them.
    let unused = module.exports.iter().filter(|export| export.name.starts_with("__"));
    let unused: Vec<_> = unused.map(|export| export.id()).collect();
    unused.into_iter().for_each(|id| module.exports.delete(id));
    // A letter each: no page reads them.
    module.exports.iter_mut().for_each(|export| export.name.truncate(1));
    module.start = None;
    silence(module);
    walrus::passes::gc::run(module);
    if let Some(import) = module.imports.iter().next() {
        return Err(format!("{input} needs `{}` of the host: numbers only", import.name).into());
    }
    fs::write(output, module.emit_wasm())?;
    Ok(())
}

/// What the standard library calls to say why it panics. Nobody hears it in a page: the panic handler is a trap.
const SAYS_WHY: [&str; 7] = [
    "::panicking::panic",
    "::handle_error",
    "::handle_alloc_error",
    "::capacity_overflow",
    "::assert_failed",
    "_fail",
    "::rust_begin_unwind",
];

/// Makes each of those a trap, so that what they would be given (texts, lengths, places in the source) is not made either:
/// wasm-opt finds that nobody needs it. A tenth of what a page loads.
fn silence(module: &mut Module) {
    let says_why = |name: &String| SAYS_WHY.iter().any(|part| name.contains(part));
    let found: Vec<_> = module
        .funcs
        .iter_local()
        .filter(|(id, _)| module.funcs.get(*id).name.as_ref().is_some_and(says_why))
        .map(|(id, function)| (id, function.ty(), function.args.clone()))
        .collect();
    for (id, ty, arguments) in found {
        let (params, results) = module.types.params_results(ty);
        let (params, results) = (params.to_vec(), results.to_vec());
        let mut trap = FunctionBuilder::new(&mut module.types, &params, &results);
        trap.func_body().unreachable();
        module.funcs.get_mut(id).kind = FunctionKind::Local(trap.local_func(arguments));
    }
}

/// Drops the front of the static data that no instruction can reach: what was to be said in a panic.
fn trim(input: &str, output: &str) -> Result<(), Box<dyn Error>> {
    let mut module = Module::from_file(input)?;
    let mut named = Named::default();
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut named, function, function.entry_block());
    }
    let segments: Vec<_> = module.data.iter().map(|data| data.id()).collect();
    for id in segments {
        let data = module.data.get_mut(id);
        let DataKind::Active { offset: ConstExpr::Value(Value::I32(start)), .. } = &mut data.kind
        else {
            return Err(format!("{input}: static data is not where a linker puts it").into());
        };
        let first = i64::from(*start);
        // A table is read upwards from where it begins, or from a little before it, if its first index is not 0.
        let reached = named.0.range(first - BEFORE_A_TABLE..).next();
        let Some(unused) =
            reached.map_or(Some(data.value.len()), |at| usize::try_from(at - first).ok())
        else {
            continue;
        };
        let unused = unused.min(data.value.len());
        data.value.drain(..unused);
        *start += i32::try_from(unused)?;
    }
    fs::write(output, module.emit_wasm())?;
    Ok(())
}

const BEFORE_A_TABLE: i64 = 256;

/// Every number in the code that could be an address.
#[derive(Default)]
struct Named(BTreeSet<i64>);

impl Visitor<'_> for Named {
    fn visit_value(&mut self, value: &Value) {
        if let Value::I32(value) = value {
            self.0.insert(i64::from(*value));
        }
    }

    fn visit_load(&mut self, load: &Load) {
        self.0.extend(i64::try_from(load.arg.offset));
    }

    fn visit_store(&mut self, store: &Store) {
        self.0.extend(i64::try_from(store.arg.offset));
    }
}

#[allow(clippy::print_stderr, reason = "a command line tool tells its caller what went wrong")]
fn fail(error: &dyn Error) -> ExitCode {
    eprintln!("headwater-pack: {error}");
    ExitCode::FAILURE
}
