//! Which request goes where: the whole public face of the collector on one screen.
//! Promises that every path has one answer for every method, and that browsers may read the answers
//! they are meant for. Deliberately does not do any of the work.

use std::time::Instant;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Body,
    header::{self, HeaderValue},
};

use super::{
    Http,
    answer::{Answer, Failure, allow_any_origin, empty, ok, preflight, receipt},
    auth, body, consumers, pixel, read, settings,
};
use crate::{
    consumer::Standing,
    decode::{Encoding, EventType, Shape},
    ingest::{Incoming, Receipt},
    limits::MAX_BODY_BYTES,
};

/// What a path stands for.
enum Route {
    Ingest(Shape),
    Pixel(EventType),
    Settings,
    Events,
    Live,
    Sdk,
    Healthy,
    Ready,
    Metrics,
    Consumers,
}

impl Http {
    /// Answers a request.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Some((route, name)) = self.route(request.uri().path()) else {
            let message = "there is nothing at this path";
            return Failure::new(StatusCode::NOT_FOUND, "not_found", message).into_answer();
        };
        let started = Instant::now();
        let answer = match (&route, request.method()) {
            (Route::Ingest(_), &Method::OPTIONS) => Ok(preflight()),
            (&Route::Ingest(shape), &Method::POST) => {
                let taken = self.take(request, shape).await;
                self.vitals.metrics().request_took(started.elapsed());
                taken
            }
            (Route::Ingest(_), _) => Err(wrong_method("POST, OPTIONS")),
            // Not HEAD: it asks what a GET would say, and must not be an event.
            (&Route::Pixel(event_type), &Method::GET) => {
                let taken = self.take_pixel(&request, event_type).await;
                self.vitals.metrics().request_took(started.elapsed());
                Ok(pixel::image(taken))
            }
            (Route::Pixel(_), _) => Err(wrong_method("GET")),
            (Route::Settings, &Method::OPTIONS) => Ok(preflight()),
            (Route::Consumers, _) => self.consumers(request).await,
            (_, method) if method != Method::GET && method != Method::HEAD => {
                Err(wrong_method("GET, HEAD"))
            }
            (Route::Settings, _) => self.settings(&request),
            (Route::Events, _) => self.read(&request),
            (Route::Live, _) => self.live(&request),
            (Route::Sdk, _) => Ok(self.sdk.answer(request.uri().path(), request.headers())),
            (Route::Healthy, _) => Ok(ok("text/plain", "ok\n")),
            (Route::Ready, _) => Ok(self.ready()),
            (Route::Metrics, _) => {
                for (name, consumer) in &self.consumers {
                    let (words, now) = (&Standing::WORDS, consumer.state());
                    self.vitals.metrics().consumer_state(name.as_str(), words, now);
                }
                let page = self.vitals.print();
                Ok(ok("application/openmetrics-text; version=1.0.0; charset=utf-8", page))
            }
        };
        let mut answer = answer.unwrap_or_else(Failure::into_answer);
        if let Route::Ingest(_) | Route::Settings = route {
            allow_any_origin(answer.headers_mut());
        }
        self.vitals.metrics().request(name, answer.status().as_u16());
        answer
    }

    fn route(&self, path: &str) -> Option<(Route, &'static str)> {
        Some(match path {
            "/v1/events" => (Route::Events, "events"),
            "/v1/live" => (Route::Live, "live"),
            "/healthz" => (Route::Healthy, "healthz"),
            "/readyz" => (Route::Ready, "readyz"),
            "/metrics" => (Route::Metrics, "metrics"),
            path if consumers::is_path(path) => (Route::Consumers, "consumers"),
            path if self.sdk.is_path(path) => (Route::Sdk, "sdk"),
            path if settings::key_in(path).is_some() => (Route::Settings, "settings"),
            path => match path.strip_prefix("/v1/")? {
                "batch" | "b" => (Route::Ingest(Shape::Batch), "batch"),
                "import" => (Route::Ingest(Shape::Batch), "import"),
                word => match word.strip_prefix("pixel/") {
                    Some(word) => (Route::Pixel(EventType::from_word(word)?), "pixel"),
                    None => {
                        let event_type = event_type_of(word)?;
                        (Route::Ingest(Shape::Single(event_type)), event_type.as_str())
                    }
                },
            },
        })
    }

    async fn take<B>(&self, request: Request<B>, shape: Shape) -> Result<Answer, Failure>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let in_detail = head.uri.query().is_some_and(|query| {
            query.split('&').any(|pair| matches!(pair, "receipt=1" | "receipt=true"))
        });
        let (body, held) = body::read(body, &self.bodies).await?;
        let key = auth::basic_key(&head.headers)?;
        let encodings = head.headers.get_all(header::CONTENT_ENCODING).iter();
        let encoding = Encoding::of(encodings.map(HeaderValue::as_bytes), &body)?;
        let taken = self
            .hand_in(Incoming { body, encoding, shape, key, origin: origin(&head.headers) })
            .await?;
        drop(held);
        Ok(receipt(&taken, in_detail))
    }

    async fn take_pixel<B>(
        &self,
        request: &Request<B>,
        event_type: EventType,
    ) -> Result<(), Failure> {
        let body = pixel::event(request.uri().query())?;
        let encoding = Encoding::of(std::iter::empty(), &body)?;
        let shape = Shape::Single(event_type);
        self.hand_in(Incoming {
            body,
            encoding,
            shape,
            key: None,
            origin: origin(request.headers()),
        })
        .await
        .map(drop)
    }

    async fn hand_in(&self, incoming: Incoming) -> Result<Receipt, Failure> {
        // What a compressed body may become is held before it is inflated.
        let inflated = incoming.encoding.map(|_| self.bodies.hold(MAX_BODY_BYTES)).transpose()?;
        let receipt = self.ingest.take(incoming).await?;
        drop(inflated);
        Ok(receipt)
    }

    fn settings<B>(&self, request: &Request<B>) -> Result<Answer, Failure> {
        let key = settings::key_in(request.uri().path()).unwrap_or_default();
        if self.ingest.sources.with_key(key).is_none() {
            let message = "no source has this write key";
            return Err(Failure::new(StatusCode::NOT_FOUND, "unknown_write_key", message));
        }
        Ok(settings::document(key, request.headers()))
    }

    fn read<B>(&self, request: &Request<B>) -> Result<Answer, Failure> {
        auth::require_admin(request.headers(), &self.admin_token_hash)?;
        if request.method() == Method::HEAD {
            return Ok(empty(StatusCode::OK));
        }
        read::events(&self.ingest.log, request.uri().query())
    }

    fn live<B>(&self, request: &Request<B>) -> Result<Answer, Failure> {
        auth::require_admin(request.headers(), &self.admin_token_hash)?;
        if request.method() == Method::HEAD {
            return Ok(empty(StatusCode::OK));
        }
        let draining = self.draining.clone();
        read::live(&self.ingest.log, request.uri().query(), request.headers(), draining)
    }

    /// Whether new events can be taken now: what a load balancer wants to know.
    fn ready(&self) -> Answer {
        let (status, text) = if *self.draining.borrow() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else if !self.ingest.log.is_healthy() {
            (StatusCode::SERVICE_UNAVAILABLE, "the event log cannot be written\n")
        } else {
            (StatusCode::OK, "ready\n")
        };
        let mut answer = ok("text/plain", text);
        *answer.status_mut() = status;
        answer
    }
}

/// The page that sends. What is not text names no page that anyone could have listed.
fn origin(headers: &HeaderMap) -> Option<String> {
    let origin = headers.get(header::ORIGIN)?;
    Some(String::from_utf8_lossy(origin.as_bytes()).into_owned())
}

/// `/v1/track`, or `/v1/t` as Segment's own SDKs have it.
fn event_type_of(word: &str) -> Option<EventType> {
    EventType::ALL.into_iter().find(|known| {
        let long = known.as_str();
        word == long || word == &long[..1]
    })
}

fn wrong_method(allowed: &'static str) -> Failure {
    let message = format!("this path takes {allowed}");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        .with_header(header::ALLOW, allowed)
}
