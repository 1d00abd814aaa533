//! What a plugin says beside its answers, into the log.

use std::{
    io,
    os::fd::AsFd,
    pin::pin,
    task::{Context, Poll},
};

use bytes::{Buf, BytesMut};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};

/// Most that is read of a stream before others have their turn.
const MAX_TURN: usize = 256 << 10;

/// The stderr of a plugin, line by line. It is always read, so the plugin never waits for it.
#[derive(Debug)]
pub(super) struct Log {
    stream: Option<Receiver>,
    bytes: BytesMut,
    /// Longest line; one that is longer is split.
    limit: usize,
}

impl Log {
    pub(super) fn new(stream: Option<Receiver>, limit: usize) -> Self {
        Self { stream, bytes: BytesMut::new(), limit: limit.max(1) }
    }

    /// Reads on, until there is nothing more to be read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, plugin: &str) {
        let mut turn = 0;
        while let Some(stream) = &mut self.stream {
            self.bytes.reserve(8 << 10);
            match pin!(stream.read_buf(&mut self.bytes)).poll(cx) {
                Poll::Ready(Ok(0) | Err(_)) => self.end(plugin),
                Poll::Ready(Ok(count)) => {
                    turn += count;
                    self.write(plugin);
                }
                Poll::Pending => return,
            }
            if turn > MAX_TURN {
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    /// The plugin has ended: what it said before is still there.
    pub(super) fn finish(&mut self, plugin: &str) {
        if let Some(stream) = &self.stream {
            let _ = read_now(stream, &mut self.bytes, MAX_TURN);
            self.write(plugin);
        }
        self.end(plugin);
    }

    fn write(&mut self, plugin: &str) {
        loop {
            let shown = &self.bytes[..self.bytes.len().min(self.limit + 1)];
            let (length, skip) = match shown.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end, 1),
                None if shown.len() > self.limit => (self.limit, 0),
                None => return,
            };
            said(plugin, "stderr", &self.bytes[..length]);
            self.bytes.advance(length + skip);
        }
    }

    fn end(&mut self, plugin: &str) {
        self.stream = None;
        if !self.bytes.is_empty() {
            said(plugin, "stderr", &std::mem::take(&mut self.bytes));
        }
    }
}

/// Logs a line of a plugin, without what would change a terminal.
pub(super) fn said(plugin: &str, stream: &str, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches('\r');
    let shown = line.replace(|c: char| c.is_control() && c != '\t', "\u{fffd}");
    tracing::info!(target: "tower_upstream::plugin", plugin, stream, "{shown}");
}

/// Reads what there is, at most `most` bytes, whatever the runtime knows of it.
pub(super) fn read_now(stream: &impl AsFd, into: &mut BytesMut, most: usize) -> io::Result<()> {
    let mut buffer = [0; 8 << 10];
    let mut count = 0;
    while count < most {
        match rustix::io::read(stream, &mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                into.extend_from_slice(&buffer[..read]);
                count += read;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
