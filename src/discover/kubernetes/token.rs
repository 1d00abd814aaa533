//! What a request shows so that it is let in.

use std::{path::PathBuf, sync::Mutex, time::Duration};

use http::HeaderValue;

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
    File(PathBuf),
}

#[derive(Debug, Default)]
pub(super) struct Token {
    source: TokenSource,
    /// What was read of the file, and when; unless it was refused since.
    read: Mutex<Read>,
}

#[derive(Debug, Default, Clone)]
struct Read {
    header: Option<HeaderValue>,
    at: Option<Instant>,
}

impl Token {
    pub(super) fn new(source: TokenSource) -> Self {
        Self { source, read: Mutex::default() }
    }

    /// The header of a request. A file is read again if that is a minute ago, or its token was refused.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, Error> {
        let path = match &self.source {
            TokenSource::None => return Ok(None),
            TokenSource::Text(token) => return Ok(Some(header(token)?)),
            TokenSource::File(path) => path.clone(),
        };
        let now = time::now();
        let known = lock(&self.read).clone();
        if known.header.is_some()
            && known.at.is_some_and(|at| now.saturating_duration_since(at) < FRESH)
        {
            return Ok(known.header);
        }
        let unreadable = format!("the token of Kubernetes ({}) cannot be read", path.display());
        let unreadable = Error::not_sent(Kind::InvalidConfig).message(unreadable);
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let token = match read {
            Ok(Ok(token)) => token,
            // As while it is replaced.
            Ok(Err(error)) if known.header.is_some() => {
                tracing::debug!(%error, "the file with the token cannot be read; the former one is used");
                return Ok(known.header);
            }
            Ok(Err(error)) => return Err(unreadable.caused_by(error)),
            Err(error) => return Err(unreadable.caused_by(error)),
        };
        let header = header(&token)?;
        *lock(&self.read) = Read { header: Some(header.clone()), at: Some(now) };
        Ok(Some(header))
    }

    /// It was refused. Tells whether there may be another now.
    pub(super) fn refused(&self) -> bool {
        let is_of_file = matches!(self.source, TokenSource::File(_));
        if is_of_file {
            lock(&self.read).at = None;
        }
        is_of_file
    }
}

fn read(path: &std::path::Path) -> std::io::Result<Secret> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_TOKEN).read_to_string(&mut text)?;
    let token = Secret::from(text);
    match token.expose().trim() {
        "" => Err(std::io::Error::other("it is empty")),
        text => Ok(Secret::from(text)),
    }
}

fn header(token: &Secret) -> Result<HeaderValue, Error> {
    let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut header = HeaderValue::from_str(&text).map_err(|_| {
        Error::not_sent(Kind::InvalidConfig)
            .message("the token of Kubernetes has characters that no token has")
    })?;
    header.set_sensitive(true);
    Ok(header)
}
