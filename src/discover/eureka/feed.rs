//! The registry that all watches of an `Eureka` read together.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tokio::sync::{Mutex, MutexGuard};

use super::{
    book::Book,
    client::{APPS, Client, DELTA},
    document::Told,
};
use crate::{
    error::{Error, Kind},
    time::{self, Instant},
};

/// How old what was read may be so that the server still knows all that has changed since: it does for three
/// minutes, and an answer may be half a minute old.
const DELTA_WINDOW: Duration = Duration::from_secs(150);
/// How long a failure counts for all watches.
const FAILURE: Duration = Duration::from_secs(1);

pub(super) struct Feed {
    client: Arc<Client>,
    pub(super) interval: Duration,
    /// Held while the registry is read, so that one reads for all.
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) book: Book,
    /// `None`: what is there is not what a server said.
    read_at: Option<Instant>,
    /// Which server that was.
    server: usize,
    /// Whether its changes may be applied: it counts as is counted here.
    counts_alike: bool,
    /// Whether it does not tell of changes.
    refuses_deltas: bool,
    failed: Option<(Instant, Error)>,
}

/// What became of the changes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Followed {
    Yes,
    No,
    /// The server does not tell of them.
    Refused,
}

impl State {
    /// How long until it is to be read again.
    pub(super) fn due_in(&self, interval: Duration) -> Duration {
        let due = self.read_at.map_or(time::now(), |at| time::later(at, interval));
        due.saturating_duration_since(time::now())
    }
}

impl Feed {
    pub(super) fn new(client: Arc<Client>, interval: Duration) -> Self {
        Self { client, interval, state: Mutex::default() }
    }

    /// What is known, read anew if it is as old as `max_age`.
    ///
    /// # Cancel safety
    /// What was known stays.
    pub(super) async fn read(&self, max_age: Duration) -> Result<MutexGuard<'_, State>, Error> {
        let mut state = self.state.lock().await;
        let age = |at: Instant| time::now().saturating_duration_since(at);
        if state.read_at.is_some_and(|at| age(at) < max_age) {
            return Ok(state);
        }
        match &state.failed {
            Some((at, error)) if age(*at) < FAILURE => return Err(error.clone()),
            _ => {}
        }
        match self.renew(&mut state).await {
            Ok(()) => {
                (state.read_at, state.failed) = (Some(time::now()), None);
                Ok(state)
            }
            Err(error) => {
                // Sooner, every watch is told the same: asking again would only make its waits longer.
                let now = time::now();
                let wait = error.retry_after().map_or(FAILURE, |asked| asked.max(FAILURE));
                let error = error.retry_in(now, wait);
                state.failed = Some((now, error.clone()));
                Err(error)
            }
        }
    }

    async fn renew(&self, state: &mut State) -> Result<(), Error> {
        let is_recent = |at: Instant| time::now().saturating_duration_since(at) <= DELTA_WINDOW;
        let can_follow = state.counts_alike && !state.refuses_deltas;
        let can_follow = can_follow && state.read_at.is_some_and(is_recent);
        let followed = if can_follow { self.follow(state).await? } else { Followed::No };
        if followed == Followed::Yes {
            return Ok(());
        }
        let answer = self.client.get(APPS).await?.accept()?;
        let told = answer.json(Told::applications)?;
        state.counts_alike = state.book.replace(told).map_err(|what| self.too_much(&what))?;
        // One that tells of no application either has just started, and another may do what this one does not.
        let is_same = answer.server == state.server;
        state.refuses_deltas = is_same && (state.refuses_deltas || followed == Followed::Refused);
        state.server = answer.server;
        Ok(())
    }

    /// Applies what has changed. Otherwise it has to be read whole.
    async fn follow(&self, state: &mut State) -> Result<Followed, Error> {
        let answer = self.client.get(DELTA).await?;
        if matches!(answer.status(), StatusCode::FORBIDDEN | StatusCode::NOT_FOUND) {
            tracing::debug!(server = %self.client.name(), "Eureka does not tell of changes");
            return Ok(Followed::Refused);
        }
        let answer = answer.accept()?;
        // Changes of one are no changes of another.
        if answer.server != state.server {
            return Ok(Followed::No);
        }
        let told = answer.json(Told::applications)?;
        // Not to be used, should reading it whole fail.
        let read_at = state.read_at.take();
        if state.book.apply(told).map_err(|what| self.too_much(&what))? {
            state.read_at = read_at;
            return Ok(Followed::Yes);
        }
        tracing::debug!(
            server = %self.client.name(), own = state.book.hash(),
            "Eureka counts other instances; the registry is read whole"
        );
        Ok(Followed::No)
    }

    fn too_much(&self, what: &str) -> Error {
        Error::failed(Kind::Transport).message(format!("{} {what}", self.client.name()))
    }
}
