//! Judges gRPC calls by their status.

use std::any::Any;

use tonic::Status;

use crate::{
    error::{BoxError, Error, Fault, pushback},
    http::{HttpClassify, of_grpc, repeat_grpc},
    outcome::{Classify, Outcome, Repeat, fault},
};

/// Judges gRPC calls by their status: over HTTP as [`HttpClassify`] does, whose table it shares, and of
/// services of `tonic::Request`s also the [`Status`] that is their error.
///
/// | status | verdict | sent again, if the request may be |
/// |---|---|---|
/// | `RESOURCE_EXHAUSTED` | [`Outcome::Overload`] | after its pushback, or a backoff |
/// | `UNAVAILABLE` with a pushback | [`Outcome::Overload`] | after that |
/// | `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS` | [`Outcome::Failure`] | after a backoff |
/// | `CANCELLED` | [`Outcome::Ignored`] | no |
/// | any other | [`Outcome::Success`]: a mistake of the caller, or an answer | no |
///
/// A pushback is a `grpc-retry-pushback-ms`, which decides alone whether the call is sent again (gRFC A6), or a
/// `google.rpc.RetryInfo` in the details, which only says when. A status in trailers comes too late for
/// this verdict: circuits wait for it with [`AtBodyEnd`](crate::http::AtBodyEnd).
///
/// # Example
/// ```
/// use tonic::{Response, Status};
/// use tower_upstream::{Classify, Outcome, grpc::GrpcClassify};
///
/// let judge = |status| GrpcClassify.classify(Err::<&Response<()>, _>(&status));
/// assert_eq!(judge(Status::internal("bug")), Outcome::Failure);
/// assert_eq!(judge(Status::not_found("no such country")), Outcome::Success);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct GrpcClassify;

impl<B, E: 'static> Classify<http::Response<B>, E> for GrpcClassify {
    fn classify(&self, result: Result<&http::Response<B>, &E>) -> Outcome {
        match result {
            Err(error) if find(error).is_some() => of_error(error),
            result => HttpClassify.classify(result),
        }
    }

    fn repeat(&self, result: Result<&http::Response<B>, &E>) -> Repeat {
        match result {
            Err(error) => repeat_error(error),
            result => HttpClassify.repeat(result),
        }
    }
}

impl<T, E: 'static> Classify<tonic::Response<T>, E> for GrpcClassify {
    fn classify(&self, result: Result<&tonic::Response<T>, &E>) -> Outcome {
        result.map_or_else(of_error, |_| Outcome::Success)
    }

    fn repeat(&self, result: Result<&tonic::Response<T>, &E>) -> Repeat {
        result.map_or_else(repeat_error, |_| Repeat::Yes)
    }
}

/// The status of an answer that came as an error: itself, or in an error that was made of it.
fn find<E: 'static>(error: &E) -> Option<&Status> {
    let any = error as &dyn Any;
    let boxed = || any.downcast_ref::<BoxError>()?.downcast_ref::<Status>();
    any.downcast_ref().or_else(boxed).or_else(|| Error::find(error)?.status())
}

fn of_error<E: 'static>(error: &E) -> Outcome {
    match (fault(error), find(error)) {
        (Fault::Endpoint, Some(status)) => of_grpc(status.code() as u32, || pushback(status)),
        (Fault::Endpoint, None) => Outcome::Failure,
        _ => Outcome::Ignored,
    }
}

fn repeat_error<E: 'static>(error: &E) -> Repeat {
    match find(error) {
        Some(status) => repeat_grpc(status.code() as u32, pushback(status)),
        None => Repeat::Yes,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::{Code, metadata::MetadataMap};

    use super::*;
    use crate::{error::Kind, wire::rpc_status};

    type Response = tonic::Response<()>;

    fn judged<E: 'static>(error: &E) -> (Outcome, Repeat) {
        let result = || Err::<&Response, _>(error);
        (GrpcClassify.classify(result()), GrpcClassify.repeat(result()))
    }

    fn pushed(code: Code, pushback: &'static str) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
        Status::with_metadata(code, "", metadata)
    }

    #[test]
    fn a_status_that_is_an_error_is_judged_as_one_in_a_response() {
        for code in (1..=16).map(Code::from) {
            for status in [Status::new(code, ""), pushed(code, "250"), pushed(code, "-1")] {
                let response: http::Response<()> = copied(&status).into_http();
                let over_http = Ok::<_, &()>(&response);
                let expected = (
                    GrpcClassify.classify(over_http),
                    GrpcClassify.repeat(Ok::<_, &()>(&response)),
                );
                assert_eq!(judged(&status), expected, "{status:?}");
                let boxed: BoxError = copied(&status).into();
                assert_eq!(judged(&boxed), expected, "{status:?}");
                let ours = Error::from_service(status);
                assert_eq!(judged(&ours), expected, "{ours:?}");
            }
        }
    }

    fn copied(status: &Status) -> Status {
        Status::with_metadata(status.code(), "", status.metadata().clone())
    }

    #[test]
    fn retry_info_says_when_but_not_whether() {
        let details = rpc_status::with_retry_info(8, "", Duration::from_secs(2));
        let status = |code| Status::with_details(code, "", details.clone().into());
        let overload = Outcome::Overload { retry_after: Some(Duration::from_secs(2)) };
        assert_eq!(judged(&status(Code::ResourceExhausted)), (overload, Repeat::Yes));
        assert_eq!(judged(&status(Code::Unavailable)), (overload, Repeat::Yes));
        assert_eq!(judged(&status(Code::Aborted)), (Outcome::Success, Repeat::No));
        let response: http::Response<()> = status(Code::Unavailable).into_http();
        assert_eq!(GrpcClassify.classify(Ok::<_, &()>(&response)), overload);
    }

    #[test]
    fn what_is_no_status_is_an_error_like_any_other() {
        assert_eq!(judged(&"broken").0, Outcome::Failure);
        assert_eq!(judged(&Error::refused(Kind::RateLimited)).0, Outcome::Ignored);
        assert_eq!(judged(&Error::failed(Kind::Connection)).0, Outcome::Failure);
    }
}
