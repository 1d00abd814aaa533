//! What a request asks for.

use ::http::{Method, StatusCode, header::CONTENT_TYPE, request::Parts};
use bytes::Bytes;
use prost::Message;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::{
    serves::{Codec, Serves},
    watch::Ask,
};
use crate::{
    grpc::{
        context,
        frame::{NotOne, unframe},
        messages::HealthCheckRequest,
    },
    plugin::Call,
    wire::{self, Cut},
};

pub(super) const HEALTH_SERVICE: &str = "grpc.health.v1.Health";

pub(super) enum Asked<T, U> {
    Execute(Codec<T, U>),
    Health(Codec<T, U>),
    Info(Codec<T, U>),
    Check,
    /// Taken once.
    Watch(Option<Ask>),
    /// Nothing that there is.
    Nothing(Status),
    /// It is no gRPC.
    Else(StatusCode),
}

pub(super) fn asked<F: Serves<T, U>, T, U>(
    parts: &Parts,
    ask: impl FnOnce() -> Ask,
) -> Asked<T, U> {
    if parts.method != Method::POST {
        return Asked::Else(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !parts.headers.contains_key(CONTENT_TYPE) || !wire::is_grpc(&parts.headers) {
        return Asked::Else(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let path = parts.uri.path();
    let (service, method) =
        path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
    match (F::find(service), method) {
        (Some(codec), "Execute") => Asked::Execute(codec),
        (Some(codec), "Health") => Asked::Health(codec),
        (Some(codec), "Info") => Asked::Info(codec),
        (None, "Check") if service == HEALTH_SERVICE => Asked::Check,
        (None, "Watch") if service == HEALTH_SERVICE => Asked::Watch(Some(ask())),
        _ => {
            let shown = wire::start(path, 64).escape_debug().to_string();
            Asked::Nothing(Status::unimplemented(format!("there is no method `{shown}`")))
        }
    }
}

/// Returns the message of a request, or the status for one without.
pub(super) fn message<E>(
    parts: &Parts,
    body: Result<Bytes, Cut<E>>,
    most: usize,
) -> Result<Bytes, Status> {
    let body = body.map_err(|cut| match cut {
        Cut::TooLong => Status::out_of_range(format!(
            "the message has more than {most} bytes (`max_request_bytes`)"
        )),
        // The caller is gone, or will be told what it did.
        Cut::Broken(_) => Status::invalid_argument("the message broke off"),
    })?;
    // By the codes that the libraries of gRPC are to use.
    unframe(body).map_err(|problem| match problem {
        NotOne::Missing | NotOne::More => {
            Status::unimplemented(format!("the method takes one message, and {problem}"))
        }
        NotOne::Compressed if parts.headers.contains_key("grpc-encoding") => {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
            let text = "messages that are compressed are not read";
            Status::with_metadata(Code::Unimplemented, text, metadata)
        }
        NotOne::Compressed => {
            Status::internal("the message is compressed, and `grpc-encoding` does not say how")
        }
        NotOne::Cut | NotOne::Foreign => {
            Status::invalid_argument(format!("this is no message: {problem}"))
        }
    })
}

/// Returns the call in a request, or the status for one without.
pub(super) fn call<T, U>(
    parts: &Parts,
    message: &[u8],
    codec: &Codec<T, U>,
) -> Result<Call<T>, Status> {
    let value = (codec.read)(message).map_err(|problem| {
        let problem = problem.to_string();
        Status::invalid_argument(format!("this is no call: {}", wire::start(&problem, 1_024)))
    })?;
    Ok(context::read_call(&parts.headers, Call::new(value)))
}

/// Returns the name of the service whose health is asked for.
pub(super) fn health_service(message: Bytes) -> Result<String, Status> {
    let asked = HealthCheckRequest::decode(message);
    asked.map(|asked| asked.service).map_err(|error| Status::invalid_argument(error.to_string()))
}
