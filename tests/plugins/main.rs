//! Plugins by name: what stands before them, what a config changes, and what becomes of calls meanwhile.
#![cfg(all(feature = "config", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod apply;
mod by_call;
mod calls;
mod factories;
mod fallbacks;
mod generations;
mod groups;
#[path = "../support/log.rs"]
mod log;
#[cfg(feature = "grpc")]
mod messages;
mod over_http;
mod races;
#[path = "../support/raw.rs"]
mod raw;
mod sections;
mod told;
mod warming;
mod world;
