//! A check that asks over HTTP/1.1.

mod by_config;
mod check;
#[cfg(test)]
mod check_tests;
mod exchange;
mod own;
mod target;

pub use self::check::HttpCheck;

/// What is wrong with a target whatever the endpoint, if something is.
pub(super) fn mistake_in(target: &str) -> Option<String> {
    target::Target::parse(target).err()
}
