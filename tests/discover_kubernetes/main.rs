//! Endpoints in Kubernetes, against a double in this process that answers as a recorded API server did: on a
//! paused clock.
#![cfg(feature = "kubernetes")]
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod access;
mod double;
mod hostile;
mod objects;
#[cfg(feature = "config")]
mod plugins;
#[cfg(unix)]
mod programs;
mod providers;
mod reading;
#[path = "../support/registry_story.rs"]
mod registry_story;
mod replay;
mod reports;
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
#[cfg(feature = "config")]
#[path = "../plugins/world.rs"]
mod world;
