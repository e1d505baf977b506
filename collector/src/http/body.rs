//! Reads a request's body within its limits of size, time and memory.
//! Promises that no client can make the server hold more than the limit, nor wait longer for it, nor take the room of all
//! others.
//! Deliberately does not look at what it reads.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{StatusCode, body::Body};
use tokio::time::{Instant, timeout_at};

use super::answer::Failure;
use crate::{
    decode::DecodeError,
    limits::{BODIES_SHARE, HttpLimits, LISTENERS_SHARE, MAX_BODY_BYTES},
};

/// What all bodies together may hold, and each client of it: so that one of them cannot keep all others out.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    limit: usize,
    all: AtomicUsize,
    share: usize,
    /// By the hash of an address. Two that meet in one place share a share: the seed keeps anyone from choosing with whom.
    shares: Box<[AtomicUsize]>,
    seed: RandomState,
}

/// Gives its bytes back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    budget: Budget,
    /// `None` counts for no client.
    place: Option<usize>,
    bytes: usize,
}

/// Beyond a too large body's limit, this much is read and thrown away before it is refused: a server
/// that closes on unread bytes resets the connection, and the client never sees why.
const DISCARDED_AT_MOST: usize = 4 * 1024 * 1024;
/// Clients that are told apart at once, 32 KB of counters: one of a thousand meets with another in one of four times as many.
const PLACES: u64 = 4096;
/// Steps in which the budget is asked for more.
const HELD_AT_ONCE: usize = 16 * 1024;
/// How soon a full budget may have room again: most requests are gone within milliseconds.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Budget {
    pub(super) fn new(limits: &HttpLimits) -> Self {
        Self::with(limits.bodies_bytes, (limits.bodies_bytes / BODIES_SHARE).max(MAX_BODY_BYTES))
    }

    /// For those who wait for messages: half of all connections, so that the others stay for who sends.
    pub(super) fn of_listeners(limits: &HttpLimits) -> Self {
        let all = limits.connections / 2;
        Self::with(all, (all / LISTENERS_SHARE).max(1))
    }

    fn with(limit: usize, share: usize) -> Self {
        Self(Arc::new(Kept {
            limit,
            all: AtomicUsize::new(0),
            share,
            shares: (0..PLACES).map(|_| AtomicUsize::new(0)).collect(),
            seed: RandomState::new(),
        }))
    }

    /// Room for a body that nobody can keep under way: now or not at all.
    pub(super) fn hold(&self, bytes: usize) -> Result<Held, Failure> {
        let mut held = self.trusted();
        held.grow(bytes)?;
        Ok(held)
    }

    /// Nothing yet, for someone who has shown that he may.
    pub(super) fn trusted(&self) -> Held {
        Held { budget: self.clone(), place: None, bytes: 0 }
    }

    /// Nothing yet, for whoever is at this address. Those whose address is hidden are one.
    pub(super) fn of_client(&self, address: Option<IpAddr>) -> Held {
        let hash = self.0.seed.hash_one(address.map(network));
        let place = usize::try_from(hash % PLACES).ok();
        Held { budget: self.clone(), place, bytes: 0 }
    }
}

impl Held {
    fn share(&self) -> Option<&AtomicUsize> {
        self.place.map(|place| &self.budget.0.shares[place])
    }

    /// Takes room for so many bytes more, now or not at all.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        let kept = &*self.budget.0;
        if self.share().is_some_and(|share| !add(share, bytes, kept.share)) {
            return Err(Failure::too_many_bodies(RETRY_AFTER));
        }
        if !add(&kept.all, bytes, kept.limit) {
            self.share().map(|share| share.fetch_sub(bytes, Ordering::Relaxed));
            return Err(Failure::overloaded(RETRY_AFTER));
        }
        self.bytes += bytes;
        Ok(())
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.share().map(|share| share.fetch_sub(bytes, Ordering::Relaxed));
        self.budget.0.all.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

fn add(held: &AtomicUsize, bytes: usize, limit: usize) -> bool {
    let more = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= limit);
    held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

/// What one client can have many addresses of: a network of IPv6 is given to one household or machine.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Reads all of a body. What it returns is held in the budget as long as the caller keeps `Held`.
pub(super) async fn read<B>(
    body: B,
    held: Held,
    limits: &HttpLimits,
) -> Result<(Bytes, Held), Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    read_at_most(MAX_BODY_BYTES, body, held, limits).await
}

/// The same of a body with another limit.
pub(super) async fn read_at_most<B>(
    most: usize,
    mut body: B,
    mut held: Held,
    limits: &HttpLimits,
) -> Result<(Bytes, Held), Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    // What came counts, not what was announced: announcing costs nothing, and must not keep others out.
    let mut reading = Reading { size: 0, deadline: Instant::now() + limits.body_timeout };
    let (mut first, mut text) = (Bytes::new(), BytesMut::new());
    while let Some(data) = reading.next(&mut body, limits).await? {
        let grown = if reading.size > most {
            Err(DecodeError::BodyTooLarge { limit: most }.into())
        } else if reading.size > held.bytes {
            held.grow((reading.size - held.bytes).max(HELD_AT_ONCE))
        } else {
            Ok(())
        };
        if let Err(refused) = grown {
            drop((first, text, data));
            held.give_back();
            reading.discard(&mut body, limits).await;
            return Err(refused);
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
    Ok((if text.is_empty() { first } else { text.freeze() }, held))
}

/// Lets a body that is refused already go by, without keeping any of it, so that its sender gets to read why.
pub(super) async fn discard<B>(mut body: B, limits: &HttpLimits)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut reading = Reading { size: 0, deadline: Instant::now() + limits.body_timeout };
    reading.discard(&mut body, limits).await;
}

/// A body under way.
struct Reading {
    size: usize,
    deadline: Instant,
}

impl Reading {
    async fn next<B>(&mut self, body: &mut B, limits: &HttpLimits) -> Result<Option<Bytes>, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let idle = Instant::now() + limits.body_idle_timeout;
        let frame = timeout_at(idle.min(self.deadline), body.frame()).await.map_err(|_| {
            let message = "the body came too slowly";
            Failure::new(StatusCode::REQUEST_TIMEOUT, "slow_body", message)
        })?;
        let data = match frame {
            None => return Ok(None),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => {
                let message = "the body ended before its announced length";
                return Err(Failure::new(StatusCode::BAD_REQUEST, "broken_body", message));
            }
        };
        self.size = self.size.saturating_add(data.len());
        Ok(Some(data))
    }

    async fn discard<B>(&mut self, body: &mut B, limits: &HttpLimits)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        while self.size <= MAX_BODY_BYTES + DISCARDED_AT_MOST
            && let Ok(Some(_)) = self.next(body, limits).await
        {}
    }
}
