//! One call between its caller and the child: each side may leave at any time, and the other is told.

use std::{
    mem,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{
    error::{Error, Kind},
    sync::lock,
};

/// The state of one call.
#[derive(Debug)]
struct Seat {
    id: String,
    stage: Mutex<Stage>,
}

#[derive(Debug)]
enum Stage {
    /// No byte of it is on its way.
    Waiting {
        line: Vec<u8>,
        caller: Option<Waker>,
    },
    /// It is being written, or was.
    Taken {
        caller: Option<Waker>,
        session: Waker,
    },
    Answered(Result<Bytes, Error>),
    /// The caller has its answer, or has gone.
    Over,
}

/// The caller's side. Dropping it leaves.
#[derive(Debug)]
pub(super) struct Asking(Arc<Seat>);

/// The child's side. Dropping it without an answer tells the caller that there will be none.
#[derive(Debug)]
pub(super) struct Ticket(Arc<Seat>);

/// A question with this id, which is also in `line`.
pub(super) fn seat(id: String, line: Vec<u8>) -> (Asking, Ticket) {
    let stage = Mutex::new(Stage::Waiting { line, caller: None });
    let seat = Arc::new(Seat { id, stage });
    (Asking(seat.clone()), Ticket(seat))
}

impl Asking {
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let mut stage = lock(&self.0.stage);
        match &mut *stage {
            Stage::Waiting { caller, .. } | Stage::Taken { caller, .. } => {
                if !caller.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    *caller = Some(cx.waker().clone());
                }
                Poll::Pending
            }
            Stage::Answered(_) => match mem::replace(&mut *stage, Stage::Over) {
                Stage::Answered(answer) => Poll::Ready(answer),
                _ => Poll::Pending,
            },
            Stage::Over => Poll::Pending,
        }
    }

    /// Waits no longer. Returns whether the plugin may have got the question, or may yet get it.
    pub(super) fn leave(&self) -> bool {
        let before = mem::replace(&mut *lock(&self.0.stage), Stage::Over);
        match before {
            Stage::Waiting { .. } => false,
            Stage::Taken { session, .. } => {
                session.wake();
                true
            }
            Stage::Answered(Err(error)) => !error.is_unsent(),
            Stage::Answered(Ok(_)) | Stage::Over => true,
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Ticket {
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    /// Takes the line to write it; `None` if the caller has gone. From then on `session` is told if the
    /// caller goes.
    pub(super) fn take(&self, session: &Waker) -> Option<Vec<u8>> {
        let mut stage = lock(&self.0.stage);
        let Stage::Waiting { line, caller } = &mut *stage else { return None };
        let (line, caller) = (mem::take(line), caller.take());
        *stage = Stage::Taken { caller, session: session.clone() };
        Some(line)
    }

    /// Nothing of it was read by the child after all, so it waits again.
    pub(super) fn put_back(&self, line: Vec<u8>) {
        let mut stage = lock(&self.0.stage);
        if let Stage::Taken { caller, .. } = &mut *stage {
            let caller = caller.take();
            *stage = Stage::Waiting { line, caller };
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(*lock(&self.0.stage), Stage::Over)
    }

    pub(super) fn answer(&self, answer: Result<Bytes, Error>) {
        let mut stage = lock(&self.0.stage);
        let caller = match &mut *stage {
            Stage::Waiting { caller, .. } | Stage::Taken { caller, .. } => caller.take(),
            Stage::Answered(_) | Stage::Over => return,
        };
        *stage = Stage::Answered(answer);
        drop(stage);
        if let Some(caller) = caller {
            caller.wake();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let is_unsent = match &*lock(&self.0.stage) {
            Stage::Waiting { .. } => true,
            Stage::Taken { .. } => false,
            Stage::Answered(_) | Stage::Over => return,
        };
        let error = Error::failed(Kind::Connection)
            .without_blame()
            .message("the runtime in which the plugin's process was started has ended");
        self.answer(Err(if is_unsent { error.never_sent() } else { error }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(asking: &Asking) -> Poll<Result<Bytes, Error>> {
        asking.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_caller_that_leaves_knows_whether_anything_may_have_been_sent() {
        let (asking, ticket) = seat("a".into(), b"x".to_vec());
        assert!(!asking.leave());
        assert!(ticket.is_gone() && ticket.take(Waker::noop()).is_none());

        let (asking, ticket) = seat("a".into(), b"x".to_vec());
        let line = ticket.take(Waker::noop()).unwrap();
        ticket.put_back(line.clone());
        assert_eq!(ticket.take(Waker::noop()), Some(line));
        assert!(asking.leave() && ticket.is_gone());
    }

    #[test]
    fn a_session_that_ends_leaves_no_caller_behind() {
        for (is_taken, is_unsent) in [(false, true), (true, false)] {
            let (asking, ticket) = seat("a".into(), Vec::new());
            assert!(poll(&asking).is_pending());
            let _ = is_taken.then(|| ticket.take(Waker::noop()));
            drop(ticket);
            let Poll::Ready(Err(error)) = poll(&asking) else { panic!("it waits") };
            assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, is_unsent));
            assert!(poll(&asking).is_pending());
        }
    }

    #[test]
    fn the_first_answer_counts() {
        let (asking, ticket) = seat("a".into(), Vec::new());
        ticket.answer(Ok(Bytes::from_static(b"1")));
        ticket.answer(Ok(Bytes::from_static(b"2")));
        drop(ticket);
        let Poll::Ready(Ok(answer)) = poll(&asking) else { panic!("it waits") };
        assert_eq!(answer, "1");
    }
}
