//! Named upstreams.

mod answer;
mod body;
mod built_in;
mod connector;
mod endpoints;
mod factory;
mod generation;
mod layers;
mod places;
mod slot;
mod sources;
mod strategy;
mod terms;
mod upstream;

pub use self::{
    answer::{Answer, AnswerFuture, KeptOf},
    body::{Request, Response},
    connector::{AnyConnector, AnyConnectorService, AnyService},
    endpoints::{AnyDiscover, AnyDiscoverStream},
    factory::Factory,
    generation::PluginStack,
    layers::{Layers, Stack},
    strategy::{AnyStrategy, AnyTable},
    terms::{Terms, TermsLayer},
    upstream::{InFlight, Upstream, UpstreamFuture},
};
