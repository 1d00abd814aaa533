//! A watch that is open: its events, in their order.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout_at;

use super::{event::Event, lines::Lines, object::Status, server::Server};
use crate::{
    error::{Error, Kind},
    time::{self, Instant},
};

pub(super) struct EventStream {
    body: Incoming,
    lines: Lines,
    opened_at: Instant,
    /// When the server has ended it, if all is well.
    deadline: Instant,
    /// Whether it told anything that leads on.
    pub(super) has_told: bool,
    pub(super) after: After,
    /// What comes next.
    held: Option<Result<Option<Event>, Broken>>,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum After {
    List,
    /// Of a watch that the server has ended.
    End,
    /// Of a watch that broke.
    Break,
}

/// Why there are no more events.
#[derive(Debug)]
pub(super) enum Broken {
    /// All that was told holds, and the rest can be had.
    Cut(Error),
    /// It makes no sense.
    Nonsense(Error),
}

impl EventStream {
    pub(super) fn new(body: Incoming, max: usize, deadline: Instant, after: After) -> Self {
        let opened_at = time::now();
        let (lines, held) = (Lines::new(max), None);
        Self { body, lines, opened_at, deadline, has_told: false, after, held }
    }

    /// It comes next once more.
    pub(super) fn put_back(&mut self, next: Result<Option<Event>, Broken>) {
        self.held = Some(next);
    }

    /// For how long it is open.
    pub(super) fn lived(&self) -> Duration {
        time::now().saturating_duration_since(self.opened_at)
    }

    /// The next event. `None`: the server has ended the watch.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next(&mut self, server: &Server) -> Result<Option<Event>, Broken> {
        if let Some(held) = self.held.take() {
            return held;
        }
        loop {
            let line = self.lines.take().map_err(|_| {
                let what = "sends an event that is longer than `max_response_bytes`";
                Broken::Nonsense(server.failed(Kind::Transport, what))
            })?;
            if let Some(line) = line {
                return event(&line, server).map(Some);
            }
            let cut = |what: &str| server.failed(Kind::Connection, what);
            match timeout_at(self.deadline, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Some(piece) = frame.data_ref() {
                        self.lines.feed(piece);
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(Broken::Cut(cut("breaks off the watch").caused_by(error)));
                }
                Ok(None) if self.lines.is_within_one() => {
                    return Err(Broken::Cut(cut("breaks off the watch within an event")));
                }
                Ok(None) => return Ok(None),
                Err(_) => {
                    let error = server.failed(Kind::Timeout, "does not end the watch in time");
                    return Err(Broken::Cut(error));
                }
            }
        }
    }
}

fn event(line: &[u8], server: &Server) -> Result<Event, Broken> {
    // Some tell an error as it is, without an event around it.
    let event = Event::read(line).or_else(|error| match serde_json::from_slice::<Status>(line) {
        Ok(status) if status.is_expired() => Ok(Event::Expired),
        Ok(status) if status.code.is_some() => Ok(Event::Failed(status)),
        _ => Err(error),
    });
    event.map_err(|error| {
        let what = "sends an event that cannot be read";
        Broken::Nonsense(server.failed(Kind::Transport, what).caused_by(error))
    })
}
