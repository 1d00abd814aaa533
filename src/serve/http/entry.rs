//! The service of one connection: what each request passes first.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use ::http::{Request, Response, StatusCode};
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
        if request.headers().len() > self.max_headers {
            // Of HTTP/2: HTTP/1 stops at that many.
            return EntryFuture { state: State::TooLarge, visit };
        }
        let until = time::later(time::now(), self.pace.limits().body);
        let mut request = request.map(|body| RequestBody::new(body, until));
        if self.certified {
            request.extensions_mut().insert(ClientCertified);
        }
        EntryFuture { state: State::Called { future: self.inner.call(request) }, visit }
    }
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
        TooLarge,
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
            StateProj::TooLarge => {
                let mut response = Response::new(R::from(Bytes::new()));
                *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
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
