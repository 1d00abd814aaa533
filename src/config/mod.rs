//! Config files: JSON, YAML and TOML, read with the place of each value and all mistakes at once.

pub mod env;
mod error;
mod file;
mod merge;
mod names;
mod nearest;
mod read;
mod value;

pub use self::{
    error::{ConfigError, Mistake},
    value::Format,
};
