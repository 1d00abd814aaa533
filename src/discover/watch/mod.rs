//! One driver for every backend: see [`Source`](source::Source) for what a backend is, and
//! [`Watched`](watched::Watched) for what becomes of it.

mod config;
mod course;
mod driver;
mod handle;
mod published;
mod shared;
mod source;
mod watched;
mod watches;

pub use self::{
    config::WatchConfig,
    handle::WatchHandle,
    source::{Observation, Source},
    watched::{WatchStream, Watched},
    watches::Watches,
};
