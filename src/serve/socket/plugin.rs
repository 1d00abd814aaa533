//! The plugin behind a server.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::answer;
use crate::{
    error::BoxError,
    plugin::{
        Call, HealthStatus, PluginInfo, Reply,
        wire::{
            data,
            stream::{Asked, EXECUTE, HEALTH, INFO, PING},
        },
    },
    serve::execute::{check, execute},
    wire,
};

/// What answers the messages of all connections.
pub(super) trait Answers: Send + Sync + 'static {
    fn answer(&self, asked: &Asked<'_>) -> impl Future<Output = Vec<u8>> + Send;
}

/// A plugin, and what it tells of itself.
pub(super) struct Plugin<S, T, H> {
    pub(super) service: S,
    pub(super) health: H,
    pub(super) info: PluginInfo,
    pub(super) types: PhantomData<fn(T)>,
}

impl<S, T, U, H, F> Answers for Plugin<S, T, H>
where
    S: Service<Call<T>, Response = Reply<U>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    T: DeserializeOwned + Send + 'static,
    U: Serialize + Send,
    H: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = HealthStatus> + Send,
{
    async fn answer(&self, asked: &Asked<'_>) -> Vec<u8> {
        match asked.operation.as_str() {
            EXECUTE => match call(asked) {
                Ok(call) => match execute(self.service.clone(), call).await {
                    Ok(reply) => answer::success(asked, &reply),
                    Err(error) => answer::failure(asked, &error),
                },
                Err(problem) => {
                    let problem = problem.to_string();
                    let problem = wire::start(&problem, 1_024);
                    answer::failed(asked, &format!("this is no call: {problem}"))
                }
            },
            HEALTH => answer::health(asked, &check((self.health)()).await),
            INFO => answer::info(asked, &self.info),
            PING => answer::done(asked),
            other => {
                let other = wire::start(other, 64);
                let text = format!("unknown message type `{}`", other.escape_debug());
                answer::failed(asked, &text)
            }
        }
    }
}

fn call<T: DeserializeOwned>(asked: &Asked<'_>) -> Result<Call<T>, BoxError> {
    let mut call = Call::new(data(asked.data)?);
    if !asked.request_id.is_empty() {
        call = call.with_id(asked.request_id.as_str());
    }
    if let Some(timeout) = asked.timeout {
        call = call.with_timeout(timeout);
    }
    for (name, value) in &asked.headers {
        call = call.with_header(name, value);
    }
    for (key, value) in &asked.metadata {
        call = call.with_metadata(key, value);
    }
    Ok(call)
}
