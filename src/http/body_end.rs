//! Calls that end with the body of their response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    classify::{HttpClassify, of_grpc},
    held_body::{HeldBody, hold},
    upgrade::{hold_with_connection, is_upgrade},
};
use crate::{
    breaker::{Admitted, CircuitBreakerLayer, Settle},
    error::{BoxError, Error, Fault},
    guard::Hold,
    limit::{ConcurrencyLimitLayer, Permit},
    outcome::{Classify, Outcome, fault, judge},
    wire,
};

/// Judges HTTP calls by the end of their response body: for streams, long downloads, and gRPC, whose
/// status is in the trailers.
///
/// `C` judges the head, and what it holds for a failure is one at once. Else the call goes on until
/// its body ends: a body that breaks is a failure unless the caller, a guard or a connection that had
/// been idle broke it, as with the error of a call; and so is a gRPC answer without a status; a gRPC
/// status in the trailers is judged as [`HttpClassify`] does.
///
/// A call of a half-open circuit counts for it with the head, and gives its place back then: a stream
/// that is open for hours must not keep the circuit half-open. If its body breaks later, it counts as
/// failed instead, as long as the circuit is still half-open.
///
/// Time is a matter of the head alone: a stream may be open for hours. So a call whose head was slow
/// counts as slow from then on, also while its body goes on, and a body that is dropped before its end says nothing, however long it was
/// open, unless [`cancelled`](crate::CircuitBreakerConfig::cancelled) is
/// [`Failure`](crate::breaker::Cancelled::Failure).
///
/// After a status of 101, or a 2xx to `CONNECT`, the call goes on until the connection closes, which is a
/// success; see [`TrackLayer`](super::TrackLayer) for what that asks of the connector.
///
/// To count such a call as in flight as long, put a `TrackLayer` below the balancer as well.
///
/// # Example
/// ```
/// use tower_upstream::{CircuitBreakerLayer, http::{AtBodyEnd, HttpClassify}};
/// let layer: CircuitBreakerLayer<AtBodyEnd<HttpClassify>> =
///     CircuitBreakerLayer::default().until_body_end(HttpClassify);
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct AtBodyEnd<C = HttpClassify> {
    head: C,
}

