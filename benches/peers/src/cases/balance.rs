//! One of many, chosen by each strategy that a peer has as well. All members are ready, and alike.

use std::time::Duration;

use tower::{
    BoxError, Layer, Service,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::ServiceList,
    load::{CompleteOnResponse, Load, PeakEwma as TowerPeakEwma, PendingRequests},
};
use tower_resilience_router::{WeightedRouter, WeightedRouterBuilder};
use tower_upstream::{
    BalanceLayer, Endpoint, Error, LeastRequest,
    balance::{PeakEwma, Pick, RoundRobin, Strategy, WeightedRandom, WeightedRoundRobin},
    connect_fn, discover,
};

#[cfg(feature = "pingora")]
use crate::pingora::{self, Pingora};
use crate::{
    floors::SharedTwoChoices,
    harness::{Contender, Workload},
    inner::Inner,
    traffic::Good,
};

pub(crate) fn all() -> Vec<Workload> {
    vec![
        round_robin("balance, round robin of 10", 10),
        round_robin("balance, round robin of 1,000", 1_000),
        round_robin("balance, round robin of 10,000", 10_000),
        weighted_round_robin("balance, weighted round robin of 10", 10),
        weighted_round_robin("balance, weighted round robin of 1,000", 1_000),
        weighted_round_robin("balance, weighted round robin of 10,000", 10_000),
        weighted_random("balance, weighted random of 10", 10),
        weighted_random("balance, weighted random of 1,000", 1_000),
        weighted_random("balance, weighted random of 10,000", 10_000),
        least_request("balance, least request of 10", 10),
        least_request("balance, least request of 1,000", 1_000),
        least_request("balance, least request of 10,000", 10_000),
        peak_ewma("balance, peak EWMA of 10", 10),
        peak_ewma("balance, peak EWMA of 1,000", 1_000),
        peak_ewma("balance, peak EWMA of 10,000", 10_000),
    ]
}

/// The router's is smooth, whatever the weights, and so looks at all members.
fn round_robin(name: &'static str, members: usize) -> Workload {
    let contenders = vec![
        Contender::bare("inner").both(Good, || Inner),
        Contender::peer("tower-resilience router, deterministic")
            .both(Good, move || router(members, EQUAL).build()),
        #[cfg(feature = "pingora")]
        Contender::peer("pingora RoundRobin")
            .both(Good, move || Pingora::<_, pingora::RoundRobin>::new(Inner, members, EQUAL)),
        Contender::ours("tower-upstream")
            .both(Good, move || ours(members, EQUAL, RoundRobin::new())),
    ];
    Workload { name, contenders }
}

/// pingora's gives a member of weight four its four calls in a row; the others spread them.
fn weighted_round_robin(name: &'static str, members: usize) -> Workload {
    let contenders = vec![
        Contender::bare("inner").both(Good, || Inner),
        Contender::peer("tower-resilience router, deterministic")
            .both(Good, move || router(members, ONE_TO_FOUR).build()),
        #[cfg(feature = "pingora")]
        Contender::peer("pingora RoundRobin, in a row").both(Good, move || {
            Pingora::<_, pingora::RoundRobin>::new(Inner, members, ONE_TO_FOUR)
        }),
        Contender::ours("tower-upstream")
            .both(Good, move || ours(members, ONE_TO_FOUR, WeightedRoundRobin::new())),
    ];
    Workload { name, contenders }
}

fn weighted_random(name: &'static str, members: usize) -> Workload {
    let contenders = vec![
        Contender::bare("inner").both(Good, || Inner),
        Contender::peer("tower-resilience router, random")
            .both(Good, move || router(members, ONE_TO_FOUR).random().build()),
        #[cfg(feature = "pingora")]
        Contender::peer("pingora Random")
            .both(Good, move || Pingora::<_, pingora::Random>::new(Inner, members, ONE_TO_FOUR)),
        Contender::ours("tower-upstream")
            .both(Good, move || ours(members, ONE_TO_FOUR, WeightedRandom::new())),
    ];
    Workload { name, contenders }
}

fn least_request(name: &'static str, members: usize) -> Workload {
    let tower = move || p2c(members, |done| PendingRequests::new(Inner, done));
    let contenders = vec![
        Contender::bare("inner").both(Good, || Inner),
        Contender::floor("two choices").both(Good, move || SharedTwoChoices::new(members)),
        Contender::peer("tower p2c PendingRequests, one owner").alone(Good, tower),
        Contender::peer("tower Buffer<p2c PendingRequests>")
            .both(Good, move || Buffer::new(tower(), 1_024)),
        Contender::ours("tower-upstream")
            .both(Good, move || ours(members, EQUAL, LeastRequest::new())),
    ];
    Workload { name, contenders }
}

/// Ours also looks at the age of the oldest request, and tells failures from answers.
fn peak_ewma(name: &'static str, members: usize) -> Workload {
    let tower =
        move || p2c(members, |done| TowerPeakEwma::new(Inner, FIRST_RTT, DECAY_NANOS, done));
    let contenders = vec![
        Contender::bare("inner").both(Good, || Inner),
        Contender::floor("two choices").both(Good, move || SharedTwoChoices::new(members)),
        Contender::peer("tower p2c PeakEwma, one owner").alone(Good, tower),
        Contender::peer("tower Buffer<p2c PeakEwma>")
            .both(Good, move || Buffer::new(tower(), 1_024)),
        Contender::ours("tower-upstream").both(Good, move || ours(members, EQUAL, PeakEwma::new())),
    ];
    Workload { name, contenders }
}

/// What tower's `PeakEwma` takes a member for that has not answered yet, and how fast it forgets.
const FIRST_RTT: Duration = Duration::from_secs(1);
const DECAY_NANOS: f64 = 10e9;

/// The weight of each member, by its number.
type Weight = fn(usize) -> u32;

pub(super) const EQUAL: Weight = |_| 1;
const ONE_TO_FOUR: Weight = |member| 1 + member as u32 % 4;

pub(super) fn ours<P>(
    members: usize,
    weight: Weight,
    strategy: P,
) -> impl Service<u64, Response = u64, Error = Error, Future: Send> + Clone + Send + 'static
where
    P: Strategy + Pick<u64> + Clone,
{
    let endpoint = |member| {
        let host = format!("http://10.{}.{}.1:80", member / 256, member % 256);
        Endpoint::new(host).expect("an address").with_weight(weight(member))
    };
    let endpoints = discover::fixed((0..members).map(endpoint)).expect("endpoints");
    BalanceLayer::new(endpoints, strategy).layer(connect_fn(|_: &Endpoint| Inner))
}

fn p2c<S>(
    members: usize,
    member: impl Fn(CompleteOnResponse) -> S,
) -> Balance<ServiceList<Vec<S>>, u64>
where
    S: Service<u64, Response = u64, Error: Into<BoxError>> + Load<Metric: std::fmt::Debug>,
{
    let members = (0..members).map(|_| member(CompleteOnResponse::default()));
    Balance::new(ServiceList::new(members.collect::<Vec<_>>()))
}

/// Asks all members for each call whether they are ready, which these are for nothing.
fn router(members: usize, weight: Weight) -> WeightedRouterBuilder<Inner> {
    let route = |router: WeightedRouterBuilder<_>, member| router.route(Inner, weight(member));
    (0..members).fold(WeightedRouter::builder(), route)
}
