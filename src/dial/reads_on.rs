//! A socket of which the answer is read, though it takes no more of the request.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use crate::error::BrokeWhileSending;

/// A socket that goes on to be read after the other end no longer takes what is written.
///
/// An endpoint may refuse an upload before it has read it: it answers, and closes. What is written after
/// that breaks, while the answer waits to be read, so hyper would tell of the one and not see the other.
/// Here what is written goes nowhere from then on, and reading tells how it ended: with the answer, or with
/// the error, as [`BrokeWhileSending`].
#[derive(Debug)]
pub(crate) struct ReadsOn<I> {
    io: I,
    written: Written,
}

/// What the other end took of what was to be written.
#[derive(Debug)]
enum Written {
    /// Nothing ever. If that breaks, it is no more than a connection that failed.
    Nothing,
    All,
    /// There is more, which waits.
    Part,
    /// No more of it, and what there is goes nowhere.
    NoMore {
        broke: io::ErrorKind,
        /// Something was read after that, which the end of the stream may be a part of.
        heard: bool,
    },
}

impl<I> ReadsOn<I> {
    pub(crate) const fn new(io: I) -> Self {
        Self { io, written: Written::Nothing }
    }

    pub(super) const fn inner(&self) -> &I {
        &self.io
    }

    const fn takes_no_more(&self) -> bool {
        matches!(self.written, Written::NoMore { .. })
    }

    /// What came of writing `length` bytes, to the one that writes.
    #[inline]
    fn took(&mut self, length: usize, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let had_begun = !matches!(self.written, Written::Nothing);
        match &written {
            Poll::Ready(Ok(_)) => self.written = Written::All,
            Poll::Pending if had_begun => self.written = Written::Part,
            Poll::Ready(Err(error)) if had_begun && is_over(error) => {
                self.written = Written::NoMore { broke: error.kind(), heard: false };
                return Poll::Ready(Ok(length));
            }
            _ => {}
        }
        written
    }
}

/// Whether the other end closed or reset the connection.
fn is_over(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
}

impl<I: Read + Unpin> Read for ReadsOn<I> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.takes_no_more() {
            return self.poll_rest(cx, buf);
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        match read {
            Poll::Ready(Err(error)) if is_over(&error) && matches!(self.written, Written::Part) => {
                Poll::Ready(Err(BrokeWhileSending::error(error.kind())))
            }
            read => read,
        }
    }
}

impl<I: Read + Unpin> ReadsOn<I> {
    /// Reads what the other end said before it closed, and then how it ended.
    #[cold]
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // The caller's cursor does not tell how far another one has come.
        let (mut bytes, room) = ([0; 1_024], buf.remaining().min(1_024));
        let mut part = ReadBuf::new(&mut bytes[..room]);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, part.unfilled()));
        let Written::NoMore { broke, heard } = &mut self.written else {
            return Poll::Ready(read);
        };
        // One that had closed before it reset what came later says so.
        let closed = *heard && *broke == io::ErrorKind::BrokenPipe;
        if read.is_ok() && !part.filled().is_empty() {
            *heard = true;
            buf.put_slice(part.filled());
        } else if read.is_err() || !closed {
            return Poll::Ready(Err(BrokeWhileSending::error(*broke)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Write for ReadsOn<I> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes_no_more() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.took(buf.len(), written)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if self.takes_no_more() {
            return Poll::Ready(Ok(length));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.took(length, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.takes_no_more() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.takes_no_more() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
