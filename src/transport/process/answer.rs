//! Reads the answers of plugins.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{
    error::{Code, Error},
    plugin::{
        HealthStatus, PluginStatus, Reply,
        wire::{MAX_TEXT, answered, data, mistyped, process::LineTold, undecodable},
    },
    wire,
};

pub(super) fn reply<Res: DeserializeOwned>(line: &Bytes) -> Result<Reply<Res>, Error> {
    let told = read(line)?;
    let body = data(result(&told)?).map_err(mistyped)?;
    let pairs = told.metadata.into_iter();
    Ok(pairs.fold(Reply::new(body), |reply, (key, value)| reply.with_metadata(key, value)))
}

pub(super) fn health(line: &Bytes) -> Result<HealthStatus, Error> {
    let told = read(line)?;
    // Not known to Go: the whole health.
    if let Some(health) = told.result.and_then(|result| HealthStatus::read(result.get())) {
        return Ok(health);
    }
    Ok(match &told.error {
        None => HealthStatus::healthy(),
        Some(error) => {
            let error = wire::start(error, MAX_TEXT);
            HealthStatus::new(PluginStatus::Degraded)
                .with_message(format!("Health check returned error: {error}"))
        }
    })
}

/// The line of an answer, which is text: what read it made it so.
fn read(line: &Bytes) -> Result<LineTold<'_>, Error> {
    let text = std::str::from_utf8(line).map_err(malformed)?;
    LineTold::read(text).map_err(malformed)
}

/// The result of an answer, or the error that it is.
fn result<'a>(told: &LineTold<'a>) -> Result<Option<&'a RawValue>, Error> {
    let Some(error) = &told.error else { return Ok(told.result) };
    let code = Some(Code::REGISTRY_1903);
    let what = "subprocess execution failed";
    Err(answered(what, error, told.status, told.retry_after, code))
}

fn malformed(problem: impl ToString) -> Error {
    undecodable(problem).coded(Some(Code::TRANSPORT_1304))
}
