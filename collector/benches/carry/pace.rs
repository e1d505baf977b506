//! A steady load: requests that leave at their moments, whether or not those before are answered late.
//! Promises that what is late is counted from when it should have left. Knows nothing of who listens.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::Instant};

use crate::{
    events::{Requests, Shape},
    load::read_answer,
};

const CONNECTIONS: u64 = 8;

/// What was sent.
pub(crate) struct Sent {
    /// By connection, when each request left.
    left: Vec<Vec<std::time::Instant>>,
    /// How long each 200 took.
    pub(crate) answered: Vec<Duration>,
}

impl Sent {
    /// How many events.
    pub(crate) fn events(&self) -> usize {
        self.answered.len() * 20
    }

    /// When the event with this id left.
    pub(crate) fn when(&self, (connection, event): (usize, usize)) -> Option<std::time::Instant> {
        self.left.get(connection)?.get(event / 20).copied()
    }
}

/// Sends `rate` events a second for that time. Blocks.
pub(crate) fn run(
    server: SocketAddr,
    write_key: &str,
    rate: u64,
    time: Duration,
) -> anyhow::Result<Sent> {
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let pause = Duration::from_secs(20 * CONNECTIONS) / u32::try_from(rate.max(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begin = Instant::now() + Duration::from_millis(200);
        let mut connections = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let mut requests = Requests::new(connection, Shape::Batches, write_key, now_ms);
            let first = begin + pause * u32::try_from(connection)? / u32::try_from(CONNECTIONS)?;
            connections.spawn(async move {
                let mut stream = TcpStream::connect(server).await?;
                stream.set_nodelay(true)?;
                let (mut left, mut answered, mut answer) = (Vec::new(), Vec::new(), vec![0; 4096]);
                let mut due = first;
                while due < begin + time {
                    tokio::time::sleep_until(due).await;
                    left.push(due.into_std());
                    stream.write_all(requests.next()).await?;
                    read_answer(&mut stream, &mut answer).await?;
                    answered.push(due.elapsed());
                    due += pause;
                }
                anyhow::Ok((usize::try_from(connection)?, left, answered))
            });
        }
        let mut sent =
            Sent { left: vec![Vec::new(); usize::try_from(CONNECTIONS)?], answered: Vec::new() };
        while let Some(done) = connections.join_next().await {
            let (connection, left, answered) = done??;
            sent.left[connection] = left;
            sent.answered.extend(answered);
        }
        Ok(sent)
    })
}
