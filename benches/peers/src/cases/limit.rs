//! Rate limits: one for all, and one for each of a hundred thousand keys.

use std::time::Duration;

use tower::{
    Layer, Service, ServiceBuilder, buffer::Buffer, limit::RateLimit, limit::rate::Rate,
    load_shed::LoadShed,
};
use tower_governor::{
    GovernorError, GovernorLayer, governor::GovernorConfigBuilder, key_extractor::KeyExtractor,
};
use tower_resilience_ratelimiter::{RateLimiter, RateLimiterLayer, WindowType};
use tower_upstream::{
    Error, Quota, RateLimitLayer,
    limit::{RateLimit as OurRateLimit, Refuse},
};

use super::{DAY, PLENTY, governor_once, governor_plenty};
use crate::{
    adapters::{Governor, KeyedGovernor},
    floors::SharedCas,
    harness::{Contender, Workload},
    inner::{HttpInner, Inner},
    traffic::{Good, Http, Keys, KeysRefused, Refused, key_at_hand},
};

pub(crate) fn all() -> Vec<Workload> {
    vec![
        Workload {
            name: "limit, allowed",
            contenders: vec![
                Contender::bare("inner").both(Good, || Inner),
                Contender::bare("http inner").both(Http(Good), || HttpInner),
                Contender::floor("a clock and a CAS").both(Good, SharedCas::new),
                Contender::peer("governor").both(Good, || Governor::new(Inner, governor_plenty())),
                Contender::peer("tower_governor, one key (http)")
                    .both(Http(Good), || tower_governor(OneKey, plenty())),
                Contender::peer("tower RateLimit, one owner").alone(Good, tower_plenty),
                Contender::peer("tower Buffer<RateLimit>")
                    .both(Good, || Buffer::new(tower_plenty(), 1_024)),
                Contender::peer("tower-resilience, fixed window")
                    .both(Good, || resilience_plenty(WindowType::Fixed)),
                Contender::peer("tower-resilience, sliding counter")
                    .both(Good, || resilience_plenty(WindowType::SlidingCounter)),
                Contender::ours("tower-upstream").both(Good, || ours(Quota::per_second(PLENTY))),
            ],
        },
        Workload {
            name: "limit, rejected",
            contenders: vec![
                Contender::bare("inner").both(Good, || Inner),
                Contender::bare("http inner").both(Http(Good), || HttpInner),
                Contender::peer("governor").both(Refused, || Governor::new(Inner, governor_once())),
                Contender::peer("tower_governor, one key (http)")
                    .both(Http(Refused), || tower_governor(OneKey, once())),
                Contender::peer("tower LoadShed<RateLimit>, one owner")
                    .alone(Refused, || LoadShed::new(RateLimit::new(Inner, Rate::new(1, DAY)))),
                Contender::peer("tower-resilience, fixed window")
                    .both(Refused, || resilience_once(WindowType::Fixed)),
                Contender::peer("tower-resilience, sliding counter")
                    .both(Refused, || resilience_once(WindowType::SlidingCounter)),
                Contender::ours("tower-upstream").both(Refused, || ours(Quota::new(1, DAY))),
            ],
        },
        Workload {
            name: "limit, 100,000 keys, allowed",
            contenders: vec![
                Contender::bare("inner").both(Keys, || Inner),
                Contender::bare("http inner").both(Http(Keys), || HttpInner),
                Contender::peer("governor")
                    .both(Keys, || KeyedGovernor::new(Inner, governor_plenty())),
                Contender::peer("tower_governor (http)")
                    .both(Http(Keys), || tower_governor(AtHand, plenty())),
                Contender::ours("tower-upstream")
                    .both(Keys, || ours_by_key(Quota::per_second(PLENTY))),
            ],
        },
        Workload {
            name: "limit, 100,000 keys, rejected",
            contenders: vec![
                Contender::bare("inner").both(Keys, || Inner),
                Contender::bare("http inner").both(Http(Keys), || HttpInner),
                Contender::peer("governor")
                    .both(KeysRefused, || KeyedGovernor::new(Inner, governor_once())),
                Contender::peer("tower_governor (http)")
                    .both(Http(KeysRefused), || tower_governor(AtHand, once())),
                Contender::ours("tower-upstream")
                    .both(KeysRefused, || ours_by_key(Quota::new(1, DAY))),
            ],
        },
    ]
}

fn ours(quota: Quota) -> OurRateLimit<Inner, Refuse> {
    ServiceBuilder::new().layer(RateLimitLayer::new(quota)).service(Inner)
}

/// The request is its own key. So much room that not one of a hundred thousand is forgotten.
fn ours_by_key(
    quota: Quota,
) -> impl Service<u64, Response = u64, Error = Error, Future: Send> + Clone + Send + 'static {
    RateLimitLayer::new(quota).by_key(|key: &u64| *key).with_max_keys(131_072).layer(Inner)
}

fn tower_plenty() -> RateLimit<Inner> {
    RateLimit::new(Inner, Rate::new(u64::from(PLENTY), Duration::from_secs(1)))
}

fn resilience_plenty(window: WindowType) -> RateLimiter<Inner> {
    resilience(window, PLENTY as usize, Duration::from_secs(1))
}

fn resilience_once(window: WindowType) -> RateLimiter<Inner> {
    resilience(window, 1, DAY)
}

fn resilience(window: WindowType, calls: usize, period: Duration) -> RateLimiter<Inner> {
    let layer = RateLimiterLayer::builder()
        .window_type(window)
        .limit_for_period(calls)
        .refresh_period(period)
        .timeout_duration(Duration::ZERO)
        .build();
    layer.expect("a layer").layer(Inner)
}

/// A period for one call, and how many at once.
type HttpQuota = (Duration, u32);

fn plenty() -> HttpQuota {
    (Duration::from_nanos(1), PLENTY)
}

fn once() -> HttpQuota {
    (DAY, 1)
}

fn tower_governor<K>(
    key: K,
    (period, burst): HttpQuota,
) -> tower_governor::governor::Governor<
    K,
    governor::middleware::NoOpMiddleware,
    HttpInner,
    axum::body::Body,
>
where
    K: KeyExtractor,
{
    let config = GovernorConfigBuilder::default()
        .period(period)
        .burst_size(burst)
        .key_extractor(key)
        .finish();
    GovernorLayer::new(config.expect("a config")).layer(HttpInner)
}

#[derive(Debug, Clone)]
struct OneKey;

impl KeyExtractor for OneKey {
    type Key = ();

    fn extract<T>(&self, _: &http::Request<T>) -> Result<(), GovernorError> {
        Ok(())
    }
}

/// Finds the key for nothing, which is as fast as any can be.
#[derive(Debug, Clone)]
struct AtHand;

impl KeyExtractor for AtHand {
    type Key = u64;

    fn extract<T>(&self, _: &http::Request<T>) -> Result<u64, GovernorError> {
        Ok(key_at_hand())
    }
}
