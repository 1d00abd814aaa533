//! The policies that are compared. One more is one line.

use std::{fmt::Debug, sync::Arc, time::Duration};

use tower::{
    Service, ServiceExt,
    balance::p2c::Balance,
    discover::Discover,
    load::{CompleteOnResponse, Load, PeakEwmaDiscover, PendingRequestsDiscover},
    util::BoxService,
};
use tower_layer::Layer;
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint, Error, LeastRequest,
    balance::{
        BalanceConfig, BoundedBy, ConsistentHash, LeastLatency, OutlierConfig, PeakEwma, Pick,
        Random, RoundRobin, SlowStartConfig, Strategy,
    },
    connect::Connect,
    connect_fn,
    discover::{Memory, ToChanges},
    rules::hash::{BoundedLoad, FadeIn},
};

use crate::{
    random,
    scenario::{Change, Request},
    world::{Server, World},
};

/// A policy, and how to make a client that follows it: of the fleet, and of a seed for its choices.
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    pub(crate) by: &'static str,
    client: fn(&Fleet, u64) -> Client,
}

pub(crate) type Client = BoxService<Request, (), BoxError>;

/// The default of this crate.
pub(crate) const DEFAULT: &str = "PeakEwma";

pub(crate) const POLICIES: &[Policy] = &[
    Policy::ours("RoundRobin", |fleet, seed| balance(fleet, seed, RoundRobin::new())),
    Policy::ours("Random", |fleet, seed| balance(fleet, seed, Random::new())),
    Policy::ours("LeastRequest", |fleet, seed| balance(fleet, seed, LeastRequest::new())),
    Policy::ours("LeastLatency", |fleet, seed| balance(fleet, seed, LeastLatency::new())),
    Policy::ours("PeakEwma", |fleet, seed| balance(fleet, seed, PeakEwma::new())),
    Policy::ours("PeakEwma + ejection", |fleet, seed| {
        balance_with(fleet, seed, PeakEwma::new(), OutlierConfig::default())
    }),
    Policy::ours("PeakEwma classic", |fleet, seed| balance(fleet, seed, PeakEwma::classic())),
    Policy::towers("p2c PendingRequests", |fleet, seed| {
        let done = CompleteOnResponse::default();
        p2c(seed, PendingRequestsDiscover::new(fleet.changes(), done))
    }),
    Policy::towers("p2c PeakEwma", |fleet, seed| {
        let done = CompleteOnResponse::default();
        p2c(seed, PeakEwmaDiscover::new(fleet.changes(), FIRST_RTT, DECAY, done))
    }),
];

/// Those that are compared where requests have keys.
pub(crate) const BY_KEY: &[Policy] = &[
    Policy::ours(TWO_CHOICES, |fleet, seed| balance(fleet, seed, LeastRequest::new())),
    Policy::ours("ConsistentHash, no bound", |fleet, seed| balance(fleet, seed, by_key(None))),
    Policy::ours("ConsistentHash, 2.0", |fleet, seed| balance(fleet, seed, by_key(Some(2.0)))),
    Policy::ours(HASH_DEFAULT, |fleet, seed| balance(fleet, seed, by_key(Some(1.5)))),
    Policy::ours("ConsistentHash, 1.25", |fleet, seed| balance(fleet, seed, by_key(Some(1.25)))),
];

/// The one that knows nothing of keys.
pub(crate) const TWO_CHOICES: &str = "LeastRequest";
/// The default of `ConsistentHash`.
pub(crate) const HASH_DEFAULT: &str = "ConsistentHash, 1.5";

/// Those that are compared where servers remember keys, and come and go.
pub(crate) const BY_CACHED_KEY: &[Policy] = &[
    Policy::ours(AT_ONCE, |fleet, seed| {
        balance(fleet, seed, by_cached_key(BoundedBy::InFlight, NO_FADE_IN))
    }),
    Policy::ours("in flight, fade-in", |fleet, seed| {
        balance(fleet, seed, by_cached_key(BoundedBy::InFlight, FadeIn::default()))
    }),
    Policy::ours("occupancy, at once", |fleet, seed| {
        balance(fleet, seed, by_cached_key(BoundedBy::Occupancy, NO_FADE_IN))
    }),
    Policy::ours(WARM, |fleet, seed| {
        balance(fleet, seed, by_cached_key(BoundedBy::Occupancy, FadeIn::default()))
    }),
];

/// Bounds what is in flight at a moment, and gives newcomers all their keys at once, as others do.
pub(crate) const AT_ONCE: &str = "in flight, at once";
/// What there is for servers that remember keys.
pub(crate) const WARM: &str = "occupancy, fade-in";

