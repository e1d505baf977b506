//! UniFFI's own command line, of the version that the library was compiled with. Promises nothing of its own.

fn main() {
    uniffi::uniffi_bindgen_main();
}
