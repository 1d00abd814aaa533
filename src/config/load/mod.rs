//! From a file to a config: the steps, in their order.

mod config;
mod options;
mod steps;

pub use self::options::{ReadOptions, Unknown};
