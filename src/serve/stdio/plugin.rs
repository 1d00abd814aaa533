//! The plugin behind the lines.

use std::{marker::PhantomData, panic::AssertUnwindSafe};

use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::answer;
use crate::{
    error::BoxError,
    plugin::{
        Call, HealthStatus, PluginInfo, Reply,
        wire::{
            data,
            process::LineAsked,
            stream::{EXECUTE, HEALTH, INFO},
        },
    },
    serve::execute::{check, execute},
    wire,
};

/// A plugin, and what it tells of itself.
pub(super) struct Plugin<S, T, H> {
    pub(super) service: S,
    pub(super) health: H,
    pub(super) info: PluginInfo,
    pub(super) types: PhantomData<fn(T)>,
}

impl<S, T, U, H, F> Plugin<S, T, H>
where
    S: Service<Call<T>, Response = Reply<U>> + Clone,
    S::Error: Into<BoxError>,
    T: DeserializeOwned,
    U: Serialize,
    H: Fn() -> F,
    F: Future<Output = HealthStatus>,
{
    /// The answer to a line, which is text, and is not empty.
    pub(super) async fn answer(&self, text: &str) -> Vec<u8> {
        let asked = match LineAsked::read(text) {
            Ok(asked) => asked,
            Err(error) => return answer::failed("", &no_call(&error.into())),
        };
        // The service is another clone for each call.
        let answering = AssertUnwindSafe(self.answer_to(&asked)).catch_unwind();
        answering.await.unwrap_or_else(|_| {
            tracing::error!("a plugin panicked");
            answer::failed(&asked.id, "the plugin panicked")
        })
    }

    async fn answer_to(&self, asked: &LineAsked<'_>) -> Vec<u8> {
        let id = asked.id.as_str();
        match asked.method.as_str() {
            EXECUTE => match call(asked) {
                Ok(call) => match execute(self.service.clone(), call).await {
                    Ok(reply) => answer::success(id, &reply),
                    Err(error) => answer::failure(id, &error),
                },
                Err(problem) => answer::failed(id, &no_call(&problem)),
            },
            HEALTH => answer::told(id, &check((self.health)()).await),
            INFO => answer::told(id, &self.info),
            other => {
                let other = wire::start(other, 64);
                answer::failed(id, &format!("unknown method `{}`", other.escape_debug()))
            }
        }
    }
}

fn no_call(problem: &BoxError) -> String {
    format!("this is no call: {}", wire::start(&problem.to_string(), 1_024))
}

fn call<T: DeserializeOwned>(asked: &LineAsked<'_>) -> Result<Call<T>, BoxError> {
    let mut call = Call::new(data(asked.payload)?);
    // That of the line may have been made unique.
    let id = if asked.request_id.is_empty() { &asked.id } else { &asked.request_id };
    if !id.is_empty() {
        call = call.with_id(id.as_str());
    }
    if let Some(timeout) = asked.timeout {
        call = call.with_timeout(timeout);
    }
    if let Some(retries) = asked.max_retries {
        call = call.with_max_retries(retries);
    }
    let call = asked.headers.iter().fold(call, |call, (name, value)| call.with_header(name, value));
    Ok(asked.metadata.iter().fold(call, |call, (key, value)| call.with_metadata(key, value)))
}
