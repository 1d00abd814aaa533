//! A connection that carries messages, one after another.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::frames::{Frames, Malformed};

/// Why no message comes.
#[derive(Debug)]
pub(crate) enum NoMessage {
    /// The connection ended between two messages.
    Ended,
    /// It ended within one.
    BrokeOff,
    /// It failed.
    Failed(io::Error),
    /// What came is none.
    Malformed(Malformed),
}

/// Most bytes that are read before they are asked for.
const MOST_AHEAD: usize = 64 << 10;

/// The messages of a connection, both ways.
#[derive(Debug)]
pub(crate) struct Messages<S> {
    socket: S,
    frames: Frames,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Messages<S> {
    pub(crate) fn new(socket: S) -> Self {
        Self { socket, frames: Frames::default() }
    }

    pub(crate) fn socket(&self) -> &S {
        &self.socket
    }

    pub(crate) fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Polls for the next message, of at most `limit` bytes.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        limit: usize,
    ) -> Poll<Result<Bytes, NoMessage>> {
        loop {
            if let Some(message) = self.take(limit)? {
                return Poll::Ready(Ok(message));
            }
            match ready!(self.poll_fill(cx, limit)) {
                Ok(0) if self.frames.is_empty() => return Poll::Ready(Err(NoMessage::Ended)),
                Ok(0) => return Poll::Ready(Err(NoMessage::BrokeOff)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(NoMessage::Failed(error))),
            }
        }
    }

    /// Reads what has come, though not all if that is much. 0 bytes are the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<io::Result<usize>> {
        let (bytes, room) = self.frames.room(limit);
        bytes.reserve(room);
        let mut room = bytes.limit(room);
        pin!(self.socket.read_buf(&mut room)).poll(cx)
    }

    /// Reads ahead, `MOST_AHEAD` bytes at most, until nothing has come. Returns whether the connection
    /// has ended.
    pub(crate) fn poll_ahead(&mut self, cx: &mut Context<'_>, limit: usize) -> Poll<bool> {
        while self.frames.len() < MOST_AHEAD.min(limit) {
            if !matches!(ready!(self.poll_fill(cx, limit)), Ok(1..)) {
                return Poll::Ready(true);
            }
        }
        Poll::Ready(false)
    }

    /// The next message, of what has been read.
    pub(crate) fn take(&mut self, limit: usize) -> Result<Option<Bytes>, NoMessage> {
        self.frames.take(limit).map_err(NoMessage::Malformed)
    }

    /// Writes on at `message`, of which `written` bytes are written.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: &[u8],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = message.get(*written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *written += count,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Receives the next message.
    ///
    /// # Cancel safety
    /// What came so far is kept.
    pub(crate) async fn receive(&mut self, limit: usize) -> Result<Bytes, NoMessage> {
        poll_fn(|cx| self.poll_receive(cx, limit)).await
    }

    /// Sends a message. Dropped halfway, it leaves half a message behind.
    pub(crate) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut written = 0;
        poll_fn(|cx| self.poll_send(cx, message, &mut written)).await
    }

    /// Whether nothing of a message has come.
    pub(crate) fn is_between(&self) -> bool {
        self.frames.is_empty()
    }

    /// Gives back the memory of messages that are over.
    pub(crate) fn shrink(&mut self) {
        self.frames.shrink();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn messages_come_whole_however_they_are_cut() {
        let (one, mut other) = duplex(7);
        let mut messages = Messages::new(one);
        let text = format!("{{\"data\":\"{}\"}}\n", "x".repeat(10_000)).repeat(3);
        let writer = tokio::spawn(async move {
            other.write_all(text.as_bytes()).await.unwrap();
            other.write_all(b"{\"half").await.unwrap();
        });
        for _ in 0..3 {
            assert_eq!(messages.receive(20_000).await.unwrap().len(), 10_011);
        }
        assert!(matches!(messages.receive(20_000).await, Err(NoMessage::BrokeOff)));
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn the_end_between_two_messages_is_one() {
        let (one, mut other) = duplex(64);
        let mut messages = Messages::new(one);
        messages.send(b"{\"a\":1}\n").await.unwrap();
        other.write_all(b"{}\n\n").await.unwrap();
        drop(other);
        assert_eq!(messages.receive(64).await.unwrap(), "{}");
        assert!(matches!(messages.receive(64).await, Err(NoMessage::Ended)));
    }
}
