//! The browser boundary of the core: numbers and bytes only. `js/driver.ts` carries the effects out.
//! Promises that nothing but wasm-bindgen's exports crosses it: no string, no object, no import from the host. Does not
//! know what storage, a request or a page is.
//!
//! One client to a page's wasm instance: to begin anew, the page makes a new instance.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "an allocator hands out memory")]
mod allocator;
pub mod words;

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cell::UnsafeCell;

use headwater_core::platform::{Answer, Input, Now, Request, Turn};
use headwater_core::{Client, Config};
use wasm_bindgen::prelude::wasm_bindgen;
use words::{MAX_ENTRIES, Row, WORDS, int, long};

struct Page {
    words: [f64; WORDS],
    client: Option<Client<Bounds>>,
}

/// Every page's bounds and waits. As constants in the code they take 480 bytes of gzip less than a struct to fill and read.
#[derive(Clone, Copy, Debug)]
struct Bounds;

impl Borrow<Config> for Bounds {
    fn borrow(&self) -> &Config {
        const { &Config { load_limit: MAX_ENTRIES, ..Config::DEFAULT } }
    }
}

struct Only(UnsafeCell<Page>);

// SAFETY: a wasm instance without shared memory has one thread, and so has each test (see `page`).
#[allow(unsafe_code, reason = "a static needs it; one thread")]
unsafe impl Sync for Only {}

static PAGE: Only = Only(UnsafeCell::new(Page { words: [0.0; WORDS], client: None }));

#[allow(
    unsafe_code,
    reason = "the exports have no argument that could carry the client without glue in JavaScript"
)]
fn page() -> &'static mut Page {
    // SAFETY: each export calls this once, nothing it calls calls an export, and there is one thread.
    unsafe { &mut *PAGE.0.get() }
}

/// Where the buffer of [`WORDS`] words lies in linear memory. Inputs are read from it, effects written into it.
#[wasm_bindgen]
pub fn words() -> *const f64 {
    page().words.as_ptr()
}

/// Begins the client's life. The buffer holds four words of 32 random bits, then, if `saved`, the row that the last
/// `Save` brought, without its first word.
#[wasm_bindgen]
pub fn start(saved: bool, monotonic_ms: f64, unix_ms: f64) {
    let Page { words, client } = page();
    let [a, b, c, d, rest @ ..] = &*words;
    let seed = [wide(*a, *b), wide(*c, *d)];
    let state = saved.then(|| words::bytes(rest));
    let new = Client::new(Bounds, seed, state.as_deref(), now(monotonic_ms, unix_ms));
    // There is none to replace: the code that would free one is not worth its bytes.
    core::mem::forget(client.replace(new));
}

/// Gives the client one input. `kind` says which and what `a`, `b` and `c` mean (see `js/core.ts`); entries and receipts
/// are in the buffer. Without a client it does nothing.
#[wasm_bindgen]
pub fn input(kind: u32, a: f64, b: f64, c: f64, monotonic_ms: f64, unix_ms: f64) {
    let Page { words, client } = page();
    let Some(client) = client else { return };
    let now = now(monotonic_ms, unix_ms);
    // Empty vectors cost nothing, and slices of them keep the conversions out of the arms below.
    let (mut tracked, mut loaded, mut listed) = (Vec::new(), Vec::new(), Vec::new());
    match kind {
        0 => tracked.extend(words::entries(words, a).map(|(entry, _)| entry)),
        1 => loaded.extend(words::entries(words, a)),
        4 => listed.extend(words::listed(words, c)),
        _ => {}
    }
    let input = match kind {
        0 => Input::Tracked(&tracked),
        1 => Input::Loaded { entries: &loaded, more: b != 0.0 },
        2 => Input::Changed,
        3 => Input::Committed { turn: Turn(int(a)), durable: b != 0.0 },
        4 => {
            let answer = match u16::try_from(int(b)).unwrap_or(u16::MAX) {
                0 => Answer::Unreachable,
                200..=299 => Answer::Delivered(&listed),
                status => Answer::Refused { status, retry_after_ms: long(c) },
            };
            Input::Answered { request: Request(int(a)), answer }
        }
        5 => Input::Woke,
        6 => Input::Flush,
        7 => Input::Online,
        8 => Input::Leaving,
        9 => Input::Consent(words::consent(a, b)),
        _ => Input::Reset,
    };
    client.handle(input, now);
}

/// Writes the next effects into the buffer, one row behind the other, and says how many words they have; 0 when there is
/// none.
#[wasm_bindgen]
pub fn effects() -> u32 {
    let Page { words, client } = page();
    let Some(client) = client else { return 0 };
    let mut row = Row::new(words);
    while row.has_room()
        && let Some(effect) = client.poll_effect()
    {
        words::row(&effect, client.queue_id(), &mut row);
    }
    u32::try_from(row.len()).unwrap_or(0)
}

fn now(monotonic_ms: f64, unix_ms: f64) -> Now {
    Now { monotonic_ms: long(monotonic_ms), unix_ms: long(unix_ms) }
}

fn wide(high: f64, low: f64) -> u64 {
    u64::from(int(high)) << 32 | u64::from(int(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use words::ENTRY;

    /// The exports share one client, so that one test speaks with it: a page's first event, as `js/driver.ts` sees it.
    #[test]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of words")]
    fn a_page_speaks_with_its_client() {
        let read = || -> Vec<f64> { page().words[..effects() as usize].to_vec() };
        assert!(read().is_empty(), "nothing happens before the start");
        input(2, 0.0, 0.0, 0.0, 0.0, 0.0);

        page().words[..4].copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        start(false, 10.0, 1e12);
        assert_eq!(read(), [6.0, 512.0], "the backlog is asked for first");
        input(1, 0.0, 0.0, 0.0, 11.0, 1e12);
        read();

        page().words[..ENTRY].copy_from_slice(&[1.0, 300.0, 1.0, 1e12, 0.0, 0.0, 0.0, 0.0]);
        input(0, 1.0, 0.0, 0.0, 12.0, 1e12);
        let effects = read();
        assert_eq!(
            effects[..5],
            [1.0, 1.0, 1.0, 1e12, 1.0],
            "stored as number 1, at the start of a session"
        );
        assert_eq!(effects[5], 3.0, "what the next life needs is saved with it: {effects:?}");
        let saved = 7 + (effects[6] / 4.0).ceil() as usize;
        assert_eq!(effects[saved..][..2], [5.0, 1.0], "in one transaction: {effects:?}");

        for kind in 0..12 {
            input(kind, f64::NAN, f64::INFINITY, -1.0, f64::NAN, 1e300);
            while !read().is_empty() {}
        }
    }
}
