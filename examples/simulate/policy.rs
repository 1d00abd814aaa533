//! The policies that are compared. One more is one line.

use std::{sync::Arc, time::Duration};

use tower::{
    Service, ServiceExt,
    balance::p2c,
    discover::Discover as TowerDiscover,
    load::{CompleteOnResponse, Load, PeakEwmaDiscover, PendingRequestsDiscover},
    util::BoxService,
};
use tower_layer::Layer;
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint, LeastRequest,
    balance::{Pick, Random, RoundRobin, Strategy},
    connect_fn,
    discover::{Memory, ToChanges},
};

use crate::{
    random,
    scenario::Request,
    world::{Server, World},
};

/// A policy, and how to make a client that follows it: of the fleet, and of a seed for its choices.
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    pub(crate) by: &'static str,
    client: fn(&Fleet, u64) -> Client,
}

pub(crate) type Client = BoxService<Request, (), BoxError>;

/// The default of this crate: what `pass` is about.
pub(crate) const DEFAULT: &str = "LeastRequest";

/// What the simulations ask for and this crate does not have yet.
pub(crate) const ABSENT: &[&str] = &["slow start", "ejection"];

const OURS: &str = "tower-upstream";
const TOWER: &str = "tower";

#[rustfmt::skip]
pub(crate) const POLICIES: &[Policy] = &[
    Policy { name: "RoundRobin", by: OURS, client: |fleet, seed| ours(fleet, RoundRobin::new(), seed) },
    Policy { name: "Random", by: OURS, client: |fleet, seed| ours(fleet, Random::new(), seed) },
    Policy { name: "LeastRequest", by: OURS, client: |fleet, seed| ours(fleet, LeastRequest::new(), seed) },
    Policy { name: "p2c PendingRequests", by: TOWER, client: |fleet, seed| towers(PendingRequestsDiscover::new(fleet.changes(), CompleteOnResponse::default()), seed) },
    Policy { name: "p2c PeakEwma", by: TOWER, client: |fleet, seed| towers(PeakEwmaDiscover::new(fleet.changes(), FIRST_RTT, DECAY, CompleteOnResponse::default()), seed) },
];

/// What tower's `PeakEwma` takes a server for that has not answered yet; linkerd's figure.
const FIRST_RTT: Duration = Duration::from_secs(1);
/// Ten seconds, as in Finagle and linkerd.
const DECAY: Duration = Duration::from_secs(10);

impl Policy {
    pub(crate) fn client(&self, fleet: &Fleet, seed: u64) -> Client {
        (self.client)(fleet, seed)
    }
}

/// The servers, as discovery finds them.
pub(crate) struct Fleet {
    world: Arc<World>,
    found: Memory,
}

impl Fleet {
    /// Finds the first so many servers.
    pub(crate) fn new(world: Arc<World>, servers: usize) -> Result<Self, BoxError> {
        let found = Memory::new((0..servers).map(address).collect::<Vec<_>>().iter().map(|a| &**a))?;
        Ok(Self { world, found })
    }

    /// Finds another.
    pub(crate) fn insert(&self, server: usize) -> Result<(), BoxError> {
        Ok(self.found.insert(&*address(server))?)
    }

    fn connect(&self) -> impl Fn(&Endpoint) -> Server + Clone + Unpin + Send + Sync + 'static {
        let world = self.world.clone();
        move |endpoint| Server::new(world.clone(), number(endpoint))
    }

    /// The servers, for tower's balancer.
    fn changes(
        &self,
    ) -> impl TowerDiscover<
        Key = String,
        Service: Service<Request, Response = (), Error = tower_upstream::Error, Future: Send> + Send,
        Error: Into<BoxError>,
    > + Unpin
    + Send
    + 'static {
        ToChanges::new(&self.found, connect_fn(self.connect()))
    }
}

/// The host is the number of the server, and all are as long, so that they are sorted by it.
fn address(server: usize) -> String {
    format!("server-{server:04}:80")
}

fn number(endpoint: &Endpoint) -> usize {
    let number = endpoint.address().host().rsplit('-').next();
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn ours<P>(fleet: &Fleet, strategy: P, _seed: u64) -> Client
where
    P: Strategy + Pick<Request> + Clone,
{
    let layer = BalanceLayer::new(fleet.found.clone(), strategy);
    BoxService::new(layer.layer(connect_fn(fleet.connect())).map_err(BoxError::from))
}

fn towers<D>(servers: D, seed: u64) -> Client
where
    D: TowerDiscover<Key = String> + Unpin + Send + 'static,
    D::Error: Into<BoxError>,
    D::Service: Service<Request, Response = (), Error: Into<BoxError>, Future: Send + 'static> + Load<Metric: std::fmt::Debug> + Send + 'static,
{
    let balance = p2c::Balance::from_rng(servers, random::Random::new(seed, 0));
    BoxService::new(balance)
}
