//! The connections to one plugin, and the settings of its calls.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::{config::GrpcConfig, request::Target};
use crate::{
    dial::Tls,
    guard::{Configured, Newest},
    member::Member,
    sync::lock,
    transport::http::Pool,
};

pub(super) struct Peer {
    member: Arc<Member>,
    pub(super) pool: Arc<Pool>,
    config: ArcSwap<GrpcConfig>,
    /// Held while settings are put in.
    updating: Mutex<()>,
}

impl Peer {
    pub(super) fn new(
        member: Arc<Member>,
        config: Arc<GrpcConfig>,
        tls: Arc<Tls>,
        runtime: Option<Handle>,
    ) -> Self {
        let (host, http) = (Target::host(&member), Arc::new(config.http()));
        let pool = Arc::new(Pool::new(member.clone(), host, http, tls, runtime));
        Self { member, pool, config: ArcSwap::new(config), updating: Mutex::default() }
    }

    pub(super) fn config(&self) -> Arc<GrpcConfig> {
        self.config.load_full()
    }
}

impl Configured<GrpcConfig> for Peer {
    fn apply(self: Arc<Self>, newest: &Newest<GrpcConfig>) {
        let _alone = lock(&self.updating);
        let config = newest.get();
        self.pool.clone().apply(&Newest::new(config.http()));
        self.config.store(config);
    }

    fn member(&self) -> Option<&Arc<Member>> {
        Some(&self.member)
    }
}
