//! One driver for every backend that endpoints are announced to: see [`Registrar`](registrar::Registrar)
//! for what a backend is, and [`Registry`](registry::Registry) for what becomes of it.

mod course;
mod driver;
mod entry;
mod instance;
#[cfg(any(feature = "consul", feature = "eureka"))]
mod place;
mod registrar;
mod registration;
mod registry;
#[cfg(any(feature = "consul", feature = "eureka"))]
mod round;
mod shared;

pub use self::{
    instance::Instance,
    registrar::{Kept, Registrar},
    registration::Registration,
    registry::Registry,
};
#[cfg(any(feature = "consul", feature = "eureka"))]
pub(super) use self::{place::port, round::Round};
