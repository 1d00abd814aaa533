//! The service of one connection: what each request passes first.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::http::{
    Request, Response, StatusCode, Version,
    header::{HOST, TRANSFER_ENCODING},
};
use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    body::RequestBody,
    pace::{Pace, Visit},
    parted::Parted,
};
use crate::{
    auth::ClientCertified,
    http::{HeldBody, hold},
    serve::endless::Endless,
    time,
    wire::{is_grpc, tokens},
};

#[derive(Clone)]
pub(super) struct Entry<S> {
    pub(super) inner: S,
    pub(super) pace: Arc<Pace>,
    /// The connection showed a certificate that was verified.
    pub(super) certified: bool,
    pub(super) max_headers: usize,
}

impl<S, R> Service<Request<Incoming>> for Entry<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>>,
    R: Body + From<Bytes>,
{
    type Response = Response<HeldBody<Parted<R>, Visit>>;
    type Error = S::Error;
    type Future = EntryFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let visit = Some(self.pace.enter());
        if let Some(status) = refusal(&request, self.max_headers) {
            return EntryFuture { state: State::Refused { status }, visit };
        }
        let until = time::later(time::now(), self.pace.limits().body);
        let mut request = request.map(|body| RequestBody::new(body, until));
        if self.certified {
            request.extensions_mut().insert(ClientCertified);
        }
        EntryFuture { state: State::Called { future: self.inner.call(request) }, visit }
    }
}

/// The status of a request that no service gets.
fn refusal<B>(request: &Request<B>, max_headers: usize) -> Option<StatusCode> {
    let headers = request.headers();
    if headers.len() > max_headers {
        // Of HTTP/2: HTTP/1 stops at that many.
        return Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    if request.version() > Version::HTTP_11 {
        return None;
    }
    // What goes by the one, and what by the other, are told apart by nothing else (RFC 9112 §3.2).
    let mut hosts = headers.get_all(HOST).into_iter();
    let is_addressed = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) => request.version() < Version::HTTP_11,
        _ => false,
    };
    if !is_addressed {
        return Some(StatusCode::BAD_REQUEST);
    }
    // It would be made, and its status be lost.
    if is_grpc(headers) {
        return Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
    // A coding that is not undone here (RFC 9112 §6.1).
    let mut codings = tokens(headers, &TRANSFER_ENCODING);
    let is_coded = codings.any(|coding| !coding.eq_ignore_ascii_case("chunked"));
    is_coded.then_some(StatusCode::NOT_IMPLEMENTED)
}

/// Whether it has but the signs of a host and its port. It may be empty.
fn is_host(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

pin_project! {
    pub(super) struct EntryFuture<F> {
        #[pin]
        state: State<F>,
        visit: Option<Visit>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] future: F },
        Refused { status: StatusCode },
    }
}

impl<F, R, E> Future for EntryFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body + From<Bytes>,
{
    type Output = Result<Response<HeldBody<Parted<R>, Visit>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.state.project() {
            StateProj::Called { future } => ready!(future.poll(cx))?,
            StateProj::Refused { status } => {
                let mut response = Response::new(R::from(Bytes::new()));
                *response.status_mut() = *status;
                response
            }
        };
        let Some(visit) = this.visit.take() else {
            return Poll::Pending;
        };
        if let Some(endless) = response.extensions_mut().remove::<Endless>() {
            endless.until(visit.pace().stop());
        }
        let response = response.map(|body| Parted { body, pace: visit.pace().clone() });
        Poll::Ready(Ok(hold(response, Some(visit))))
    }
}
