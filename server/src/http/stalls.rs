//! A connection that ends if the client does not go on: HTTP has no timeout for who says nothing at first,
//! nor for who does not take an answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// The first bytes of HTTP/2. Other bytes are HTTP/1. After either is known, its own timeouts apply.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream with these two timeouts.
pub struct Stalls<S> {
    stream: S,
    timeout: Duration,
    /// Until the version of HTTP is known.
    opening: Option<Pin<Box<Sleep>>>,
    /// How much of HTTP/2's first bytes has arrived.
    matched: usize,
    /// While the client does not take what is written.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalls<S> {
    /// A stream of a connection that has just begun.
    pub fn new(stream: S, timeout: Duration) -> Self {
        let opening = Some(Box::pin(sleep_until(Instant::now() + timeout)));
        Self { stream, timeout, opening, matched: 0, writing: None }
    }

    /// What a write gave, unless it has not gone on for too long.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let timeout = self.timeout;
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalls<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(timer) = &mut self.opening else { return read };
        if read.is_pending() {
            ready!(timer.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let bytes = &buffer.filled()[before..];
        if PREFACE[self.matched..].starts_with(bytes) && self.matched + bytes.len() < PREFACE.len() {
            self.matched += bytes.len();
        } else {
            self.opening = None;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalls<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.written(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(shut, context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::Stalls;

    const TIMEOUT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn who_says_nothing_at_first_is_not_waited_for() {
        let (mut client, server) = duplex(100);
        let mut server = Stalls::new(server, TIMEOUT);
        client.write_all(b"PRI * HTTP").await.unwrap();
        let mut text = [0; 100];
        assert_eq!(server.read(&mut text).await.unwrap(), 10);
        assert_eq!(server.read(&mut text).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_has_begun_may_pause() {
        let (mut client, server) = duplex(100);
        let mut server = Stalls::new(server, TIMEOUT);
        client.write_all(b"G").await.unwrap();
        let mut text = [0; 100];
        assert_eq!(server.read(&mut text).await.unwrap(), 1);
        tokio::spawn(async move {
            tokio::time::sleep(10 * TIMEOUT).await;
            client.write_all(b"x").await.unwrap();
        });
        assert_eq!(server.read(&mut text).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn who_takes_no_answer_loses_the_connection() {
        let (_client, server) = duplex(100);
        let mut server = Stalls::new(server, TIMEOUT);
        assert_eq!(server.write(&[0; 100]).await.unwrap(), 100);
        assert_eq!(server.write(&[0; 100]).await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_an_answer_slowly_gets_it() {
        let (mut client, server) = duplex(100);
        let mut server = Stalls::new(server, 20 * TIMEOUT);
        let reading = tokio::spawn(async move {
            let mut text = [0; 50];
            for _ in 0..30 {
                tokio::time::sleep(TIMEOUT).await;
                client.read_exact(&mut text).await.unwrap();
            }
        });
        server.write_all(&[0; 1500]).await.unwrap();
        reading.await.unwrap();
    }
}
