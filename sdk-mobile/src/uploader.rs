//! The built-in HTTP, for the JVM, Swift on Linux and Rust programs, and for Android where it is chosen: a thread that makes each request and
//! says what came of it. Promises that every request ends within its time, that no redirect is followed (an answer counts from the collector
//! alone), that a large answer costs no more than its bound, and that a server which hangs up ends no process. Knows no event.

use std::{error::Error as _, io::Read as _, time::Duration};

use reqwest::{
    blocking::{Client, RequestBuilder},
    redirect::Policy,
};

use crate::{driver::Driver, endpoint::Reach, transport::Answered};

/// Runs until the client is closed.
pub(crate) fn run(driver: &Driver, reach: &Reach) {
    hear_no_broken_pipe();
    #[cfg(target_os = "android")]
    if !crate::verifier::is_set_up() {
        driver.tell_not_sending(
            "TLS is not set up: open the client with Headwater.android(…). Events are kept",
        );
        return;
    }
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
            reach.sends(upload.id, &upload.url);
            let request = client
                .post(&upload.url)
                .header("content-type", "application/json")
                .header("content-encoding", "gzip")
                // Of the request, not of the client: that one begins anew with every byte of an answer that drips.
                .timeout(Duration::from_millis(driver.timeout_ms()))
                .body(upload.body);
            let Ok(Some(sent)) = driver.sent(upload.id) else { continue };
            let (answered, status, cause) = answer(request, sent);
            if let Some(why) = reach.told(upload.id, &answered, status, &cause) {
                driver.tell_not_sending(&why);
            }
            // Closed meanwhile: nobody waits for it.
            drop(driver.complete_upload(upload.id, &answered));
        }
    }
}

/// What came of it; the status, 0 if nobody answered, and then why.
fn answer(request: RequestBuilder, sent: usize) -> (Answered, u16, String) {
    let nobody = |cause: String| (Answered::Unreachable, 0, cause);
    let response = match request.send() {
        Ok(response) => response,
        Err(error) => return nobody(cause(error)),
    };
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after");
    let retry_after = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = String::new();
    // What breaks off is no receipt.
    match response.take(MAX_ANSWER_BYTES).read_to_string(&mut body) {
        Err(error) if status < 400 => nobody(format!("its answer broke off, {error}")),
        _ => (Answered::read(status, retry_after.as_deref(), &body, sent), status, String::new()),
    }
}

/// The end of the chain is what somebody can do something about: a name, a port, a certificate.
fn cause(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let error = error.without_url();
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.dedup();
    causes.split_off(causes.len().saturating_sub(2)).join(": ")
}

/// A connection that the other end has closed is an error to this thread and to those that it starts, and no signal: Rust's own programs
/// ignore it, a Swift or C program dies of it.
fn hear_no_broken_pipe() {
    #[cfg(unix)]
    #[allow(unsafe_code, reason = "the mask of a thread is set by C alone")]
    // SAFETY: the set is initialised before it is read, and lives on this stack; nothing is written through the null pointer.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// A receipt of 800 events that were all refused, each with a page of reasons, is smaller.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
