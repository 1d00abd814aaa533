//! Moving off a shared ingress in five steps, as the README has them.
#![cfg(all(feature = "hash", feature = "http", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use std::{collections::BTreeMap, time::Duration};

use http::Request;
use tower::{ServiceBuilder, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint,
    balance::{Balance, ConsistentHash, HashScheme, Pick},
    connect_fn,
    discover::Memory,
    key,
    rules::hash::{FadeIn, Ring, xxh64},
};

/// What the ingress logs: the endpoint of each key, where each has so many points.
fn logged(hosts: &[&str], points: usize) -> BTreeMap<String, String> {
    let urls: Vec<_> = hosts.iter().map(|host| format!("http://{host}")).collect();
    let ring = Ring::skipper(&urls, points as u32);
    let keys = (0..2_000).map(|number| format!("tenant-{number}"));
    keys.map(|key| (key.clone(), hosts[ring.get(xxh64(key.as_bytes(), 0)).unwrap()].to_owned()))
        .collect()
}

const HOSTS: [&str; 5] =
    ["10.0.0.9:8080", "10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.12:8080", "10.0.0.3:8080"];

fn request(tenant: &str) -> Request<()> {
    Request::get("/").header("x-tenant", tenant).body(()).unwrap()
}

async fn differ<P>(strategy: P, hosts: &[&str]) -> usize
where
    P: Pick<Request<()>> + Clone,
{
    differ_from(strategy, hosts, 100).await
}

async fn differ_from<P>(strategy: P, hosts: &[&str], points: usize) -> usize
where
    P: Pick<Request<()>> + Clone,
{
    let endpoint = |host: &&str| Endpoint::new(format!("http://{host}/base")).unwrap();
    let all: Vec<_> = HOSTS.iter().map(endpoint).collect();
    let endpoints = Memory::new(all).unwrap();
    let balance: Balance<_, P> =
        ServiceBuilder::new().layer(BalanceLayer::new(endpoints.clone(), strategy)).service(
            connect_fn(|_: &Endpoint| service_fn(async |_: Request<()>| Ok::<_, BoxError>(()))),
        );
    drop(balance.ready_pick(&request("any")).await.unwrap());
    endpoints.replace(hosts.iter().map(endpoint).collect::<Vec<_>>()).unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let chosen = |key: &str| {
        let picked = balance.pick(&request(key)).unwrap();
        picked.endpoint().address().authority().to_owned()
    };
    logged(hosts, points).iter().filter(|(key, host)| chosen(key) != **host).count()
}

fn text(request: &Request<()>) -> Option<String> {
    request.headers().get("x-tenant")?.to_str().ok().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn a_choice_is_that_of_the_ingress_also_while_endpoints_come_and_go() {
    let window = FadeIn { window: Duration::ZERO, ..FadeIn::default() };
    let strategy = ConsistentHash::by_key(key::optional(text))
        .with_scheme(HashScheme::Skipper { points: 100 })
        .with_bounded_load(None)
        .with_fade_in(window);
    assert_eq!(differ(strategy.clone(), &HOSTS).await, 0);
    assert_eq!(differ(strategy.clone(), &HOSTS[..3]).await, 0);
    let more = [&HOSTS[..], &["10.0.0.4:8080", "10.0.0.5:8080"]].concat();
    assert_eq!(differ(strategy.clone(), &more).await, 0);
    // What the steps warn of.
    let bytes = |request: &Request<()>| request.headers().get("x-tenant").cloned();
    let scheme = HashScheme::Skipper { points: 100 };
    let by_bytes = ConsistentHash::by_key(key::optional(bytes)).with_scheme(scheme);
    assert!(differ(by_bytes, &HOSTS).await > 1_000);
    let by_option = ConsistentHash::by_key(text).with_scheme(scheme);
    assert!(differ(by_option, &HOSTS).await > 1_000);
    assert!(differ(strategy.with_fade_in(FadeIn::default()), &more).await > 100);
}

#[tokio::test(start_paused = true)]
async fn so_it_is_of_one_that_has_ten_thousand_points_by_the_number_of_endpoints() {
    let strategy = ConsistentHash::by_key(key::optional(text))
        .with_scheme(HashScheme::Skipper { points: 0 })
        .with_bounded_load(None)
        .with_fade_in(None);
    let more = [&HOSTS[..], &["10.0.0.4:8080", "10.0.0.5:8080"]].concat();
    for hosts in [&HOSTS[..], &HOSTS[..3], &HOSTS[..1], &more] {
        assert_eq!(differ_from(strategy.clone(), hosts, 10_000 / hosts.len()).await, 0);
    }
    assert!(differ_from(strategy, &HOSTS, 100).await > 100);
}
