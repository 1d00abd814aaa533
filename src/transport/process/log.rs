//! What a plugin says beside its answers, into the log.

use std::{
    borrow::Cow,
    io,
    os::fd::AsFd,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    time::{Sleep, sleep},
};

use super::output::OutputConfig;
use crate::wire::rfc3339;

/// Most that is read of a stream before others have their turn.
const MAX_TURN: usize = 256 << 10;

/// The stderr of a plugin, line by line. It is always read, so the plugin never waits for it.
#[derive(Debug)]
pub(super) struct Log {
    plugin: Arc<str>,
    config: OutputConfig,
    stream: Option<Receiver>,
    bytes: BytesMut,
    /// Runs while the start of a line waits for its end, if that has a limit.
    flush: Option<Pin<Box<Sleep>>>,
}

impl Log {
    pub(super) fn new(plugin: Arc<str>, stream: Receiver, config: OutputConfig) -> Self {
        Self { plugin, config, stream: Some(stream), bytes: BytesMut::new(), flush: None }
    }

    /// Reads on, until there is nothing more to be read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        let mut turn = 0;
        while let Some(stream) = &mut self.stream {
            self.bytes.reserve(8 << 10);
            match pin!(stream.read_buf(&mut self.bytes)).poll(cx) {
                Poll::Ready(Ok(0) | Err(_)) => self.end(),
                Poll::Ready(Ok(count)) => {
                    turn += count;
                    self.write();
                }
                Poll::Pending => return self.poll_flush(cx),
            }
            if turn > MAX_TURN {
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) {
        let wait = self.config.flush_interval;
        if self.bytes.is_empty() || wait.is_zero() {
            return;
        }
        let timer = self.flush.get_or_insert_with(|| Box::pin(sleep(wait)));
        if timer.as_mut().poll(cx).is_ready() {
            self.write_rest();
        }
    }

    /// The plugin has ended: what it said before is still there.
    pub(super) fn finish(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = read_now(stream, &mut self.bytes, MAX_TURN);
            self.write();
        }
        self.end();
    }

    fn write(&mut self) {
        let limit = self.config.max_line_bytes;
        loop {
            let shown = &self.bytes[..self.bytes.len().min(limit + 1)];
            let end = shown.iter().position(|byte| *byte == b'\n');
            let (length, skip) = match end.filter(|_| self.config.line_buffered) {
                Some(end) => (end, 1),
                None if shown.len() > limit => (cut(shown, limit), 0),
                None if self.config.line_buffered => return,
                None => return self.write_rest(),
            };
            self.say("stderr", &self.bytes[..length]);
            self.bytes.advance(length + skip);
            self.flush = None;
        }
    }

    /// Writes what is no line yet.
    fn write_rest(&mut self) {
        self.flush = None;
        if !self.bytes.is_empty() {
            self.say("stderr", &self.bytes);
            self.bytes.clear();
        }
    }

    fn end(&mut self) {
        self.stream = None;
        self.write_rest();
    }

    /// Logs a line of stdout that is no answer.
    pub(super) fn stray(&self, mut line: &[u8]) {
        while !line.is_empty() {
            let length = cut(line, self.config.max_line_bytes);
            self.say("stdout", &line[..length]);
            line = &line[length..];
        }
    }

    /// Logs a part of a stream, without what would change a terminal, or feign an event.
    fn say(&self, stream: &'static str, text: &[u8]) {
        let OutputConfig { stdout, stderr, prefix, prefix_text, timestamps, .. } = &self.config;
        if !if stream == "stdout" { *stdout } else { *stderr } {
            return;
        }
        let text = String::from_utf8_lossy(text);
        let mut shown = shown(text.trim_end_matches(['\r', '\n']));
        if *timestamps {
            shown = format!("[{}] {shown}", timestamp(SystemTime::now())).into();
        }
        if *prefix {
            let prefix = match prefix_text.as_str() {
                "" => format!("[{}]", self.plugin),
                text => text.to_owned(),
            };
            shown = format!("{prefix}:{stream} {shown}").into();
        }
        tracing::info!(target: "tower_upstream::plugin", plugin = &*self.plugin, stream, "{shown}");
    }
}

/// Where to split what is longer than `limit`: not within a character, if it is text.
fn cut(bytes: &[u8], limit: usize) -> usize {
    if bytes.len() <= limit {
        return bytes.len();
    }
    let is_start = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    (limit.saturating_sub(3)..=limit).rev().find(is_start).filter(|at| *at > 0).unwrap_or(limit)
}

fn shown(text: &str) -> Cow<'_, str> {
    let is_odd = |c: char| c.is_control() && c != '\t';
    match text.contains(is_odd) {
        false => text.into(),
        true => text.replace('\n', "\\n").replace(is_odd, "\u{fffd}").into(),
    }
}

/// As Go writes it, in UTC: `2025-09-20 10:00:00.123`.
fn timestamp(at: SystemTime) -> String {
    let text = rfc3339(Some(at));
    let (seconds, rest) = text.split_at(text.len().min(19));
    let digits = rest.trim_start_matches('.').trim_end_matches('Z');
    format!("{}.{:0<3.3}", seconds.replace('T', " "), digits)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_is_that_of_go_in_utc() {
        for (nanos, text) in [
            (0, "2025-09-20 10:00:00.000"),
            (120_000_000, "2025-09-20 10:00:00.120"),
            (123_999_999, "2025-09-20 10:00:00.123"),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::new(1_758_362_400, nanos);
            assert_eq!(timestamp(at), text);
        }
    }

    #[test]
    fn a_character_is_not_split() {
        assert_eq!(cut("aé".as_bytes(), 3), 3);
        assert_eq!(cut("aéb".as_bytes(), 2), 1);
        assert_eq!(cut("a🦀b".as_bytes(), 4), 1);
        assert_eq!(cut("🦀".as_bytes(), 2), 2);
        assert_eq!(cut(&[0x80; 9], 5), 5);
    }
}
