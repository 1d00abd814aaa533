//! Calls plugins that are child processes, by lines of JSON over their stdin and stdout, byte for byte as
//! the Go plugin manager does.
//!
//! ```text
//!   service ──► seat ─► channel ─► supervisor: starts a child, and another when that ended
//!                 ▲                    │
//!                 └── answers ◄── session: what is read and written ◄── talk: whose answer a line is
//! ```

mod answer;
mod config;
#[cfg(test)]
mod config_tests;
mod connector;
mod exchange;
mod handle;
mod letters;
mod log;
mod output;
mod permit;
mod plugin;
mod prepare;
mod program;
mod question;
mod seat;
mod service;
mod session;
mod state;
mod supervisor;
mod talk;

pub use self::{
    config::{Multiplex, ProcessConfig},
    connector::ProcessTransport,
    handle::ProcessTransportHandle,
    output::OutputConfig,
    service::{ProcessFuture, ProcessService},
};
