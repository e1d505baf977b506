//! Which request goes where: the whole public face of the collector on one screen.
//! Promises that every path has one answer for every method, and that browsers may read the answers
//! they are meant for. Deliberately does not do any of the work.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, StatusCode, Version,
    body::Body,
    header::{self, HeaderValue},
    http::{request::Parts, uri::Authority},
};

use super::{
    Http,
    answer::{Answer, Failure, allow_origin, empty, ok, preflight, receipt},
    auth,
    body::{self, Held},
    client::{Client, Peer},
    cookie,
    door::Front,
    pixel, read, settings,
    table::{self, Route},
};
use crate::{
    consumer::Standing,
    decode::{Encoding, EventType, Shape},
    ingest::{Incoming, NotTaken, Receipt},
    limits::MAX_BODY_BYTES,
    sources::Source,
};

/// The document that describes all of this.
pub(super) const OPENAPI: &str = include_str!("../../openapi.json");

impl Http {
    /// Answers a request.
    pub(super) async fn answer<B>(&self, request: Request<B>, peer: Peer) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if !is_framed_plainly(request.headers()) {
            let message =
                "a body is sent with its length, or with `Transfer-Encoding: chunked` alone";
            let failure =
                Failure::new(StatusCode::NOT_IMPLEMENTED, "unknown_transfer_encoding", message);
            return failure.with_header(header::CONNECTION, "close").into_answer();
        }
        if !names_one_host(&request) {
            let message = "a request names its host, once";
            let failure = Failure::new(StatusCode::BAD_REQUEST, "bad_host", message);
            return failure.with_header(header::CONNECTION, "close").into_answer();
        }
        let front = self.door.front.get();
        let Some((route, name)) = self.route(&request, &front) else {
            let message = "there is nothing at this path";
            return Failure::new(StatusCode::NOT_FOUND, "not_found", message).into_answer();
        };
        let started = Instant::now();
        let with_credentials = self.with_credentials(&front, request.headers());
        let answer = match (route, request.method()) {
            (
                Route::Ingest(_) | Route::Settings | Route::Seen | Route::Messages,
                &Method::OPTIONS,
            ) => Ok(preflight()),
            (Route::Ingest(shape), &Method::POST) => {
                let taken = self.take(request, shape, peer, &front).await;
                self.vitals.metrics().request_took(started.elapsed());
                taken
            }
            (Route::Pixel(event_type), &Method::GET) => {
                let taken = self.take_pixel(&request, event_type, peer, &front).await;
                self.vitals.metrics().request_took(started.elapsed());
                Ok(pixel::image(taken))
            }
            (Route::Inbound, &Method::POST) => {
                let taken = self.take_inbound(request, peer, &front).await;
                self.vitals.metrics().request_took(started.elapsed());
                taken
            }
            (Route::Seen, &Method::POST) => self.seen(request, peer, &front).await,
            (Route::Messages, &Method::POST) => self.messages(request, peer, &front).await,
            (
                Route::Ingest(_) | Route::Pixel(_) | Route::Seen | Route::Messages | Route::Inbound,
                _,
            ) => Err(wrong_method(route.methods())),
            (Route::Consumers { order: false }, &Method::GET)
            | (Route::Consumers { order: true }, &Method::POST) => self.consumers(request).await,
            (Route::People { order: false }, &Method::GET)
            | (Route::People { order: true }, &Method::POST) => self.people(request).await,
            (Route::Rules { order: false }, &Method::GET)
            | (Route::Rules { order: true }, &Method::POST) => self.rules(&request).await,
            (Route::Suppressions { order: false }, &Method::GET)
            | (Route::Suppressions { order: true }, &Method::POST) => {
                self.suppressions(request).await
            }
            (Route::Decide, &Method::POST) => self.decide_at_once(request, peer, &front).await,
            (
                Route::Consumers { .. }
                | Route::People { .. }
                | Route::Rules { .. }
                | Route::Suppressions { .. }
                | Route::Decide,
                _,
            ) => Err(wrong_method(route.methods())),
            (Route::Console, _) => Ok(self.console(request, peer, &front).await),
            (_, method) if method != Method::GET && method != Method::HEAD => {
                Err(wrong_method(route.methods()))
            }
            (Route::Settings, _) => self.settings(&request, peer, &front),
            (Route::Events, _) => self.read(&request),
            (Route::Live, _) => self.live(&request),
            (Route::Sdk, _) => {
                let (path, _) = within(&front, request.uri().path());
                Ok(self.sdk.answer(path, request.headers()))
            }
            (Route::Healthy, _) => Ok(ok("text/plain", "ok\n")),
            (Route::Ready, _) => Ok(self.ready()),
            (Route::Metrics, _) => {
                for (name, consumer) in &self.consumers {
                    let (words, now) = (&Standing::WORDS, consumer.state());
                    self.vitals.metrics().consumer_state(name.as_str(), words, now);
                }
                if self.vitals.rules_are_due() {
                    self.desk.show_rules(self.vitals.metrics()).await;
                }
                let page = self.vitals.print();
                Ok(ok("application/openmetrics-text; version=1.0.0; charset=utf-8", page))
            }
            (Route::OpenApi, _) => Ok(ok("application/json", OPENAPI)),
        };
        let mut answer = answer.unwrap_or_else(Failure::into_answer);
        if let Route::Ingest(_) | Route::Settings | Route::Seen | Route::Messages = route {
            allow_origin(answer.headers_mut(), with_credentials.as_ref());
        }
        self.vitals.metrics().request(name, answer.status().as_u16());
        answer
    }

    fn route<B>(&self, request: &Request<B>, front: &Front) -> Option<(Route, &'static str)> {
        let (path, prefix) = within(front, request.uri().path());
        let (route, name) = match table::find(path) {
            None if self.sdk.is_path(path) => (Route::Sdk, "sdk"),
            found => found?,
        };
        (prefix.is_empty() || route.is_for_clients()).then_some((route, name))
    }

    /// The origin that may send with its cookies, if there are any and some source takes what it sends.
    fn with_credentials(&self, front: &Front, headers: &HeaderMap) -> Option<HeaderValue> {
        front.cookie.as_ref()?;
        let origin = headers.get(header::ORIGIN)?;
        let text = origin.to_str().ok()?;
        (text != "null" && self.ingest.sources.admit_origin(text)).then(|| origin.clone())
    }

    async fn take<B>(
        &self,
        request: Request<B>,
        shape: Shape,
        peer: Peer,
        front: &Front,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let in_detail = head.uri.query().is_some_and(|query| {
            query.split('&').any(|pair| matches!(pair, "receipt=1" | "receipt=true"))
        });
        let from = Client::of(peer, &head.headers, &front.trusted_proxies);
        let cookie = front.cookie.as_ref().filter(|_| cookie::is_kept(&head.headers));
        let brought = cookie.and_then(|cookie| cookie::brought(cookie, &head.headers));
        let set_cookie = cookie.map(|cookie| cookie::set(cookie, brought.as_deref(), from.secure));
        let (incoming, held) = self.receive(&head, body, shape, &from).await?;
        let taken = self.hand_in(Incoming { cookie: brought, ..incoming }).await?;
        drop(held);
        let mut answer = receipt(&taken, in_detail);
        if let Some(cookie) = set_cookie.flatten() {
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        Ok(answer)
    }

    /// Answers which events are stored.
    async fn seen<B>(
        &self,
        request: Request<B>,
        peer: Peer,
        front: &Front,
    ) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let from = Client::of(peer, &head.headers, &front.trusted_proxies);
        let (incoming, held) = self.receive(&head, body, Shape::Batch, &from).await?;
        let room = self.room(&incoming)?;
        let seen = self.ingest.seen(incoming).await?;
        drop((held, room));
        Ok(receipt(&seen, true))
    }

    /// Reads a request from a source: a stranger's body is not worth any room.
    pub(super) async fn receive<B>(
        &self,
        head: &Parts,
        body: B,
        shape: Shape,
        from: &Client,
    ) -> Result<(Incoming, Held), Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let source = match self.source(&head.headers) {
            Ok(source) => source,
            Err(stranger) => {
                self.let_go_by(head, body).await;
                return Err(stranger);
            }
        };
        let held = self.bodies.of_client(from.address);
        let (body, held) = body::read(body, held, &self.limits).await?;
        let encodings = head.headers.get_all(header::CONTENT_ENCODING).iter();
        let encoding = Encoding::of(encodings.map(HeaderValue::as_bytes), &body)?;
        let (origin, client) = (origin(&head.headers), from.address);
        Ok((Incoming { body, encoding, shape, source, origin, client, cookie: None }, held))
    }

    /// Lets a body that nobody wants go by, so that its sender gets to read why.
    pub(super) async fn let_go_by<B>(&self, head: &Parts, body: B)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Over HTTP/2 he reads the answer at any time, and who waits for a 100 has sent nothing.
        if head.version < Version::HTTP_2 && !head.headers.contains_key(header::EXPECT) {
            body::discard(body, &self.limits).await;
        }
    }

    /// The source whose key the header has, if it has one.
    pub(super) fn source(&self, headers: &HeaderMap) -> Result<Option<Arc<Source>>, Failure> {
        let Some(key) = auth::basic_key(headers)? else { return Ok(None) };
        let source = self.ingest.sources.with_key(&key);
        source.map(Some).ok_or_else(|| NotTaken::UnknownKey.into())
    }

    async fn take_pixel<B>(
        &self,
        request: &Request<B>,
        event_type: EventType,
        peer: Peer,
        front: &Front,
    ) -> Result<(), Failure> {
        let body = pixel::event(request.uri().query())?;
        let encoding = Encoding::of(std::iter::empty(), &body)?;
        let shape = Shape::Single(event_type);
        let headers = request.headers();
        let client = Client::of(peer, headers, &front.trusted_proxies).address;
        let cookie = front.cookie.as_ref().and_then(|cookie| cookie::brought(cookie, headers));
        let origin = origin(headers);
        let incoming = Incoming { body, encoding, shape, source: None, origin, client, cookie };
        self.hand_in(incoming).await.map(drop)
    }

    pub(super) async fn hand_in(&self, incoming: Incoming) -> Result<Receipt, Failure> {
        let room = self.room(&incoming)?;
        let receipt = self.ingest.take(incoming).await?;
        drop(room);
        Ok(receipt)
    }

    /// Room for what comes in: on the disk, and for what a compressed body may become, before it is inflated.
    pub(super) fn room(&self, incoming: &Incoming) -> Result<Option<Held>, Failure> {
        if self.door.disk_nearly_full() {
            return Err(Failure::disk_nearly_full());
        }
        incoming.encoding.map(|_| self.bodies.hold(MAX_BODY_BYTES)).transpose()
    }

    fn settings<B>(
        &self,
        request: &Request<B>,
        peer: Peer,
        front: &Front,
    ) -> Result<Answer, Failure> {
        let (path, prefix) = within(front, request.uri().path());
        let key = settings::key_in(path).unwrap_or_default();
        if self.ingest.sources.with_key(key).is_none() {
            let message = "no source has this write key";
            return Err(Failure::new(StatusCode::NOT_FOUND, "unknown_write_key", message));
        }
        let headers = request.headers();
        let client = Client::of(peer, headers, &front.trusted_proxies);
        // HTTP/2 has it in the request's address.
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = request.uri().authority().map(Authority::as_str).or(host);
        Ok(settings::document(key, host, client.should_use_tls(headers), prefix))
    }

    fn read<B>(&self, request: &Request<B>) -> Result<Answer, Failure> {
        auth::require_admin(request.headers(), &self.door.admins.get())?;
        if request.method() == Method::HEAD {
            return Ok(empty(StatusCode::OK));
        }
        read::events(&self.ingest.log, &self.seats, request.uri().query())
    }

    fn live<B>(&self, request: &Request<B>) -> Result<Answer, Failure> {
        auth::require_admin(request.headers(), &self.door.admins.get())?;
        if request.method() == Method::HEAD {
            return Ok(empty(StatusCode::OK));
        }
        let draining = self.draining.clone();
        read::live(
            &self.ingest.log,
            &self.seats,
            request.uri().query(),
            request.headers(),
            draining,
        )
    }

    /// Whether new events can be taken now: what a load balancer wants to know.
    fn ready(&self) -> Answer {
        let (status, text) = if *self.draining.borrow() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else if !self.ingest.log.is_healthy() {
            (StatusCode::SERVICE_UNAVAILABLE, "the event log cannot be written\n")
        } else if !self.desk.is_folding() {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "events are stored, but people and rules stand still: the log says why\n",
            )
        } else if self.door.disk_nearly_full() {
            (StatusCode::SERVICE_UNAVAILABLE, "the disk is nearly full\n")
        } else {
            (StatusCode::OK, "ready\n")
        };
        let mut answer = ok("text/plain", text);
        *answer.status_mut() = status;
        answer
    }
}

