//! What clients are told of a limit, over HTTP and gRPC.

mod body;
mod future;
mod layer;
mod reports;
mod responses;
mod service;
mod tell;
mod terms;

pub use self::{
    body::{BodyFn, DefaultBody, EmptyBody},
    future::AnswerFuture,
    layer::AnswerLayer,
    reports::{NoFields, Reports},
    service::Answer,
};
