//! A server that may be hostile, before the real collector: it passes requests on, or answers as the scenario says. Promises to count
//! every request, and to listen on loopback only. Knows no SDK.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use flate2::read::GzDecoder;
use serde_json::Value;

/// What a request is met with.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// It goes on to the collector, and the collector's answer comes back.
    Up,
    /// The connection is closed without a word.
    Down,
    /// It is taken, and never answered.
    Silent,
    /// It goes on to the collector, and the connection is closed instead of an answer.
    Deaf,
    /// This answer.
    Says(Value),
}

/// One that runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: String,
    mood: Mutex<Mood>,
    /// Moods of the next requests, before that one.
    next: Mutex<VecDeque<Mood>>,
    bodies: Mutex<Vec<Value>>,
    over: AtomicBool,
}

impl Server {
    pub(crate) fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            upstream,
            mood: Mutex::new(Mood::Up),
            next: Mutex::default(),
            bodies: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.over.load(SeqCst) {
                    return;
                }
                let (Ok(stream), state) = (stream, Arc::clone(&serving)) else { continue };
                thread::spawn(move || state.serve(stream));
            }
        });
        Self { address, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on.
    pub(crate) fn set(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    /// For the next request that is met by no earlier one of these.
    pub(crate) fn then(&self, mood: Mood) {
        self.state.next.lock().unwrap().push_back(mood);
    }

    /// The bodies of all requests so far.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.state.bodies.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.over.store(true, SeqCst);
        // So that it looks.
        drop(TcpStream::connect(self.address));
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let Some((path, body)) = read(&mut stream) else { return };
        let mut text = String::new();
        GzDecoder::new(&body[..]).read_to_string(&mut text).expect("bodies are gzip");
        self.bodies.lock().unwrap().push(serde_json::from_str(&text).expect("bodies are JSON"));
        let next = self.next.lock().unwrap().pop_front();
        let mood = next.unwrap_or_else(|| self.mood.lock().unwrap().clone());
        let (status, retry_after, said) = match mood {
            Mood::Down => return,
            Mood::Silent => {
                while !self.over.load(SeqCst) {
                    thread::sleep(Duration::from_millis(50));
                }
                return;
            }
            Mood::Says(answer) => (
                answer["status"].as_u64().unwrap(),
                answer["retryAfter"].as_str().map(str::to_owned),
                answer["body"].as_str().map_or_else(|| answer["body"].to_string(), str::to_owned),
            ),
            Mood::Up | Mood::Deaf => {
                let deaf = matches!(mood, Mood::Deaf);
                let client = reqwest::blocking::Client::new();
                let request = client
                    .post(format!("{}{path}", self.upstream))
                    .header("content-type", "application/json")
                    .header("content-encoding", "gzip");
                let Ok(answer) = request.body(body).send() else { return };
                if deaf {
                    return;
                }
                (answer.status().as_u16().into(), None, answer.text().unwrap_or_default())
            }
        };
        let wait = retry_after.map_or(String::new(), |wait| format!("retry-after: {wait}\r\n"));
        // Whoever was killed meanwhile hears nothing.
        drop(write!(
            stream,
            "HTTP/1.1 {status} x\r\n{wait}content-length: {}\r\nconnection: close\r\n\r\n{said}",
            said.len()
        ));
    }
}

/// One request of HTTP/1.1 with a length; nothing if it ends before.
fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut part = [0; 16_384];
    loop {
        if let Some(end) = all.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
            let path = head.split(' ').nth(1)?.to_owned();
            let length =
                head.split("content-length:").nth(1)?.lines().next()?.trim().parse().ok()?;
            let mut body = all.split_off(end + 4);
            while body.len() < length {
                let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
                body.extend_from_slice(&part[..count]);
            }
            return Some((path, body));
        }
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        all.extend_from_slice(&part[..count]);
    }
}
