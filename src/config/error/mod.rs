//! What is wrong with a config file, all of it, as it is told to a person.

mod config_error;
mod excerpt;
mod masked;
mod mistake;
mod order;
mod secret;
mod secret_keys;

pub use self::{config_error::ConfigError, mistake::Mistake};
pub(crate) use self::{
    excerpt::Context,
    secret::{is_secret, is_secret_of_file, is_secrets},
};
