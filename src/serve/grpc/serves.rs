//! In which flavours a plugin is served.

use std::fmt;

use crate::{
    error::BoxError,
    grpc::{Decode, Encode, Flavour, Json, Native},
    plugin::{HealthStatus, PluginInfo},
};

/// How a plugin is served whose messages may be JSON and Protocol Buffers: each caller is answered in its
/// own flavour.
///
/// ```
/// use tower_upstream::{plugin::HealthStatus, serve::{self, Both, GrpcServe}};
///
/// type Tax<P, T> = GrpcServe<P, T, fn() -> std::future::Ready<HealthStatus>, Both>;
/// # fn serve<P, T>(plugin: P) -> Tax<P, T> {
/// serve::grpc(plugin).both()
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Both;

/// Flavours in which a plugin is served: [`Json`], [`Native`] or [`Both`].
///
/// Only this crate implements it.
pub trait Serves<T, U>: 'static {
    /// The flavour whose service has this name.
    #[doc(hidden)]
    fn find(service: &str) -> Option<Codec<T, U>>;
}

/// How the messages of one flavour are read and written.
// Out of reach: only this crate implements the trait above.
#[allow(unnameable_types)]
#[doc(hidden)]
pub struct Codec<T, U> {
    pub(super) read: fn(&[u8]) -> Result<T, BoxError>,
    pub(super) write: fn(&U, &mut Vec<u8>) -> Result<(), BoxError>,
    pub(super) info: fn(&PluginInfo) -> Vec<u8>,
    pub(super) health: fn(&HealthStatus) -> Vec<u8>,
}

impl<T, U> Codec<T, U> {
    fn of<F: Flavour + Decode<T> + Encode<U>>(service: &str) -> Option<Self> {
        (service == F::SERVICE).then_some(Self {
            read: F::decode,
            write: F::encode,
            info: F::write_info,
            health: F::write_health,
        })
    }
}

impl<T, U> fmt::Debug for Codec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").finish_non_exhaustive()
    }
}

impl<T, U> Serves<T, U> for Json
where
    Self: Decode<T> + Encode<U>,
{
    fn find(service: &str) -> Option<Codec<T, U>> {
        Codec::of::<Self>(service)
    }
}

impl<T, U> Serves<T, U> for Native
where
    Self: Decode<T> + Encode<U>,
{
    fn find(service: &str) -> Option<Codec<T, U>> {
        Codec::of::<Self>(service)
    }
}

impl<T, U> Serves<T, U> for Both
where
    Json: Decode<T> + Encode<U>,
    Native: Decode<T> + Encode<U>,
{
    fn find(service: &str) -> Option<Codec<T, U>> {
        Codec::of::<Json>(service).or_else(|| Codec::of::<Native>(service))
    }
}
