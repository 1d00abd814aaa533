//! What a connection is doing, and until when it may.

use std::{
    sync::{Arc, Mutex},
    task::Waker,
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    sync::lock,
    time::{self, Instant},
};

/// How long a connection that was told to end may take to do so.
const LINGER: Duration = Duration::from_secs(1);
/// The first bytes of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For the head of a request, and for what comes before the first one.
    pub(super) header: Duration,
    /// For the body of a request, and for a caller to read what it is sent.
    pub(super) body: Duration,
    pub(super) idle: Duration,
}

/// Shared by the socket of a connection, its requests and its task.
pub(super) struct Pace {
    limits: Limits,
    /// Whether the server stops.
    stop: watch::Receiver<bool>,
    state: Mutex<State>,
}

struct State {
    doing: Doing,
    since: Instant,
    /// Requests that are not wholly answered, and parts of answers that are not wholly sent.
    in_flight: usize,
    /// Those parts. A caller of HTTP/2 may let none of them come while it reads.
    unsent: usize,
    /// When some of them was sent last, or there were none.
    moved: Instant,
    /// The first bytes of the connection.
    start: Vec<u8>,
    waker: Option<Waker>,
}

/// While there is no request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Nothing was read yet.
    Opening,
    /// A part of a head was read.
    Head,
    Idle,
    /// It was told to end.
    Ending,
    /// It has yet to be told that it is too slow.
    TooSlow,
}

/// How a connection ends whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A caller that is told that it is too slow.
    TooSlow,
    /// One that has nothing in flight.
    Idle,
    /// At once.
    Now,
}

impl Pace {
    pub(super) fn new(limits: Limits, stop: watch::Receiver<bool>) -> Self {
        let now = time::now();
        let state = State {
            doing: Doing::Opening,
            since: now,
            in_flight: 0,
            unsent: 0,
            moved: now,
            start: Vec::new(),
            waker: None,
        };
        Self { limits, stop, state: Mutex::new(state) }
    }

