//! The rules of choosing as plain arithmetic: state and time in, decision out.
//!
//! No clock, lock, task or source of random numbers: the time is a [`Duration`](std::time::Duration) since any
//! start, numbers come from an [`Rng`] with a seed. So tables of other systems can be replayed against these
//! rules, and one seed reproduces all choices. No input makes them panic: what is out of bounds is clamped
//! as each rule says.
//!
//! | Rule | For | Source |
//! |---|---|---|
//! | [`SmoothWrr`] | weighted turns, up to about 64 entries | nginx |
//! | [`Edf`] | weighted turns with weights that change | Envoy |
mod edf;
mod rng;
mod smooth;

pub use self::{edf::Edf, rng::Rng, smooth::SmoothWrr};
