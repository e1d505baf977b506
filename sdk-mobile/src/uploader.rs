//! The built-in HTTP, for the JVM, Swift on Linux and Rust programs: a thread that makes each request and says what came of it. Promises
//! that every request ends within its time, that no redirect is followed (an answer counts from the collector alone), and that a large
//! answer costs no more than its bound. Knows no event.

use std::{io::Read as _, time::Duration};

use reqwest::{
    blocking::{Client, RequestBuilder},
    redirect::Policy,
};

use crate::{driver::Driver, transport::Answered};

/// Runs until the client is closed.
pub(crate) fn run(driver: &Driver) {
    // Whoever installed another one before is right.
    drop(rustls::crypto::ring::default_provider().install_default());
    let built = Client::builder()
        .redirect(Policy::none())
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .build();
    let Ok(client) = built else {
        driver.tell_not_sending("TLS cannot be set up on this machine: use uploads = Host");
        return;
    };
    while driver.wait_for_upload() {
        while let Ok(Some(upload)) = driver.next_upload() {
            let request = client
                .post(&upload.url)
                .header("content-type", "application/json")
                .header("content-encoding", "gzip")
                // Of the request, not of the client: that one begins anew with every byte of an answer that drips.
                .timeout(Duration::from_millis(driver.timeout_ms()))
                .body(upload.body);
            let Ok(Some(sent)) = driver.sent(upload.id) else { continue };
            // Closed meanwhile: nobody waits for it.
            drop(driver.complete_upload(upload.id, &answer(request, sent)));
        }
    }
}

fn answer(request: RequestBuilder, sent: usize) -> Answered {
    let Ok(response) = request.send() else { return Answered::Unreachable };
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after");
    let retry_after = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = String::new();
    // What breaks off is no receipt.
    let read = response.take(MAX_ANSWER_BYTES).read_to_string(&mut body);
    if read.is_err() && status < 400 {
        return Answered::Unreachable;
    }
    Answered::read(status, retry_after.as_deref(), &body, sent)
}

/// A receipt of 800 events that were all refused, each with a page of reasons, is smaller.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