    pub(super) fn stop(&self) -> &watch::Receiver<bool> {
        &self.stop
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Until when it may go on like this, and how it ends then. `waker` is woken when that changes by
    /// itself.
    pub(super) fn due(&self, waker: &Waker) -> Option<(Instant, End)> {
        let mut state = lock(&self.state);
        state.waker = Some(waker.clone());
        let since = |since, limit| time::later(since, limit);
        let own = match state.doing {
            _ if state.in_flight > 0 => None,
            Doing::Opening => Some((since(state.since, self.limits.header), End::Now)),
            Doing::Head => Some((since(state.since, self.limits.header), End::TooSlow)),
            Doing::Idle => Some((since(state.since, self.limits.idle), End::Idle)),
            Doing::Ending | Doing::TooSlow => Some((since(state.since, LINGER), End::Now)),
        };
        let unread = (state.unsent > 0).then(|| (since(state.moved, self.limits.body), End::Now));
        [own, unread].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Bytes came.
    pub(super) fn read(&self, bytes: &[u8]) {
        let mut state = lock(&self.state);
        if state.start.len() < PREFACE.len() {
            let missing = PREFACE.len() - state.start.len();
            state.start.extend(bytes.iter().take(missing));
        }
        if state.in_flight > 0 || matches!(state.doing, Doing::Ending | Doing::TooSlow) {
            return;
        }
        if state.start == PREFACE {
            // Frames come at any time, such as pings, and a head has no limit of its own.
            if state.doing == Doing::Opening || state.doing == Doing::Head {
                state.set(Doing::Idle);
            }
        } else if state.doing != Doing::Head {
            state.set(Doing::Head);
        }
    }

    /// A request has come, until the guard drops.
    pub(super) fn enter(self: &Arc<Self>) -> Visit {
        lock(&self.state).in_flight += 1;
        Visit(self.clone())
    }

    /// A part of an answer is to be sent, until the guard drops.
    pub(super) fn hand_out(self: &Arc<Self>) -> Unsent {
        let mut state = lock(&self.state);
        state.in_flight += 1;
        state.unsent += 1;
        if state.unsent == 1 {
            state.moved = time::now();
            // HTTP/2 answers from other tasks, where the connection does not see it.
            let waker = if state.start == PREFACE { state.waker.take() } else { None };
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
        Unsent(self.clone())
    }

    /// A request is wholly answered, or a part of its answer is sent.
    fn leave(&self, unsent: usize) {
        let mut state = lock(&self.state);
        state.unsent -= unsent;
        state.in_flight -= 1;
        if state.in_flight == 0 {
            state.set(Doing::Idle);
            let waker = state.waker.take();
            drop(state);
            // Maybe from another task, where HTTP/2 answers.
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// It shall end.
    pub(super) fn end(&self) {
        lock(&self.state).set(Doing::Ending);
    }

    /// The caller was too slow. Its next read says so, and ends the connection.
    pub(super) fn give_up(&self) {
        lock(&self.state).set(Doing::TooSlow);
    }

    pub(super) fn is_too_slow(&self) -> bool {
        lock(&self.state).doing == Doing::TooSlow
    }

    /// Whether nothing has come yet.
    pub(super) fn is_unused(&self) -> bool {
        let state = lock(&self.state);
        state.doing == Doing::Opening && state.in_flight == 0
    }
}

impl State {
    fn set(&mut self, doing: Doing) {
        self.doing = doing;
        self.since = time::now();
    }
}

/// One request, until the end of its answer.
pub(super) struct Visit(Arc<Pace>);

impl Visit {
    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.leave(0);
    }
}

/// A part of an answer, until it is sent.
pub(super) struct Unsent(Arc<Pace>);

impl Unsent {
    /// Some of it was.
    pub(super) fn moved(&self) {
        lock(&self.0.state).moved = time::now();
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.0.leave(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_thing_that_a_connection_does_has_its_own_limit() {
        let limits = Limits { header: 10 * SECOND, body: 20 * SECOND, idle: 30 * SECOND };
        let pace = Arc::new(Pace::new(limits, watch::channel(false).1));
        let due = |pace: &Pace| {
            let due = pace.due(Waker::noop());
            due.map(|(at, end)| ((at - time::now()).as_secs(), end))
        };
        assert!(due(&pace) == Some((10, End::Now)) && pace.is_unused());
        tokio::time::advance(SECOND).await;
        pace.read(b"P");
        pace.read(b"O");
        assert!(due(&pace) == Some((10, End::TooSlow)) && !pace.is_unused());
        tokio::time::advance(SECOND).await;
        // More of the head is no more time.
        pace.read(b"ST / HTTP/1.1");
        assert_eq!(due(&pace), Some((9, End::TooSlow)));
        let (one, two) = (pace.enter(), pace.enter());
        assert_eq!(due(&pace), None);
        let (part, other) = (pace.hand_out(), pace.hand_out());
        drop((one, two));
        tokio::time::advance(SECOND).await;
        assert_eq!(due(&pace), Some((19, End::Now)));
        part.moved();
        assert_eq!(due(&pace), Some((20, End::Now)));
        drop(part);
        assert_eq!(due(&pace), Some((20, End::Now)));
        drop(other);
        assert_eq!(due(&pace), Some((30, End::Idle)));
        pace.read(b"G");
        assert_eq!(due(&pace), Some((10, End::TooSlow)));
        pace.end();
        pace.read(b"G");
        assert_eq!(due(&pace), Some((1, End::Now)));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_http2_are_no_head() {
        let limits = Limits { header: SECOND, body: SECOND, idle: 30 * SECOND };
        let pace = Arc::new(Pace::new(limits, watch::channel(false).1));
        pace.read(b"PR");
        pace.read(b"I * HTTP/2.0\r\n");
        // A part of it is as slow as one of a head.
        assert_eq!(pace.due(Waker::noop()).unwrap(), (time::now() + SECOND, End::TooSlow));
        pace.read(b"\r\nSM\r\n\r\n and frames");
        tokio::time::advance(SECOND).await;
        pace.read(b"a ping");
        let (at, end) = pace.due(Waker::noop()).unwrap();
        assert_eq!((at - time::now(), end), (29 * SECOND, End::Idle));
    }
}
