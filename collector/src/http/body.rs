//! Reads a request's body within its limits of size, time and memory.
//! Promises that no client can make the server hold more than the limit, nor wait longer for it.
//! Deliberately does not look at what it reads.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{StatusCode, body::Body};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::answer::Failure;
use crate::{
    decode::DecodeError,
    limits::{HttpLimits, MAX_BODY_BYTES},
};

/// What all bodies together may hold, in KiB: a semaphore counts in 32 bits.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Semaphore>);

/// Gives its bytes back when dropped.
#[derive(Debug)]
pub(super) struct Held(OwnedSemaphorePermit);

/// Beyond a too large body's limit, this much is read and thrown away before it is refused: a server
/// that closes on unread bytes resets the connection, and the client never sees why.
const DISCARDED_AT_MOST: usize = 4 * 1024 * 1024;
/// Steps in which the budget is asked for more.
const HELD_AT_ONCE: usize = 16 * 1024;
/// How soon a full budget may have room again: most requests are gone within milliseconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Budget {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        Self(Arc::new(Semaphore::new(limits.bodies_bytes / 1024)))
    }

    /// Room for `bytes` more, now or not at all.
    pub(super) fn hold(&self, bytes: usize) -> Result<Held, Failure> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0).try_acquire_many_owned(kib);
        permit.map(Held).map_err(|_| Failure::overloaded(RETRY_AFTER))
    }
}

/// Reads all of a body. What it returns is held in the budget as long as the caller keeps `Held`.
pub(super) async fn read<B>(
    mut body: B,
    budget: &Budget,
    limits: &HttpLimits,
) -> Result<(Bytes, Held), Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    // What came counts, not what was announced: announcing costs nothing, and must not keep others out.
    let (mut held, mut held_bytes) = (budget.hold(0)?, 0);
    let deadline = Instant::now() + limits.body_timeout;
    let (mut first, mut text, mut size) = (Bytes::new(), BytesMut::new(), 0_usize);

    loop {
        let idle = Instant::now() + limits.body_idle_timeout;
        let frame = timeout_at(idle.min(deadline), body.frame()).await.map_err(|_| {
            let message = "the body came too slowly";
            Failure::new(StatusCode::REQUEST_TIMEOUT, "slow_body", message)
        })?;
        let data = match frame {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => {
                let message = "the body ended before its announced length";
                return Err(Failure::new(StatusCode::BAD_REQUEST, "broken_body", message));
            }
        };
        size = size.saturating_add(data.len());
        if size > MAX_BODY_BYTES {
            (first, text) = (Bytes::new(), BytesMut::new());
            if size > MAX_BODY_BYTES + DISCARDED_AT_MOST {
                break;
            }
            continue;
        }
        if size > held_bytes {
            let more = (size - held_bytes).max(HELD_AT_ONCE);
            held.0.merge(budget.hold(more)?.0);
            held_bytes += more;
        }
        // Most bodies come in one piece, which needs no copy.
        if first.is_empty() && text.is_empty() {
            first = data;
        } else {
            if text.is_empty() {
                text.extend_from_slice(&std::mem::take(&mut first));
            }
            text.extend_from_slice(&data);
        }
    }
    if size > MAX_BODY_BYTES {
        return Err(DecodeError::BodyTooLarge { limit: MAX_BODY_BYTES }.into());
    }
    Ok((if text.is_empty() { first } else { text.freeze() }, held))
}
