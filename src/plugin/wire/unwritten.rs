//! Lines that are to be written.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// How many lines are written at once.
const MOST: usize = 32;

/// Lines that are not wholly written.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    lines: VecDeque<Bytes>,
    pushed: u64,
    written: u64,
}

impl Unwritten {
    pub(crate) fn push(&mut self, line: impl Into<Bytes>) {
        let line = line.into();
        self.pushed += line.len() as u64;
        self.lines.push_back(line);
    }

    /// How many bytes were pushed so far.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// How many of them were written.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// How many of them are left.
    pub(crate) fn left(&self) -> u64 {
        self.pushed - self.written
    }

    /// Writes on. Ready when nothing is left.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.lines.is_empty() {
            let mut slices = [IoSlice::new(&[]); MOST];
            for (slice, line) in slices.iter_mut().zip(&self.lines) {
                *slice = IoSlice::new(line);
            }
            let most = self.lines.len().min(MOST);
            let output = Pin::new(&mut *output);
            let mut count = ready!(output.poll_write_vectored(cx, &slices[..most]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count as u64;
            while let Some(first) = self.lines.front_mut().filter(|_| count > 0) {
                let part = count.min(first.len());
                first.advance(part);
                count -= part;
                if first.is_empty() {
                    self.lines.pop_front();
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn all_is_written_however_little_fits() {
        let (mut one, mut other) = duplex(7);
        let mut unwritten = Unwritten::default();
        let lines: Vec<_> = (0..100).map(|number| format!("line {number}\n")).collect();
        lines.iter().for_each(|line| unwritten.push(line.clone()));
        let whole = lines.concat();
        assert_eq!((unwritten.left(), unwritten.written()), (whole.len() as u64, 0));
        let reading = tokio::spawn(async move {
            let mut text = String::new();
            other.read_to_string(&mut text).await.map(|_| text)
        });
        std::future::poll_fn(|cx| unwritten.poll_write(cx, &mut one)).await.unwrap();
        drop(one);
        assert_eq!(reading.await.unwrap().unwrap(), whole);
        assert_eq!((unwritten.left(), unwritten.written()), (0, unwritten.pushed()));
    }
}
