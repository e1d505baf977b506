//! A connection's bytes: plain or TLS, with what was read to learn the protocol put back in front.
//! Promises that bytes which the other side does not take end the connection within the write time-out.
//! Deliberately knows nothing of HTTP beyond the 24 bytes with which HTTP/2 begins.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// What carries a connection.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Carrier for T {}

/// How an HTTP/2 connection begins: RFC 9113, 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose protocol is known.
pub(super) struct Stream {
    carrier: Box<dyn Carrier>,
    /// Read already, and not yet handed on.
    begun: Vec<u8>,
    handed: usize,
    write_timeout: Duration,
    /// Set while the other side takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn new(carrier: Box<dyn Carrier>, write_timeout: Duration) -> Self {
        Self { carrier, begun: Vec::new(), handed: 0, write_timeout, stalled: None }
    }

    /// Reads until it is clear whether this is HTTP/2; what was read is read again by whoever comes next.
    pub(super) async fn begins_as_http2(&mut self) -> io::Result<bool> {
        let mut begun = [0; PREFACE.len()];
        let mut size = 0;
        while size < begun.len() {
            match self.carrier.read(&mut begun[size..]).await? {
                0 => break,
                more => size += more,
            }
            if !PREFACE.starts_with(&begun[..size]) {
                break;
            }
        }
        self.begun = begun[..size].to_vec();
        Ok(begun == *PREFACE)
    }

    /// Passes on what a write came to, unless the other side has taken nothing for too long.
    fn in_time<T>(
        &mut self,
        task: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let until = || Box::pin(sleep_until(Instant::now() + self.write_timeout));
        ready!(self.stalled.get_or_insert_with(until).as_mut().poll(task));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.handed < self.begun.len() {
            let end = self.begun.len().min(self.handed + buffer.remaining());
            buffer.put_slice(&self.begun[self.handed..end]);
            self.handed = end;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.carrier).poll_read(task, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.carrier).poll_write(task, bytes);
        self.in_time(task, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.carrier).poll_write_vectored(task, pieces);
        self.in_time(task, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.carrier).poll_flush(task);
        self.in_time(task, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.carrier).poll_shutdown(task);
        self.in_time(task, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_read_to_learn_the_protocol_is_read_again() {
        let h1 = b"PRUNE / HTTP/1.1\r\n\r\n".to_vec();
        for (bytes, http2) in [(PREFACE.to_vec(), true), (h1, false), (b"PRI".to_vec(), false)] {
            let (mut client, server) = tokio::io::duplex(64);
            let mut stream = Stream::new(Box::new(server), Duration::from_secs(1));
            for byte in &bytes {
                client.write_all(&[*byte]).await.unwrap();
            }
            drop(client);
            assert_eq!(stream.begins_as_http2().await.unwrap(), http2);
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, bytes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_takes_nothing_is_let_go_and_a_slow_one_is_not() {
        let (mut client, server) = tokio::io::duplex(4);
        let mut stream = Stream::new(Box::new(server), Duration::from_secs(10));
        let writing = tokio::spawn(async move { stream.write_all(&[7; 40]).await });
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(9)).await;
            client.read_exact(&mut [0; 4]).await.unwrap();
        }
        assert!(!writing.is_finished());
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
