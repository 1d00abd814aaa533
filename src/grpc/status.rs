//! An error as a status, for callers.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    error::{Error, Kind},
    wire::{GRPC_PUSHBACK, pushback_value, rpc_status},
};

/// Converts an error into a status for a caller.
///
/// If a server answered with a status, and that is why the call failed, it is that status. Otherwise:
///
/// | code | error |
/// |---|---|
/// | `RESOURCE_EXHAUSTED` | a rate limit, or too many calls at once |
/// | `UNAVAILABLE` | every other refusal, no endpoint that can take the call, no connection |
/// | `DEADLINE_EXCEEDED` | a deadline |
/// | `INVALID_ARGUMENT` | a request that cannot be sent as it is |
/// | `INTERNAL` | a config that cannot work |
/// | `UNKNOWN` | a service that failed with an error of another crate that tonic does not know |
///
/// When to come back is in the metadata, as `grpc-retry-pushback-ms`, and in the details, as
/// `google.rpc.RetryInfo`. The message is the code of the error and its meaning: names of guards and
/// endpoints, messages and sources do not leave the program. In the program, the
/// [`source`](std::error::Error::source) of the status is the error.
///
/// ```
/// use std::error::Error as _;
/// use tower_upstream::{Endpoint, Error};
///
/// let error = Endpoint::new("http://").unwrap_err();
/// let status = tonic::Status::from(error);
/// assert_eq!(status.code(), tonic::Code::Internal);
/// assert_eq!(status.message(), "[CONFIG_1703] invalid configuration");
/// assert!(status.source().is_some_and(|source| source.is::<Error>()));
/// ```
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut status = match error.status() {
            Some(answered) => copied(answered),
            None => made_of(&error),
        };
        status.set_source(Arc::new(error));
        status
    }
}

fn copied(status: &Status) -> Status {
    let details = Bytes::copy_from_slice(status.details());
    let (code, metadata) = (status.code(), status.metadata().clone());
    Status::with_details_and_metadata(code, status.message(), details, metadata)
}

fn made_of(error: &Error) -> Status {
    let message = error.public_text();
    let code = match error.kind() {
        // Of a connection or a client, tonic knows what it means.
        Kind::Service => Status::from_error(Box::new(error.clone())).code(),
        _ => Code::from(i32::from(error.grpc_code())),
    };
    let Some(wait) = error.retry_after() else { return Status::new(code, message) };
    let details = rpc_status::with_retry_info(code as u8, &message, wait);
    let mut metadata = HeaderMap::new();
    metadata.insert(GRPC_PUSHBACK, pushback_value(wait));
    let metadata = MetadataMap::from_headers(metadata);
    Status::with_details_and_metadata(code, message, details.into(), metadata)
}
