//! Endpoints in the local network by multicast DNS: over loopback alone, with a port for each test, so that
//! nothing leaves this host and no test hears another. On the real clock, since the daemon has a thread of its
//! own; its rules are tested where they are written.
#![cfg(all(unix, feature = "mdns", feature = "dns"))]
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod hostile;
mod reading;
mod real;
mod registering;
#[path = "../support/registry_story.rs"]
mod registry_story;
mod responder;
mod story;

use std::{
    net::{Ipv4Addr, UdpSocket},
    time::Duration,
};

use futures::StreamExt;
use tokio::time::{Instant, timeout};
use tower_upstream::discover::{EndpointSet, Mdns, MdnsConfig, WatchStream};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A port that no other program has.
fn free_port() -> u16 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

/// Loopback alone, without checks.
fn loopback(port: u16) -> MdnsConfig {
    MdnsConfig::default()
        .with_interface("127.0.0.1")
        .with_port(port)
        .with_browse_timeout(secs(2))
        .with_require_health_before_use(false)
}

fn mdns(port: u16) -> Mdns {
    Mdns::new(loopback(port)).unwrap()
}

/// Waits for a set that is so, for at most `limit`. Tells how long it took.
async fn until_within(
    limit: Duration,
    sets: &mut WatchStream,
    is_so: impl Fn(&EndpointSet) -> bool,
) -> (EndpointSet, Duration) {
    let start = Instant::now();
    let wait = async {
        loop {
            let set = sets.next().await.unwrap();
            if is_so(&set) {
                return set;
            }
        }
    };
    let set = timeout(limit, wait).await.unwrap_or_else(|_| panic!("not within {limit:?}"));
    (set, start.elapsed())
}

async fn until(sets: &mut WatchStream, is_so: impl Fn(&EndpointSet) -> bool) -> EndpointSet {
    until_within(secs(20), sets, is_so).await.0
}

fn keys(set: &EndpointSet) -> Vec<&str> {
    set.iter().map(|endpoint| endpoint.key()).collect()
}

/// Waits until the set has these keys.
async fn until_keys(sets: &mut WatchStream, wanted: &[&str]) -> EndpointSet {
    until(sets, |set| keys(set) == wanted).await
}
