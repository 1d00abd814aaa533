//! What is written to one child, and read from it, until it ends.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    process::ExitStatus,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use rustix::{
    event::{PollFd, PollFlags},
    process::Signal,
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::{Receiver, Sender},
    time::{Sleep, sleep, timeout},
};

use super::{
    config::{Multiplex, ProcessConfig},
    letters::Letters,
    log::{Log, read_now},
    state::Shared,
    talk::{Heard, Talk},
};
use crate::{
    child::{Child, Pipes},
    error::{Code, Error, Kind},
    plugin::{
        PluginInfo,
        wire::{
            lines::{Line, Lines},
            unwritten::Unwritten,
        },
    },
};

/// No more calls are taken while so much is to be written, so that those whose callers go are never sent.
const MAX_UNWRITTEN: u64 = 64 << 10;
/// Most that is read before others have their turn.
const MAX_TURN: usize = 1 << 20;
/// How long a child may live that hears or says no more.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// No call can come any more.
    Stopped,
    Exited(io::Result<ExitStatus>),
    /// The child closed its stdin or stdout, and lives.
    Silent,
    /// It does not come to an end with a call that was given up, or reads no more.
    Hung,
}

/// What the child must soon do something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worry {
    Silent,
    /// It takes one call at a time, and works on one that was given up.
    HeldUp,
    /// It does not read on after so many bytes.
    Unread(u64),
}

pub(super) struct Session {
    shared: Arc<Shared>,
    config: ProcessConfig,
    child: Child,
    stdin: Sender,
    stdout: Receiver,
    lines: Lines,
    log: Log,
    talk: Talk,
    unwritten: Unwritten,
    is_deaf: bool,
    is_mute: bool,
    /// Runs while the child must do something soon.
    fuse: Option<(Worry, Pin<Box<Sleep>>)>,
}

