//! A check that asks over HTTP/1.1.

mod check;
mod exchange;
mod target;

pub use self::check::HttpCheck;
