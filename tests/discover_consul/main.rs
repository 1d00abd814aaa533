//! Endpoints in Consul, against a double in this process that answers as a recorded Consul did: on a paused
//! clock.
#![cfg(feature = "consul")]
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod catalog;
mod double;
mod hostile;
#[path = "../support/hostile.rs"]
mod hostile_http;
#[path = "../support/linked.rs"]
mod linked;
mod providers;
#[path = "../support/raw.rs"]
mod raw;
mod reading;
mod real;
#[path = "../support/real.rs"]
mod real_servers;
mod registering;
#[path = "../support/registry_story.rs"]
mod registry_story;
mod replay;
#[path = "../support/sets.rs"]
mod sets;
mod settings;
mod story;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tls.rs"]
mod tls;
#[path = "../support/told.rs"]
mod told;
mod troubles;