impl Session {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: ProcessConfig,
        child: Child,
        pipes: Pipes,
    ) -> io::Result<Self> {
        let missing = || io::Error::from(io::ErrorKind::NotConnected);
        let stdin = Sender::from_owned_fd(pipes.stdin.ok_or_else(missing)?.into())?;
        let stdout = Receiver::from_owned_fd(pipes.stdout.ok_or_else(missing)?.into())?;
        let stderr = Receiver::from_owned_fd(pipes.stderr.ok_or_else(missing)?.into())?;
        let log = Log::new(shared.key.clone(), stderr, config.output.clone());
        Ok(Self {
            shared,
            child,
            stdin,
            stdout,
            lines: Lines::default(),
            log,
            talk: Talk::new(config.multiplex == Multiplex::Always),
            unwritten: Unwritten::default(),
            is_deaf: false,
            is_mute: false,
            fuse: None,
            config,
        })
    }

    /// Asks the plugin to describe itself, ahead of all calls. The answer is not waited for.
    pub(super) fn introduce(&mut self, id: &str, line: Vec<u8>) {
        let line = self.talk.ask(None, id.to_owned(), line, self.unwritten.pushed());
        self.unwritten.push(line);
    }

    /// Carries calls to the child, and answers back.
    pub(super) async fn run(&mut self, letters: &mut Letters) -> End {
        poll_fn(|cx| self.poll_run(cx, letters)).await
    }

    fn poll_run(&mut self, cx: &mut Context<'_>, letters: &mut Letters) -> Poll<End> {
        let is_closed = letters.poll_closed(cx).is_ready();
        self.log.poll(cx);
        let has_heard = self.poll_hear(cx);
        while self.take_calls(cx, letters) {
            match self.unwritten.poll_write(cx, &mut self.stdin) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.is_deaf = true,
                Poll::Pending => break,
            }
        }
        self.shared.set_busy(!self.talk.is_free());
        if let Poll::Ready(status) = self.child.poll_exit(cx) {
            return Poll::Ready(End::Exited(status));
        }
        if is_closed {
            return Poll::Ready(End::Stopped);
        }
        if has_heard.is_ready() {
            // There is more to hear.
            cx.waker().wake_by_ref();
        }
        self.poll_fuse(cx)
    }

    /// Takes calls as far as they may be sent. Returns whether there is something to be written.
    fn take_calls(&mut self, cx: &mut Context<'_>, letters: &mut Letters) -> bool {
        while !self.is_deaf && self.unwritten.left() < MAX_UNWRITTEN && self.talk.is_free() {
            let Some(ticket) = letters.next() else { break };
            if let Some(line) = ticket.take(cx.waker()) {
                let id = ticket.id().to_owned();
                let line = self.talk.ask(Some(ticket), id, line, self.unwritten.pushed());
                self.unwritten.push(line);
            }
        }
        !self.is_deaf && self.unwritten.left() > 0
    }

    fn poll_fuse(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let written = self.unwritten.written();
        let due = if self.is_deaf || self.is_mute {
            Some((Worry::Silent, LAST_BREATH))
        } else if self.talk.is_held_up() {
            Some((Worry::HeldUp, self.config.hang_timeout))
        } else if self.unwritten.left() > 0 {
            Some((Worry::Unread(written), self.config.hang_timeout))
        } else {
            None
        };
        match (due, &self.fuse) {
            (Some((worry, _)), Some((known, _))) if worry == *known => {}
            (due, _) => self.fuse = due.map(|(worry, wait)| (worry, Box::pin(sleep(wait)))),
        }
        let Some((worry, fuse)) = &mut self.fuse else { return Poll::Pending };
        fuse.as_mut().poll(cx).map(|()| match worry {
            Worry::Silent => End::Silent,
            Worry::HeldUp | Worry::Unread(_) => End::Hung,
        })
    }

    /// Hears what the child says. Ready if others must have their turn before there is an end of it.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut turn = 0;
        while !self.is_mute {
            match pin!(self.stdout.read_buf(self.lines.room())).poll(cx) {
                Poll::Ready(Ok(0) | Err(_)) => self.is_mute = true,
                Poll::Ready(Ok(count)) => {
                    turn += count;
                    self.hear_lines();
                }
                Poll::Pending => break,
            }
            if turn > MAX_TURN {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }

    fn hear_lines(&mut self) {
        let limit = self.config.max_line_bytes;
        while let Some(line) = self.lines.take(limit) {
            let (shown, heard) = match line {
                Line::Whole(line) => (line.clone(), self.talk.hear(line)),
                Line::TooLong(start) => {
                    let heard = self.talk.hear_too_long(&start, limit);
                    (start, heard)
                }
            };
            self.note(heard, &shown);
        }
    }

    fn tell_info(&self, info: Option<Arc<PluginInfo>>) {
        self.shared.status.send_modify(|status| status.info = Some(info));
    }

    fn note(&mut self, heard: Heard, line: &[u8]) {
        match heard {
            Heard::Answer if self.talk.is_silent_of_itself() => self.tell_info(None),
            Heard::Answer => {}
            Heard::Info(info) => self.tell_info(info.map(Arc::new)),
            Heard::Dropped(reason) => {
                tracing::debug!(plugin = %self.shared.key, reason, "dropped an answer of a plugin");
            }
            Heard::Stray => self.log.stray(line),
        }
    }

    /// Ends the session, and the child if that has not ended yet. Calls that the child cannot have read go
    /// back to those that wait; the others fail with `error`. Returns whether it was no failure: the child
    /// ended by itself, after it had answered all calls that it had read.
    pub(super) async fn finish(mut self, end: End, letters: &mut Letters, error: &Error) -> bool {
        let mut read = self.unwritten.written();
        if let End::Exited(_) = end {
            // All that it said is in the pipes by now, and nothing else will come.
            let _ = read_now(&self.stdout, self.lines.room(), usize::MAX);
            self.hear_lines();
            // The last line need not have an end.
            if let Some(rest) = self.lines.rest() {
                let heard = self.talk.hear(rest.clone());
                self.note(heard, &rest);
            }
            self.log.finish();
            read = self.read();
        }
        let (unsent, is_done) = self.talk.end(read, error);
        letters.put_back(unsent);
        if let End::Exited(_) = end {
            return is_done;
        }
        self.stop().await;
        false
    }

    /// What is to be told of an end.
    pub(super) fn reason(&self, end: &End) -> Error {
        let what = match end {
            End::Exited(Ok(status)) => format!("the plugin's process ended ({status})"),
            End::Exited(Err(_)) => "the plugin's process ended".to_owned(),
            End::Silent => "the plugin closed its stdin or stdout".to_owned(),
            End::Hung => "the plugin neither read on nor ended a call that was given up within \
                          `hang_timeout`, and was ended"
                .to_owned(),
            End::Stopped => "the plugin was stopped".to_owned(),
        };
        let error = Error::failed(Kind::Connection);
        if self.has_refused(end) {
            let what = format!("handshake refused: {what} before it had read anything");
            return error.coded(Some(Code::RPC_2002)).message(what);
        }
        error.message(format!("subprocess execution failed: {what}"))
    }

    /// Whether the child ended as one does that does not want to be a plugin, or cannot.
    fn has_refused(&self, end: &End) -> bool {
        let has_failed = matches!(end, End::Exited(Ok(status)) if status.code() > Some(0));
        has_failed && self.unwritten.pushed() > 0 && self.read() == 0
    }

    /// How many bytes the child, which has ended, has read.
    fn read(&self) -> u64 {
        let written = self.unwritten.written();
        written - self.unread().min(written)
    }

    /// How many of the bytes that were written are unread, and will stay so.
    fn unread(&self) -> u64 {
        let mut stdin = [PollFd::new(&self.stdin, PollFlags::OUT)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let is_abandoned = rustix::event::poll(&mut stdin, Some(&now)).is_ok()
            && stdin[0].revents().contains(PollFlags::ERR);
        if is_abandoned { rustix::io::ioctl_fionread(&self.stdin).unwrap_or_default() } else { 0 }
    }

    /// Ends the child: by the end of its stdin, then by a signal that it can catch, then by one that it
    /// cannot. Each time it has `stop_grace` to end.
    async fn stop(self) {
        let Self { config, mut child, stdin, stdout, mut log, .. } = self;
        drop(stdin);
        let (mut stdout, mut rest) = (Some(stdout), BytesMut::new());
        let mut poll_exit = |cx: &mut Context<'_>, child: &mut Child| {
            log.poll(cx);
            // It must not wait for being read.
            while let Some(from) = &mut stdout {
                rest.clear();
                rest.reserve(8 << 10);
                match pin!(from.read_buf(&mut rest)).poll(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => stdout = None,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            child.poll_exit(cx).map(drop)
        };
        let mut signals = [Signal::TERM, Signal::KILL].into_iter();
        while timeout(config.stop_grace, poll_fn(|cx| poll_exit(cx, &mut child))).await.is_err() {
            // One that cannot be killed yet is waited for.
            signals.next().into_iter().for_each(|signal| child.signal(signal));
        }
        log.finish();
    }
}
