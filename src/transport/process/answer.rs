//! Reads the answers of plugins.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{
    error::{Code, Error},
    plugin::{
        HealthStatus, PluginStatus, Reply,
        wire::{
            MAX_TEXT, answered, data, mistyped,
            process::{LineTold, PlainLine},
            undecodable,
        },
    },
    wire,
};

pub(super) fn reply<Res: DeserializeOwned>(line: &Bytes) -> Result<Reply<Res>, Error> {
    let (body, metadata) = match PlainLine::read(line) {
        Some(PlainLine { result, metadata, .. }) => (result, metadata.0),
        None => {
            let told = read(line)?;
            (data(result(&told)?).map_err(mistyped)?, told.metadata)
        }
    };
    let pairs = metadata.into_iter();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_is_what_it_is_when_it_is_read_leniently() {
        let lenient = |line: &Bytes| {
            let told = read(line)?;
            let body: Option<u64> = data(result(&told)?).map_err(mistyped)?;
            Ok::<_, Error>((body, told.metadata))
        };
        for (line, is_plain) in [
            (r#"{"id":"r","result":7}"#, true),
            (r#"{"id":"r","result":7,"metadata":{"a":"b"}} and more"#, true),
            (r#"{"id":"r","result":null}"#, true),
            (r#"{"id":"r"}"#, true),
            (r#"{"id":"r","result":7,"error":null}"#, false),
            (r#"{"ID":"r","Result":7}"#, false),
            (r#"{"id":"r","result":6,"result":7}"#, false),
            (r#"{"id":"r","result":7,"metadata":null,"other":[]}"#, false),
        ] {
            let bytes = Bytes::from_static(line.as_bytes());
            assert_eq!(PlainLine::<Option<u64>>::read(&bytes).is_some(), is_plain, "{line}");
            let found: Reply<Option<u64>> = reply(&bytes).unwrap();
            let found = (*found.body(), found.metadata().clone());
            assert_eq!(found, lenient(&bytes).unwrap(), "{line}");
        }
        for line in [r#"{"id":"r","result":"x"}"#, r#"{"id":"r","result":7,"error":"no"}"#, "{"] {
            assert!(reply::<Option<u64>>(&Bytes::from_static(line.as_bytes())).is_err(), "{line}");
        }
    }
}
