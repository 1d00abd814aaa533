//! Backends by name, each with one service in it: see [`Provider`](provider::Provider) and
//! [`Providers`](providers::Providers).

mod backend;
mod event;
mod overlay;
mod provider;
mod providers;
mod seen;
mod stats;
mod stream;

pub use self::{
    event::{ProviderEvent, ProviderEventKind},
    provider::Provider,
    providers::Providers,
    stats::{ConnectionInfo, ProviderFeature, ProviderStats},
    stream::ProviderStream,
};
