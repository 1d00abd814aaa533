//! Answers the calls that a [`ProcessTransport`](crate::transport::ProcessTransport) sends.

mod answer;
mod config;
mod plugin;
mod run;
mod serve;
mod streams;

pub use self::{
    config::StdioConfig,
    serve::{StdioServe, stdio},
};