/// The page that sends. What is not text names no page that anyone could have listed.
pub(super) fn origin(headers: &HeaderMap) -> Option<String> {
    let origin = headers.get(header::ORIGIN)?;
    Some(String::from_utf8_lossy(origin.as_bytes()).into_owned())
}

/// Whether there is one reading only of where the body ends. A proxy in front that undoes `chunked, chunked` twice, or not at
/// all, would take what is in the body for a request of its own.
fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let plain = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    encodings.next().is_none_or(plain) && encodings.next().is_none()
}

/// RFC 9112, 3.2: two hosts, or none, are read differently by whoever passes a request on. HTTP/1.0 had none, HTTP/2 may have
/// it in the request's address alone.
fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return request.version() != Version::HTTP_11 };
    let is_host = |host: &[u8]| !host.contains(&b'@') && Authority::try_from(host).is_ok();
    hosts.next().is_none() && (host.is_empty() || is_host(host.as_bytes()))
}

/// The path without the prefix, and the prefix if it had it.
fn within<'p>(front: &'p Front, path: &'p str) -> (&'p str, &'p str) {
    let prefix = front.path_prefix.as_ref();
    let under = prefix.and_then(|prefix| Some((prefix.strip(path)?, prefix.as_str())));
    under.unwrap_or((path, ""))
}

fn wrong_method(allowed: &'static str) -> Failure {
    let message = format!("this path takes {allowed}");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        .with_header(header::ALLOW, allowed)
}
