//! Reads lines, has each answered, and writes the answers as they come.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    task::JoinSet,
    time::{Sleep, sleep},
};

use super::{answer, config::StdioConfig};
use crate::plugin::wire::{
    lines::{Line, Lines},
    process::id_at_start,
    text,
    unwritten::Unwritten,
};

/// No more is read while so many bytes of answers are to be written.
const MAX_UNWRITTEN: u64 = 1 << 20;

/// Has the lines of `input` answered by tasks that `spawn` starts, until it ends, or `stop` completes. Then
/// the answers are waited for.
pub(super) async fn run<R, W>(
    input: R,
    output: W,
    config: &StdioConfig,
    spawn: impl Fn(&mut JoinSet<Vec<u8>>, String),
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut run = Run {
        input: Some(input),
        output,
        config,
        lines: Lines::default(),
        tasks: JoinSet::new(),
        unwritten: Unwritten::default(),
        drain: None,
    };
    let mut stop = pin!(stop);
    poll_fn(|cx| run.poll(cx, &spawn, stop.as_mut())).await
}

struct Run<'a, R, W> {
    /// `None` once no more is read.
    input: Option<R>,
    output: W,
    config: &'a StdioConfig,
    lines: Lines,
    tasks: JoinSet<Vec<u8>>,
    unwritten: Unwritten,
    drain: Option<Pin<Box<Sleep>>>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Run<'_, R, W> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        spawn: &impl Fn(&mut JoinSet<Vec<u8>>, String),
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_some() && stop.poll(cx).is_ready() {
            // What has not been read is left in the pipe, where the host can tell that.
            self.input = None;
        }
        loop {
            let is_read = self.poll_read(cx, spawn)?;
            let is_answered = self.poll_answers(cx);
            if let Poll::Ready(written) = self.unwritten.poll_write(cx, &mut self.output) {
                written?;
            }
            // What was read or answered just now may go on at once.
            if is_read.is_pending() && is_answered.is_pending() {
                break;
            }
        }
        if self.input.is_some() {
            return Poll::Pending;
        }
        if self.tasks.is_empty() && self.unwritten.left() == 0 {
            return Pin::new(&mut self.output).poll_flush(cx);
        }
        let drain = self.drain.get_or_insert_with(|| Box::pin(sleep(self.config.drain_timeout)));
        ready!(drain.as_mut().poll(cx));
        let calls = self.tasks.len();
        tracing::warn!(calls, "dropped calls that took longer than `drain_timeout`");
        Poll::Ready(Ok(()))
    }

    /// Reads on, as long as there is room for more calls. Ready if there may be more at once.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        spawn: &impl Fn(&mut JoinSet<Vec<u8>>, String),
    ) -> Poll<io::Result<()>> {
        let has_room = |run: &Self| {
            run.tasks.len() < run.config.max_calls && run.unwritten.left() < MAX_UNWRITTEN
        };
        while has_room(self) {
            let Some(line) = self.lines.take(self.config.max_line_bytes) else { break };
            self.begin(line, spawn);
        }
        let room = has_room(self);
        let Some(input) = self.input.as_mut().filter(|_| room) else { return Poll::Pending };
        if ready!(pin!(input.read_buf(self.lines.room())).poll(cx))? == 0 {
            self.input = None;
            if let Some(rest) = self.lines.rest() {
                self.begin(Line::Whole(rest), spawn);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn begin(&mut self, line: Line, spawn: &impl Fn(&mut JoinSet<Vec<u8>>, String)) {
        match line {
            Line::Whole(line) => {
                let text = text(&line);
                if !text.trim_ascii().is_empty() {
                    spawn(&mut self.tasks, text.into_owned());
                }
            }
            Line::TooLong(start) => {
                let id = id_at_start(&String::from_utf8_lossy(&start)).unwrap_or_default();
                let most = self.config.max_line_bytes;
                let text = format!("this is no call: it has more than {most} bytes");
                self.unwritten.push(answer::failed(&id, &text));
            }
        }
    }

    /// Collects answers. Ready if there were any.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut answers = 0;
        while let Poll::Ready(Some(ended)) = self.tasks.poll_join_next(cx) {
            // None panics: that is caught, and answered.
            ended.into_iter().for_each(|line| self.unwritten.push(line));
            answers += 1;
        }
        if answers > 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}
