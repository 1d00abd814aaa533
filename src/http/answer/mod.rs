//! What a server answers instead of an error, and what it tells clients of a limit.

mod body;
mod future;
mod layer;
mod reports;
mod responses;
mod service;
mod tell;

pub use self::{
    body::{BodyFn, DefaultBody, EmptyBody},
    future::AnswerFuture,
    layer::AnswerLayer,
    reports::{NoFields, Reports},
    service::Answer,
};
