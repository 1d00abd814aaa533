//! Endpoints in a file that another program writes.

mod mark;
mod source;

pub use self::source::{File, file};
