//! Connections: accepted, bounded in number and time, and drained at the end.
//! Promises that no client can hold a connection without sending, and that a request that has begun
//! when the server is told to stop is finished, within a stated time. Deliberately knows nothing of
//! SQL, sinks or segment files.

mod answer;
mod auth;
mod body;
mod client;
mod connection;
mod console;
mod console_choice;
mod console_decisions;
mod console_firings;
mod console_live;
mod console_operating;
mod console_rules;
mod console_sign_in;
mod consumers;
mod cookie;
mod door;
mod follow;
mod heads;
mod inbound;
mod messages;
mod people;
mod pixel;
mod query;
mod read;
mod routes;
mod rules;
mod sdk;
mod settings;
mod stream;
mod suppressions;
mod table;
mod tls;

use std::{sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    console::Console,
    consumer::Consumers,
    desk::Desk,
    inbound::Inbounds,
    ingest::Ingest,
    limits::{DRAIN, HttpLimits},
    vitals::Vitals,
};

pub(crate) use door::{Door, Lookout};
pub use tls::TlsError;

/// What requests need.
pub(crate) struct Http {
    ingest: Ingest,
    inbounds: Inbounds,
    door: Arc<Door>,
    limits: HttpLimits,
    vitals: Vitals,
    draining: watch::Receiver<bool>,
    sdk: sdk::Sdk,
    bodies: body::Budget,
    /// Devices that wait for messages, each counted as one.
    listeners: body::Budget,
    seats: read::Seats,
    consumers: Consumers,
    desk: Desk,
    console: Arc<Console>,
}

/// After an error of `accept`, which is nearly always "too many open files": some close meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Http {
    pub(crate) fn new(
        ingest: Ingest,
        inbounds: Inbounds,
        door: Arc<Door>,
        limits: HttpLimits,
        vitals: Vitals,
        draining: watch::Receiver<bool>,
        (consumers, desk): (Consumers, Desk),
    ) -> Self {
        let (sdk, bodies) = (sdk::Sdk::new(), body::Budget::new(&limits));
        let listeners = body::Budget::of_listeners(&limits);
        let seats = read::Seats::new(&limits);
        let console = Arc::new(Console::new());
        Self {
            ingest,
            inbounds,
            door,
            limits,
            vitals,
            draining,
            sdk,
            bodies,
            listeners,
            seats,
            consumers,
            desk,
            console,
        }
    }

    /// Serves until draining begins, then finishes what has begun.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let http = Arc::new(self);
        let mut draining = http.draining.clone();
        let room = Arc::new(Semaphore::new(http.limits.connections));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                // First, so that a flood of connections cannot put off the end.
                biased;
                () = async { drop(draining.wait_for(|draining| *draining).await) } => break,
                Some(_) = connections.join_next() => continue,
                accepted = async {
                    let room = Arc::clone(&room).acquire_owned().await;
                    (room, listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(room), Ok((stream, peer))) => {
                    let http = Arc::clone(&http);
                    connections.spawn(async move {
                        if let Err(error) = http.serve_connection(stream, peer).await {
                            // A client that went away, or spoke no HTTP. Its events are with it.
                            tracing::debug!(%error, "a connection ended early");
                        }
                        drop(room);
                    });
                }
                (_, Err(error)) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(_closed), _) => break,
            }
        }
        drop(listener);
        let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(connections = connections.len(), "cut connections that did not end");
        }
    }
}
