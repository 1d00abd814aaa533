//! From values to any type with `Deserialize`, with all mistakes.

mod alone;
mod key;
mod pass;
mod reader;
mod refused;
mod scalar;
mod section;
mod section_keys;
#[cfg(all(test, feature = "yaml"))]
mod tests;

pub(crate) use self::{alone::read_alone, section::Reading};
