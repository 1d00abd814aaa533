//! Sets of endpoints as a watch tells them, on a paused clock, and a balancer over them.
#![allow(dead_code, unreachable_pub)]

use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint, Error,
    balance::RoundRobin,
    connect_fn,
    discover::{Discover, EndpointSet, WatchStream},
    endpoint::Status,
};

pub fn keys(set: &EndpointSet) -> Vec<&str> {
    set.iter().map(|endpoint| endpoint.key()).collect()
}

pub async fn next(sets: &mut WatchStream) -> EndpointSet {
    let news = tokio::time::timeout(Duration::from_secs(900), sets.next()).await;
    news.expect("no news").unwrap()
}

/// The next set has these keys. Tells how long it took.
pub async fn expect(sets: &mut WatchStream, expected: &[&str]) -> Duration {
    let start = Instant::now();
    let set = next(sets).await;
    assert_eq!(keys(&set), expected, "{set:?}");
    start.elapsed()
}

/// An endpoint was found as it was announced, and is well.
pub fn is_as_announced(found: &Endpoint, announced: &Endpoint) {
    assert_eq!((found.key(), found.address()), (announced.key(), announced.address()));
    assert_eq!((found.weight(), found.tags()), (announced.weight(), announced.tags()));
    assert_eq!((found.status(), found.locality()), (Status::Passing, announced.locality()));
    for (key, value) in announced.metadata() {
        assert_eq!(found.metadata().get(key), Some(value));
    }
}

/// There is no news for that time.
pub async fn quiet(sets: &mut WatchStream, time: Duration) {
    if let Ok(news) = tokio::time::timeout(time, sets.next()).await {
        panic!("news: {news:?}");
    }
}

/// A service whose calls are answered with the key of the endpoint that they went to, one after the other.
pub fn calls(
    endpoints: impl Discover,
) -> impl Service<(), Response = String, Error = Error, Future: Send> + Clone {
    ServiceBuilder::new().layer(BalanceLayer::new(endpoints, RoundRobin::new())).service(
        connect_fn(|endpoint: &Endpoint| {
            let key = endpoint.key().to_owned();
            service_fn(move |()| std::future::ready(Ok::<_, BoxError>(key.clone())))
        }),
    )
}