impl<C, B, Err> Settle<Response<B>, Err> for AtBodyEnd<C>
where
    C: Classify<Response<B>, Err>,
    B: Body<Error: 'static>,
    Err: 'static,
{
    type Response = Response<JudgedBody<B>>;

    fn settle(
        &self,
        admitted: &mut Admitted,
        result: Result<Response<B>, Err>,
    ) -> Result<Self::Response, Err> {
        let outcome = judge(&self.head, &result);
        let upgraded = result.as_ref().is_ok_and(is_upgrade);
        let goes_on = match &result {
            Ok(response) => {
                let is_over = response.body().is_end_stream() && !upgraded;
                outcome == Some(Outcome::Success) && !is_over
            }
            Err(_) => false,
        };
        match outcome {
            _ if goes_on => {}
            Some(outcome) => admitted.settle(outcome),
            None => admitted.cancel(),
        }
        if goes_on {
            admitted.goes_on();
        }
        let call = std::mem::replace(admitted, Admitted::nothing());
        result.map(|mut response| {
            let mut call = Some(call);
            if let Some(call) = call.take_if(|_| upgraded && goes_on) {
                hold_with_connection(&mut response, Upgraded { call });
            }
            // One that has its status in the head owes none.
            let headers = response.headers();
            let owes_status = wire::is_grpc(headers) && wire::grpc_status(headers).is_none();
            response.map(|body| JudgedBody { body, call, owes_status })
        })
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Lets HTTP calls end with the body of their response, and be judged then; see [`AtBodyEnd`].
    /// `head` judges the head of a response, as in [`with_classify`](Self::with_classify).
    ///
    /// ```
    /// use tower_upstream::{CircuitBreakerLayer, http::HttpClassify};
    /// let layer = CircuitBreakerLayer::default().until_body_end(HttpClassify);
    /// # let _ = layer;
    /// ```
    pub fn until_body_end<D>(self, head: D) -> CircuitBreakerLayer<AtBodyEnd<D>> {
        self.with_settle(AtBodyEnd { head })
    }
}

impl<B, C, Err> Hold<Response<B>, Err> for Permit<AtBodyEnd<C>>
where
    B: Body,
    Err: Into<BoxError> + 'static,
{
    type Response = Response<HeldBody<B, Permit>>;

    fn settle(&mut self, result: Result<Response<B>, Err>) -> Result<Self::Response, Error> {
        // Of an error too: it has no body to wait for.
        let permit = self.hand_on();
        let held = result.map(|response| hold(response, Some(permit)));
        held.map_err(Error::from_service)
    }
}

impl<M, E> ConcurrencyLimitLayer<M, E> {
    /// Keeps the place of a call until its response body ends: for streams, server-sent events and
    /// long downloads, of which otherwise any number may be open at once.
    ///
    /// The place is given back when the body is read to its last frame, fails, or is dropped; at
    /// once where there is no body. Responses are `http::Response`s, whose body becomes a
    /// [`HeldBody`](HeldBody). Works above and below a balancer, and with
    /// [`wait`](Self::wait). A caller that keeps a body and does not read it keeps the place. A response
    /// that upgrades its connection, such as to a WebSocket, keeps it until the connection closes: see
    /// [`ConnectionSlot`](crate::http::ConnectionSlot).
    ///
    /// # Example
    /// ```
    /// use std::convert::Infallible;
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
    /// use tower_upstream::ConcurrencyLimitLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let limit = ConcurrencyLimitLayer::new(4).until_body_end();
    /// let client = ServiceBuilder::new().layer(limit.clone()).service(service_fn(
    ///     async |_: Request<()>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("a long one"))),
    /// ));
    /// let response = client.oneshot(Request::new(())).await.unwrap();
    /// assert_eq!(limit.handle().in_flight(), 1);
    /// response.into_body().collect().await.unwrap();
    /// assert_eq!(limit.handle().in_flight(), 0);
    /// # }
    /// ```
    #[must_use]
    pub fn until_body_end(self) -> ConcurrencyLimitLayer<M, AtBodyEnd> {
        self.with_ends()
    }
}

/// A call that upgraded its connection, which has done what it was asked once that closes.
struct Upgraded {
    call: Admitted,
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.call.settle(Outcome::Success);
    }
}

/// The verdict on a body that broke, as [`judge`] has it of a call: over HTTP/2 an upload that its
/// caller breaks off breaks the answer, too.
fn of_broken<E: 'static>(error: &E) -> Option<Outcome> {
    match fault(error) {
        Fault::Endpoint => Some(Outcome::Failure),
        Fault::Cancelled => None,
        Fault::Guard | Fault::Caller | Fault::Connection => Some(Outcome::Ignored),
    }
}

pin_project! {
    /// A response body that tells a circuit how it ended. See [`AtBodyEnd`].
    pub struct JudgedBody<B> {
        #[pin]
        body: B,
        // Settled, or dropped before, which is cancelled.
        call: Option<Admitted>,
        owes_status: bool,
    }
}

impl<B: Body<Error: 'static>> Body for JudgedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let without_status = if *this.owes_status { Outcome::Failure } else { Outcome::Success };
        // `None` within is a call that was cut short.
        let end = match &frame {
            Some(Err(error)) => Some(of_broken(error)),
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => Some(Some(match wire::grpc_trailer(trailers) {
                    Some(status) if *this.owes_status => of_grpc(status, trailers),
                    _ => without_status,
                })),
                // Who reads to the last frame need not ask for the `None` after it.
                None => this.body.is_end_stream().then_some(Some(without_status)),
            },
            None => Some(Some(without_status)),
        };
        if let (Some(outcome), Some(mut call)) = (end, end.and_then(|_| this.call.take())) {
            match outcome {
                Some(outcome) => call.settle(outcome),
                None => call.cancel(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Default> Default for JudgedBody<B> {
    /// A body that belongs to no call.
    fn default() -> Self {
        Self { body: B::default(), call: None, owes_status: false }
    }
}

impl<B> fmt::Debug for JudgedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgedBody").field("call", &self.call).finish_non_exhaustive()
    }
}
