//! Calls that end with the body of their response, for circuits and for limits.

mod circuit;
mod judged;
mod limit;

pub use self::{circuit::AtBodyEnd, judged::JudgedBody};
