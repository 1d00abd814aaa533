//! Where a request has what it shows so that it is let in.

use std::{
    io::ErrorKind::TimedOut,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    credential::{Shown, bearer},
    kept::Kept,
    program::Program,
    run::run,
};
use crate::{
    auth::Secret,
    error::{Error, Kind},
    sync::lock,
    time::{self, Instant},
};

/// How old a token may be that was read of a file.
const FRESH: Duration = Duration::from_secs(60);
/// Longest token that is read.
const MAX_TOKEN: u64 = 64 << 10;

#[derive(Debug, Default, Clone, PartialEq)]
pub(super) enum TokenSource {
    #[default]
    None,
    Text(Secret),
    /// And what is shown until the file can be read.
    File(PathBuf, Option<Secret>),
    Program(Arc<Program>),
}

#[derive(Debug, Default)]
pub(super) struct Token {
    source: TokenSource,
    /// What was read of the file, and when; unless it was refused since.
    read: Mutex<Read>,
    /// What the program told. Locked while it runs, so that it runs once for all that wait for it.
    kept: tokio::sync::Mutex<Kept>,
}

#[derive(Debug, Default, Clone)]
struct Read {
    shown: Option<Arc<Shown>>,
    at: Option<Instant>,
}

impl Token {
    pub(super) fn new(source: TokenSource) -> Self {
        Self { source, ..Self::default() }
    }

    /// What a request shows. A file is read again if that is a minute ago, or its token was refused; for at most
    /// `limit`. A program has a limit of its own.
    ///
    /// # Cancel safety
    /// Dropping the future kills the program. What waits beside it runs it anew.
    pub(super) async fn shown(&self, limit: Duration) -> Result<Arc<Shown>, Error> {
        match &self.source {
            TokenSource::None => Ok(Arc::default()),
            TokenSource::Text(token) => shown(token),
            TokenSource::File(path, first) => {
                let late = |_| Err(unreadable(path).caused_by(std::io::Error::from(TimedOut)));
                timeout(limit, self.of_file(path, first.as_ref())).await.unwrap_or_else(late)
            }
            TokenSource::Program(program) => {
                let mut kept = self.kept.lock().await;
                if let Some(known) = kept.at(time::now()) {
                    return known;
                }
                match run(program).await {
                    Ok(told) => Ok(kept.take(told, time::now(), time::unix())),
                    Err(error) => {
                        tracing::debug!(%error, "a program tells no credential for Kubernetes");
                        kept.fail(error, time::now())
                    }
                }
            }
        }
    }

    async fn of_file(&self, path: &Path, first: Option<&Secret>) -> Result<Arc<Shown>, Error> {
        let now = time::now();
        let known = lock(&self.read).clone();
        let is_fresh = known.at.is_some_and(|at| now.saturating_duration_since(at) < FRESH);
        if let Some(shown) = known.shown.as_ref().filter(|_| is_fresh) {
            return Ok(shown.clone());
        }
        let own = path.to_owned();
        let token = match tokio::task::spawn_blocking(move || read(&own)).await {
            Ok(Ok(token)) => token,
            Ok(Err(error)) => {
                let former = match (known.shown, first) {
                    (Some(shown), _) => shown,
                    (None, Some(first)) => shown(first)?,
                    (None, None) => return Err(unreadable(path).caused_by(error)),
                };
                // As while it is replaced.
                tracing::debug!(%error, "the file with the token cannot be read; the former one is used");
                return Ok(former);
            }
            Err(error) => return Err(unreadable(path).caused_by(error)),
        };
        let shown = shown(&token)?;
        *lock(&self.read) = Read { shown: Some(shown.clone()), at: Some(now) };
        Ok(shown)
    }

    /// This was refused. Tells whether there may be something else to show now.
    pub(super) async fn refused(&self, shown: &Arc<Shown>) -> bool {
        match &self.source {
            TokenSource::None | TokenSource::Text(_) => false,
            TokenSource::File(..) => {
                lock(&self.read).at = None;
                true
            }
            TokenSource::Program(_) => self.kept.lock().await.refuse(shown, time::now()),
        }
    }
}

fn unreadable(path: &Path) -> Error {
    let text = format!("the token of Kubernetes ({}) cannot be read", path.display());
    Error::not_sent(Kind::InvalidConfig).message(text)
}

fn read(path: &Path) -> std::io::Result<Secret> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_TOKEN).read_to_string(&mut text)?;
    let token = Secret::from(text);
    match token.expose().trim() {
        "" => Err(std::io::Error::other("it is empty")),
        text => Ok(Secret::from(text)),
    }
}

fn shown(token: &Secret) -> Result<Arc<Shown>, Error> {
    Ok(Arc::new(Shown { header: Some(bearer(token)?), identity: None }))
}
