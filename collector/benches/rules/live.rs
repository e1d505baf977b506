//! Events at a steady rate, and decisions that are waited for meanwhile.
//! Promises that what is late is counted from when it should have left. Knows nothing of who is told of actions.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::{JoinSet, LocalSet},
    time::Instant as At,
};

use crate::{
    load::read_answer,
    visits::{self, Visits},
};

/// Connections that events come by, and those that decisions do.
const EVENTS: u64 = 8;
const DECISIONS: u64 = 64;
/// Events of a request.
const BATCH: u64 = 20;

/// Who sends where, and how fast.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    pub(crate) server: SocketAddr,
    /// Of a page, and of somebody whom decisions are made for.
    pub(crate) keys: (&'a str, &'a str),
    /// Events and decisions a second.
    pub(crate) rate: u64,
    pub(crate) decisions: u64,
    pub(crate) people: u64,
    pub(crate) time: Duration,
}

/// What was sent.
#[derive(Default)]
pub(crate) struct Sent {
    /// By connection, when each request left.
    left: Vec<Vec<Instant>>,
    pub(crate) events: u64,
    /// Events that set a rule off.
    pub(crate) chosen: usize,
    /// How long each decision took, and how many were made within their deadline.
    pub(crate) decided: Vec<Duration>,
}

impl Sent {
    /// When the event with this id left.
    pub(crate) fn when(&self, (connection, event): (usize, usize)) -> Option<Instant> {
        self.left.get(connection)?.get(event / usize::try_from(BATCH).ok()?).copied()
    }
}

/// Sends for that time. Blocks.
pub(crate) fn run(load: Load<'_>) -> anyhow::Result<Sent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = Rc::new(RefCell::new(Sent {
        left: vec![Vec::new(); usize::try_from(EVENTS)?],
        ..Sent::default()
    }));
    let visits = Rc::new(RefCell::new(Visits::new(load.people)));
    LocalSet::new().block_on(&runtime, async {
        let begin = At::now() + Duration::from_millis(200);
        let mut all = JoinSet::new();
        for number in 0..EVENTS {
            let (sent, visits, key) =
                (Rc::clone(&sent), Rc::clone(&visits), load.keys.0.to_owned());
            let pace = Pace::new(begin, load.time, (number, EVENTS), load.rate / BATCH);
            all.spawn_local(events(load.server, key, number, pace, visits, sent));
        }
        for number in 0..DECISIONS {
            let (sent, key) = (Rc::clone(&sent), load.keys.1.to_owned());
            let pace = Pace::new(begin, load.time, (number, DECISIONS), load.decisions);
            all.spawn_local(decisions(load.server, key, (number, load.people), pace, sent));
        }
        while let Some(done) = all.join_next().await {
            done??;
        }
        anyhow::Ok(())
    })?;
    Ok(sent.take())
}

/// When each of a connection's requests leaves.
#[derive(Clone, Copy)]
struct Pace {
    first: At,
    end: At,
    pause: Duration,
}

impl Pace {
    /// Of one of so many connections that together send so many requests a second.
    fn new(begin: At, time: Duration, (number, of): (u64, u64), rate: u64) -> Self {
        let pause = Duration::from_secs(1).mul_f64(of as f64 / rate.max(1) as f64);
        let first = begin + pause.mul_f64(number as f64 / of as f64);
        Self { first, end: begin + time, pause }
    }
}

async fn events(
    server: SocketAddr,
    key: String,
    connection: u64,
    pace: Pace,
    visits: Rc<RefCell<Visits>>,
    sent: Rc<RefCell<Sent>>,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut due, mut number, mut answer) = (pace.first, 0, vec![0; 4096]);
    let place = usize::try_from(connection)?;
    while due < pace.end {
        tokio::time::sleep_until(due).await;
        let mut body = String::from("{\"batch\":[");
        for n in 0..BATCH {
            let mut visits = visits.borrow_mut();
            body.push_str(if n == 0 { "" } else { "," });
            body.push_str(&visits.next(false, (connection, number)).unwrap_or_default());
            sent.borrow_mut().chosen += usize::from(visits::is_chosen(visits.made()));
            number += 1;
        }
        body.push_str(&format!("],\"writeKey\":\"{key}\"}}"));
        let head = format!(
            "POST /v1/batch?receipt=1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        sent.borrow_mut().left[place].push(due.into_std());
        stream.write_all((head + &body).as_bytes()).await?;
        read_answer(&mut stream, &mut answer).await?;
        sent.borrow_mut().events += BATCH;
        due += pace.pause;
    }
    Ok(())
}

async fn decisions(
    server: SocketAddr,
    key: String,
    (connection, people): (u64, u64),
    pace: Pace,
    sent: Rc<RefCell<Sent>>,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let key = BASE64_STANDARD.encode(format!("{key}:"));
    let (mut due, mut number, mut answer) = (pace.first, 0, vec![0; 16_384]);
    while due < pace.end {
        tokio::time::sleep_until(due).await;
        number += 1;
        let person = (number * DECISIONS + connection) % people;
        // As if of connections that send no events.
        let body = visits::decided(person, (0x100 + connection, number));
        let head = format!(
            "POST /v1/decide?deadline_ms=5000 HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {key}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
        read_answer(&mut stream, &mut answer).await?;
        sent.borrow_mut().decided.push(due.elapsed());
        due += pace.pause;
    }
    Ok(())
}