const NO_FADE_IN: FadeIn = FadeIn { window: Duration::ZERO, exponent: 1.0 };

fn by_cached_key(by: BoundedBy, fade_in: FadeIn) -> ConsistentHash<fn(&Request) -> u64> {
    by_key(Some(1.5)).with_bounded_by(by).with_fade_in(fade_in)
}

fn by_key(factor: Option<f64>) -> ConsistentHash<fn(&Request) -> u64> {
    let key: fn(&Request) -> u64 = |request| request.key;
    ConsistentHash::by_key(key).with_bounded_load(factor.map(BoundedLoad::new))
}

/// What tower's `PeakEwma` takes a server for that has not answered yet; linkerd's figure.
const FIRST_RTT: Duration = Duration::from_secs(1);
/// Ten seconds, as in Finagle and linkerd.
const DECAY: Duration = Duration::from_secs(10);

impl Policy {
    pub(crate) const fn new(
        name: &'static str,
        by: &'static str,
        client: fn(&Fleet, u64) -> Client,
    ) -> Self {
        Self { name, by, client }
    }

    const fn ours(name: &'static str, client: fn(&Fleet, u64) -> Client) -> Self {
        Self::new(name, "tower-upstream", client)
    }

    const fn towers(name: &'static str, client: fn(&Fleet, u64) -> Client) -> Self {
        Self::new(name, "tower", client)
    }

    pub(crate) fn client(&self, fleet: &Fleet, seed: u64) -> Client {
        (self.client)(fleet, seed)
    }
}

/// The servers, as discovery finds them.
pub(crate) struct Fleet {
    world: Arc<World>,
    found: Memory,
    slow_start: Duration,
}

impl Fleet {
    /// Finds these servers.
    pub(crate) fn new(
        world: Arc<World>,
        servers: impl Iterator<Item = usize>,
        slow_start: Duration,
    ) -> Result<Self, BoxError> {
        let found = servers.map(endpoint).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { world, found: Memory::new(found)?, slow_start })
    }

    /// Finds others, or some of them no more.
    pub(crate) fn change(&self, change: &Change) -> Result<(), BoxError> {
        for server in change.servers.clone() {
            let endpoint = endpoint(server)?;
            if change.joins {
                self.found.insert(endpoint)?;
            } else {
                self.found.remove(endpoint.key());
            }
        }
        Ok(())
    }

    fn connect(&self) -> impl Fn(&Endpoint) -> Server + Clone + Unpin + Send + Sync + 'static {
        let world = self.world.clone();
        move |endpoint| Server::new(world.clone(), number(endpoint))
    }

    /// The servers, as tower's balancer finds them.
    pub(crate) fn changes(
        &self,
    ) -> ToChanges<impl Connect<Service = Server> + Unpin + Send + 'static> {
        ToChanges::new(&self.found, connect_fn(self.connect()))
    }
}

/// The host is the number of the server, and all are as long, so that they are sorted by it.
pub(crate) fn endpoint(server: usize) -> Result<Endpoint, Error> {
    Endpoint::new(format!("server-{server:04}:80"))
}

fn number(endpoint: &Endpoint) -> usize {
    let number = endpoint.address().host().rsplit('-').next();
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Our balancer, without ejection: it is strategies that are compared.
fn balance<P>(fleet: &Fleet, seed: u64, strategy: P) -> Client
where
    P: Strategy + Pick<Request> + Clone,
{
    balance_with(fleet, seed, strategy, OutlierConfig::off())
}

fn balance_with<P>(fleet: &Fleet, seed: u64, strategy: P, outlier: OutlierConfig) -> Client
where
    P: Strategy + Pick<Request> + Clone,
{
    let config = BalanceConfig::default()
        .with_outlier(outlier)
        .with_slow_start(SlowStartConfig::over(fleet.slow_start));
    let layer = BalanceLayer::with_config(fleet.found.clone(), strategy, config).with_seed(seed);
    BoxService::new(layer.layer(connect_fn(fleet.connect())).map_err(BoxError::from))
}

/// tower's balancer.
pub(crate) fn p2c<D>(seed: u64, servers: D) -> Client
where
    D: Discover<Key = String, Error: Into<BoxError>> + Unpin + Send + 'static,
    D::Service: Service<Request, Response = (), Error: Into<BoxError>, Future: Send>,
    D::Service: Load<Metric: Debug> + Send,
{
    BoxService::new(Balance::from_rng(servers, random::Random::new(seed, 0)))
}
