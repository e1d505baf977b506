//! What the heads of an HTTP/2 connection's open requests may hold, of which there are many at once.
//! Promises that a head is counted before anything waits, in the room that bodies have, or is let go and refused.
//! Deliberately knows nothing of HTTP/1.1, where a connection has one head, and hyper bounds its fields.

use hyper::{
    HeaderMap, Request, StatusCode,
    body::Incoming,
    header::{HeaderName, HeaderValue},
};

use super::{
    Http,
    answer::Failure,
    body::Held,
    client::{Client, Peer},
};
use crate::limits::{FIELD_BYTES, MAX_HEADERS, REQUEST_BYTES};

impl Http {
    /// Room for an open request, or why there is none; the request is to be dropped then.
    pub(super) fn admit(
        &self,
        request: &mut Request<Incoming>,
        peer: Peer,
    ) -> Result<Held, Failure> {
        let held = self.room_for(request.headers(), peer)?;
        unpin_uri(request);
        Ok(held)
    }

    fn room_for(&self, headers: &HeaderMap, peer: Peer) -> Result<Held, Failure> {
        // By name: browsers may send each cookie as a field of its own.
        if headers.keys_len() > MAX_HEADERS {
            let message = format!("a request has at most {MAX_HEADERS} different header fields");
            return Err(Failure::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "too_many_headers",
                message,
            ));
        }
        let front = self.door.front.get();
        let client = Client::of(peer, headers, &front.trusted_proxies);
        let mut held = self.bodies.of_client(client.address);
        held.grow(size(headers))?;
        Ok(held)
    }
}

/// No less than what a request with these headers holds in memory.
fn size(headers: &HeaderMap) -> usize {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        FIELD_BYTES + name.as_str().len() + value.len()
    };
    REQUEST_BYTES + headers.iter().map(text).sum::<usize>()
}

/// The address is a piece of the frame it came in, all of which it would keep: of Huffman's longest codes, some 16 KB.
fn unpin_uri(request: &mut Request<Incoming>) {
    // What cannot be read again (`OPTIONS *`) is answered at once.
    if let Ok(copy) = request.uri().to_string().parse() {
        *request.uri_mut() = copy;
    }
}
