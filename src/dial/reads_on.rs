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
    /// Something was written. A socket that never took anything is no more than a failed connection.
    wrote: bool,
    broke: Option<Broke>,
}

#[derive(Debug)]
struct Broke {
    of: io::ErrorKind,
    /// Something was read after that, which the end of the stream may be a part of.
    heard: bool,
}

impl<I> ReadsOn<I> {
    pub(crate) const fn new(io: I) -> Self {
        Self { io, wrote: false, broke: None }
    }

    pub(super) const fn inner(&self) -> &I {
        &self.io
    }

    /// What `written` means for the one that writes `length` bytes.
    fn took(&mut self, length: usize, written: io::Result<usize>) -> io::Result<usize> {
        match written {
            Err(error) if self.breaks(&error) => Ok(length),
            written => {
                self.wrote |= written.is_ok();
                written
            }
        }
    }

    fn breaks(&mut self, error: &io::Error) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        let of = error.kind();
        let breaks = self.wrote && matches!(of, BrokenPipe | ConnectionReset | ConnectionAborted);
        if breaks {
            self.broke = Some(Broke { of, heard: false });
        }
        breaks
    }
}

impl<I: Read + Unpin> Read for ReadsOn<I> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.broke {
            Some(_) => self.poll_rest(cx, buf),
            None => Pin::new(&mut self.io).poll_read(cx, buf),
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
        let Some(broke) = &mut self.broke else { return Poll::Ready(read) };
        let closed_in_peace = broke.heard && broke.of == io::ErrorKind::BrokenPipe;
        if read.is_ok() && !part.filled().is_empty() {
            broke.heard = true;
            buf.put_slice(part.filled());
        } else if read.is_err() || !closed_in_peace {
            return Poll::Ready(Err(BrokeWhileSending::new(broke.of)));
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
        if self.broke.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        Poll::Ready(self.took(buf.len(), written))
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = || bufs.iter().map(|buf| buf.len()).sum();
        if self.broke.is_some() {
            return Poll::Ready(Ok(length()));
        }
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        Poll::Ready(self.took(length(), written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.broke {
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.broke {
            Some(_) => Poll::Ready(Ok(())),
            None => Pin::new(&mut self.io).poll_shutdown(cx),
        }
    }
}
