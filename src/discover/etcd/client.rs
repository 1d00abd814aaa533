//! The members of a cluster as one: a connection to one of them, and another if it fails.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use prost::Message;
use tokio::time::timeout;
use tonic::metadata::AsciiMetadataValue;

use super::{
    config::EtcdConfig,
    failure::{is_of_member, is_of_token, nonsense, of_status},
    link::Link,
    messages::{AuthenticateRequest, AuthenticateResponse},
    server::Server,
};
use crate::{
    dial::Dialer,
    error::{Error, Kind},
    sync::{lock, random_below},
};

pub(super) struct Client {
    pub(super) config: EtcdConfig,
    servers: Vec<Server>,
    dialer: Dialer,
    state: Mutex<State>,
    /// Held while a connection, or a token, is being made.
    connecting: tokio::sync::Mutex<()>,
    authenticating: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// It is closed with its last user.
    link: Weak<Link>,
    /// The member to try next.
    next: usize,
    token: Option<Token>,
}

/// What proves the user. Each is a value of its own, whatever its text is.
pub(super) type Token = Arc<AsciiMetadataValue>;

impl Client {
    pub(super) fn new(config: EtcdConfig) -> Result<Self, Error> {
        let servers = Server::all(&config)?;
        #[cfg_attr(not(feature = "tls"), allow(unused_mut))]
        let mut dialer = Dialer::default();
        #[cfg(feature = "tls")]
        {
            dialer.config = config.tls();
        }
        let next = random_below(u32::try_from(servers.len()).unwrap_or(u32::MAX)) as usize;
        Ok(Self {
            config,
            servers,
            dialer,
            state: Mutex::new(State { next, ..State::default() }),
            connecting: tokio::sync::Mutex::default(),
            authenticating: tokio::sync::Mutex::default(),
        })
    }

    /// The connection that all share. It stays as long as one of them holds it.
    pub(super) async fn link(&self) -> Result<Arc<Link>, Error> {
        let known = || lock(&self.state).link.upgrade().filter(|link| !link.is_closed());
        if let Some(link) = known() {
            return Ok(link);
        }
        let _alone = self.connecting.lock().await;
        if let Some(link) = known() {
            return Ok(link);
        }
        let (first, count) = (lock(&self.state).next, self.servers.len());
        let mut last = None;
        for member in (first..first + count).map(|number| number % count) {
            let Some(server) = self.servers.get(member) else { continue };
            match self.connect(server, member).await {
                Ok(link) => {
                    let link = Arc::new(link);
                    let mut state = lock(&self.state);
                    (state.link, state.next) = (Arc::downgrade(&link), member);
                    return Ok(link);
                }
                Err(error) => {
                    tracing::debug!(member = server.url, %error, "a member of etcd cannot be reached");
                    last = Some(error);
                }
            }
        }
        let error = Error::not_sent(Kind::Connection)
            .message(format!("none of the {count} endpoints of etcd can be reached"));
        Err(last.into_iter().fold(error, Error::caused_by))
    }

    async fn connect(&self, server: &Server, member: usize) -> Result<Link, Error> {
        let limit = self.config.dial_timeout;
        match timeout(limit, Link::connect(server, member, &self.dialer, limit)).await {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(error)) => Err(Error::not_sent(Kind::Connection)
                .message(format!("etcd at `{}` cannot be reached", server.url))
                .caused_by(error)),
            Err(_) => Err(self.too_late(&server.url, "cannot be reached", limit)),
        }
    }

    /// How long a call may take, of which each member has its share.
    pub(super) fn longest_call(&self) -> Duration {
        let dialing = self
            .config
            .dial_timeout
            .saturating_mul(u32::try_from(self.servers.len()).unwrap_or(u32::MAX));
        dialing.saturating_add(self.config.request_timeout * 3)
    }

    /// Another member is tried next.
    pub(super) fn leave(&self, link: &Arc<Link>) {
        let mut state = lock(&self.state);
        if std::ptr::eq(state.link.as_ptr(), Arc::as_ptr(link)) {
            state.link = Weak::new();
            state.next = (link.member + 1) % self.servers.len();
        }
    }

    fn too_late(&self, url: &str, what: &str, limit: Duration) -> Error {
        let message = format!("etcd at `{url}` {what} within {limit:?}");
        Error::failed(Kind::Timeout).message(message)
    }

    /// Asks once; and once more with another token, if it was the token.
    pub(super) async fn ask<Q, A>(
        &self,
        link: &Arc<Link>,
        path: &'static str,
        message: Q,
    ) -> Result<A, Error>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let mut is_second = false;
        loop {
            let token = self.token(link).await?;
            let answer = self.once(link, path, message.clone(), token.as_deref());
            match (answer.await, token) {
                (Err(Failure::OfToken(_)), Some(token)) if !is_second => {
                    is_second = true;
                    self.forget(&token);
                }
                (answer, _) => return answer.map_err(Failure::into),
            }
        }
    }

    async fn once<Q, A>(
        &self,
        link: &Arc<Link>,
        path: &'static str,
        message: Q,
        token: Option<&AsciiMetadataValue>,
    ) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let status = match self.in_time(link, link.ask(path, message, token)).await? {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        let is_of_token = is_of_token(&status);
        let error = self.failed(link, status);
        Err(if is_of_token { Failure::OfToken(error) } else { Failure::Other(error) })
    }

    /// Waits for the first answer of a member, which is left if it takes too long.
    pub(super) async fn in_time<T>(
        &self,
        link: &Arc<Link>,
        answer: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let limit = self.config.request_timeout;
        timeout(limit, answer).await.map_err(|_| {
            self.leave(link);
            self.too_late(&link.url, "does not answer", limit)
        })
    }

    /// What a status means, which may be that another member is tried next.
    pub(super) fn failed(&self, link: &Arc<Link>, status: tonic::Status) -> Error {
        if is_of_member(&status) {
            self.leave(link);
        }
        of_status(&link.url, status)
    }

    /// The token of the user, if there is one.
    pub(super) async fn token(&self, link: &Arc<Link>) -> Result<Option<Token>, Error> {
        if self.config.username.is_empty() {
            return Ok(None);
        }
        let known = || lock(&self.state).token.clone();
        if let Some(token) = known() {
            return Ok(Some(token));
        }
        let _alone = self.authenticating.lock().await;
        if let Some(token) = known() {
            return Ok(Some(token));
        }
        let message = AuthenticateRequest {
            name: self.config.username.clone(),
            password: self.config.password.expose().to_owned(),
        };
        let path = "/etcdserverpb.Auth/Authenticate";
        let answer = self.in_time(link, link.ask(path, message, None)).await?;
        let AuthenticateResponse { token, .. } = match answer {
            Ok(answer) => answer,
            Err(status) if status.message().contains("authentication is not enabled") => {
                tracing::debug!(member = link.url, "this etcd asks for no user");
                return Ok(None);
            }
            Err(status) => return Err(self.failed(link, status)),
        };
        let mut token = AsciiMetadataValue::try_from(token)
            .map_err(|_| nonsense(&link.url, "its token cannot be used"))?;
        token.set_sensitive(true);
        let token = Arc::new(token);
        lock(&self.state).token = Some(token.clone());
        Ok(Some(token))
    }

    /// That token is over.
    pub(super) fn forget(&self, token: &Token) {
        let mut state = lock(&self.state);
        if state.token.as_ref().is_some_and(|known| Arc::ptr_eq(known, token)) {
            state.token = None;
        }
    }
}

enum Failure {
    OfToken(Error),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let (Failure::OfToken(error) | Failure::Other(error)) = failure;
        error
    }
}
