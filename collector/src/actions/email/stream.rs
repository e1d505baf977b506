//! A connection to a mail server, with TLS or before it.
//! Promises the same TLS as every other connection we open, and that nothing which was said before TLS counts after it (RFC 3207). Lettre has
//! TLS of its own, with roots of its own. Deliberately knows of SMTP only what stands before TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::conversation::hello;

/// Bytes of an answer before TLS, all its lines: RFC 5321 lets a line have 512.
const ANSWER: usize = 8 * 1024;

/// What lettre talks to.
#[derive(Debug)]
pub(super) struct Stream {
    inner: Inner,
    /// Read first: lettre expects a greeting, which after STARTTLS has been read.
    greeting: Vec<u8>,
}

#[derive(Debug)]
enum Inner {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self { inner: Inner::Plain(stream), greeting: Vec::new() }
    }

    /// TLS from the first byte.
    pub(super) async fn secure(
        stream: TcpStream,
        name: &ServerName<'static>,
        trust: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let stream = TlsConnector::from(Arc::clone(trust)).connect(name.clone(), stream).await?;
        Ok(Self { inner: Inner::Secure(Box::new(stream)), greeting: Vec::new() })
    }

    /// Says hello, asks for TLS, and insists on it.
    pub(super) async fn start_tls(
        mut stream: TcpStream,
        name: &ServerName<'static>,
        trust: &Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let greeting = answer(&mut stream).await?;
        stream.write_all(format!("EHLO {}\r\n", hello()).as_bytes()).await?;
        answer(&mut stream).await?;
        stream.write_all(b"STARTTLS\r\n").await?;
        answer(&mut stream).await?;
        Ok(Self { greeting, ..Self::secure(stream, name, trust).await? })
    }
}

/// One answer, which has to be a yes. Byte by byte: what follows it is TLS's already, or was put there by someone in between.
async fn answer(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    use tokio::io::AsyncReadExt as _;
    let (mut said, mut line) = (Vec::new(), 0);
    while said.len() < ANSWER {
        said.push(stream.read_u8().await?);
        if said.last() != Some(&b'\n') {
            continue;
        }
        match &said[line..] {
            [b'2', _, _, b'-', ..] => line = said.len(),
            [b'2', ..] => return Ok(said),
            no => {
                let code = String::from_utf8_lossy(&no[..no.len().min(3)]);
                return Err(io::Error::other(format!("it answers {} before TLS", code.trim())));
            }
        }
    }
    Err(io::Error::other("it answers without end before TLS"))
}

impl AsyncTokioStream for Stream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.inner {
            Inner::Plain(stream) => stream.peer_addr(),
            Inner::Secure(stream) => stream.get_ref().0.peer_addr(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let count = buffer.remaining().min(self.greeting.len());
            buffer.put_slice(&self.greeting[..count]);
            self.greeting.drain(..count);
            return Poll::Ready(Ok(()));
        }
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(context),
            Inner::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
