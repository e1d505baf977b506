//! Turns the compiled core into what a page loads.
fn main() {}
