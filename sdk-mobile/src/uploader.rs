//! The built-in HTTP, for the JVM, Swift on Linux and Rust programs, and for Android where it is chosen: a thread that makes each request and
//! says what came of it, and another one, with a connection of its own, for those whose answers are held back. Promises that every request ends within its time, that no redirect is followed (an answer counts from the collector
//! alone), that a large answer costs no more than its bound, and that a server which hangs up ends no process. Knows no event.

use std::{error::Error as _, io::Read as _, time::Duration};

use reqwest::{blocking::Client, redirect::Policy};

use crate::{
    driver::{Driver, Heard, LISTEN_TIMEOUT_MS, Upload},
    endpoint::Reach,
    transport::Answered,
};

/// Runs until the client is closed.
pub(crate) fn run(driver: &Driver, reach: &Reach) {
    let client = match client() {
        Ok(client) => client,
        Err(why) => return driver.tell_not_sending(why),
    };
    while driver.wait_for_upload() {
        while let Ok(Some(upload)) = driver.next_upload() {
            reach.sends(upload.id, &upload.url);
            let id = upload.id;
            let Ok(Some(sent)) = driver.sent(id) else { continue };
            let (answered, status, cause) = match said(&client, upload, driver.timeout_ms()) {
                Ok((status, retry_after, body)) => {
                    let answered = Answered::read(status, retry_after.as_deref(), &body, sent);
                    (answered, status, String::new())
                }
                Err(cause) => (Answered::Unreachable, 0, cause),
            };
            if let Some(why) = reach.told(id, &answered, status, &cause) {
                driver.tell_not_sending(&why);
            }
            // Closed meanwhile: nobody waits for it.
            drop(driver.complete_upload(id, &answered));
        }
    }
}

/// Asks for messages until the client is closed.
pub(crate) fn listen(driver: &Driver) {
    // Why there is none the other thread has told.
    let Ok(client) = client() else { return };
    while driver.wait_for_listening() {
        let Ok(Some(upload)) = driver.next_listening() else { continue };
        let id = upload.id;
        // Whoever did not answer has the status 0.
        let said = said(&client, upload, LISTEN_TIMEOUT_MS);
        let (status, retry_after, body) = said.unwrap_or_default();
        let answer = Heard { status, retry_after: retry_after.as_deref(), body: &body };
        // Closed meanwhile: nobody waits for it.
        drop(driver.complete_listening(id, &answer));
    }
}

/// The client of a thread, or why there is none.
fn client() -> Result<Client, &'static str> {
    hear_no_broken_pipe();
    #[cfg(target_os = "android")]
    if !crate::verifier::is_set_up() {
        return Err(
            "TLS is not set up: open the client with Headwater.android(…). Events are kept",
        );
    }
    // Whoever installed another one before is right.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        .redirect(Policy::none())
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| "TLS cannot be set up on this machine: use uploads = Host")
}

/// The status, the header `Retry-After` and the body, or why nobody answered.
#[inline(never)]
fn said(
    client: &Client,
    upload: Upload,
    timeout_ms: u64,
) -> Result<(u16, Option<String>, String), String> {
    let request = client
        .post(&upload.url)
        .header("content-type", "application/json")
        .header("content-encoding", upload.encoding)
        // Of the request, not of the client: that one begins anew with every byte of an answer that drips.
        .timeout(Duration::from_millis(timeout_ms))
        .body(upload.body);
    let response = request.send().map_err(cause)?;
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after");
    let retry_after = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = String::new();
    // What breaks off is no receipt.
    match response.take(MAX_ANSWER_BYTES).read_to_string(&mut body) {
        Err(error) if status < 400 => Err(format!("its answer broke off, {error}")),
        _ => Ok((status, retry_after, body)),
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
