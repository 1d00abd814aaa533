//! Writes responses.

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use bytes::Bytes;
use prost::Message;
use tonic::Status;

use super::{body::GrpcBody, serves::Codec};
use crate::{
    error::{BoxError, Error, Kind},
    grpc::{
        context,
        frame::{PREFIX, frame, framed},
        messages::{HealthCheckResponse, NOT_SERVING, SERVING},
    },
    plugin::{HealthStatus, Reply},
    serve::failure::{Failure, or_unknown},
    wire::GRPC_STATUS,
};

pub(super) fn success<T, U>(
    reply: &Reply<U>,
    id: &str,
    codec: &Codec<T, U>,
    most: usize,
) -> Response<GrpcBody> {
    let body = match frame(|message| (codec.write)(reply.body(), message)) {
        Ok(body) => body,
        Err(error) => return status(Status::internal(format!("cannot write the answer: {error}"))),
    };
    let length = body.len() - PREFIX;
    if length > most {
        return status(Status::out_of_range(format!(
            "the answer has {length} bytes, and at most {most} are sent (`max_response_bytes`)"
        )));
    }
    let mut response = well(body);
    context::write_reply(response.headers_mut(), reply, id);
    response
}

/// A message of ours.
pub(super) fn told(message: &[u8]) -> Response<GrpcBody> {
    well(framed(message))
}

/// For `grpc.health.v1`.
pub(super) fn check(health: &HealthStatus) -> Vec<u8> {
    let status = if health.status.is_usable() { SERVING } else { NOT_SERVING };
    HealthCheckResponse { status }.encode_to_vec()
}

fn well(message: Bytes) -> Response<GrpcBody> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    of_grpc(GrpcBody::new(message, trailers))
}

pub(super) fn of_grpc(body: GrpcBody) -> Response<GrpcBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// What a caller is told of an error of the plugin: the status that it is, or that one of ours has.
pub(super) fn failure(error: BoxError) -> Response<GrpcBody> {
    let error = match error.downcast::<Status>() {
        Ok(own) => return status(*own),
        Err(error) => error,
    };
    let text = Failure::new(&error).text;
    let ours = match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(_) => return status(Status::unknown(or_unknown(&text))),
    };
    status(match ours.kind() {
        Kind::Service | Kind::Plugin if ours.status().is_none() => {
            Status::unknown(or_unknown(&text))
        }
        _ => Status::from(*ours),
    })
}

pub(super) fn status(status: Status) -> Response<GrpcBody> {
    status.into_http()
}

/// For what is no gRPC.
pub(super) fn refusal(status: StatusCode) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time;

    fn told(error: impl Into<BoxError>) -> Status {
        let response = failure(error.into());
        Status::from_header_map(response.headers()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_says_when_to_come_back_and_an_error_what_it_is() {
        use tonic::Code;
        let refusal = Error::refused(Kind::Overloaded).at_endpoint(&"secret:1".into());
        let status = told(refusal.retry_in(time::now(), Duration::from_millis(1_500)));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1500");
        assert!(!format!("{status:?}").contains("secret"), "{status:?}");
        let own = told(Status::not_found("no such country"));
        assert_eq!((own.code(), own.message()), (Code::NotFound, "no such country"));
        let through = told(Error::from_service(Status::not_found("no such country")));
        assert_eq!((through.code(), through.message()), (Code::NotFound, "no such country"));
        for plain in
            [BoxError::from("no rates"), Error::from_service(BoxError::from("no rates")).into()]
        {
            let status = told(plain);
            assert_eq!((status.code(), status.message()), (Code::Unknown, "no rates"));
        }
        let late = told(Error::failed(Kind::Timeout));
        assert_eq!(late.code(), Code::DeadlineExceeded);
    }
}
