//! The connections to one endpoint.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::{
    address::SocketAddress,
    config::SocketConfig,
    connection::{Connection, Connections, Dialing, Waiting},
};
use crate::{
    error::{Code, Error, Kind},
    guard::{Configured, Newest},
    member::Member,
    pool,
};

pub(super) struct Pool {
    member: Arc<Member>,
    address: Result<SocketAddress, Error>,
    config: ArcSwap<SocketConfig>,
    connections: Arc<Connections>,
}

impl Pool {
    pub(super) fn new(member: Arc<Member>, config: Arc<SocketConfig>) -> Self {
        let address = SocketAddress::of(member.endpoint().address());
        let connections = pool::Pool::new(config.limits(), false);
        Self { member, address, config: ArcSwap::new(config), connections }
    }

    pub(super) fn address(&self) -> Result<&SocketAddress, Error> {
        self.address.as_ref().map_err(Error::clone)
    }

    /// The code of what breaks the protocol.
    pub(super) fn code(&self) -> Option<Code> {
        self.address.as_ref().ok().map(SocketAddress::code)
    }

    pub(super) fn config(&self) -> Arc<SocketConfig> {
        self.config.load_full()
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// A place in the line for a connection.
    pub(super) fn wait(&self) -> Waiting {
        Waiting::new(&self.connections)
    }

    /// Makes a connection, in a task.
    pub(super) fn dial(&self, dialing: Dialing) {
        let Ok(runtime) = Handle::try_current() else {
            return dialing.finish(Err(Error::not_sent(Kind::Unavailable)));
        };
        let (address, config) = (self.address.clone(), self.config());
        drop(runtime.spawn(async move {
            let made = match &address {
                Ok(address) => Connection::open(address, &config, dialing.place()).await,
                Err(error) => Err(error.clone()),
            };
            dialing.finish(made);
        }));
    }
}

impl Configured<SocketConfig> for Pool {
    /// Connections are kept, unless the new settings are about them.
    fn apply(self: Arc<Self>, newest: &Newest<SocketConfig>) {
        self.connections.configure(|| {
            let config = newest.get();
            let before = self.config.swap(config.clone());
            (config.limits(), !config.connects_like(&before))
        });
    }

    fn member(&self) -> Option<&Arc<Member>> {
        Some(&self.member)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("config", &self.config.load())
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
