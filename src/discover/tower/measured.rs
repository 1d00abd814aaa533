use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tower::{Service, load::Load};

use crate::{
    connect::Connect,
    endpoint::Endpoint,
    error::{BoxError, Error},
    member::{Flight, Member},
    outcome::ErrIsFailure,
};

/// Service of one endpoint whose load tower's balancers can read.
///
/// Counts its calls on a [`Member`] as a [`Balance`](crate::balance::Balance) does: in flight, latency and
/// failures. Its `Load` is the number of calls in flight and one more, times the estimate of the latency
/// (peak EWMA) in microseconds. The estimate fades while no call is in flight, so an endpoint that was
/// slow is tried again. Before the first call has ended, the latency counts as 1 µs if none is in flight,
/// and else as 1 s. Made by [`ToChanges`](super::ToChanges).
///
/// # Errors
/// Those of the service, which name the endpoint.
///
/// # Example
/// ```
/// use futures::{executor::block_on, stream::StreamExt};
/// use tower::{discover::Change, load::Load};
/// use tower_upstream::{Endpoint, connect_fn, discover::{self, ToChanges}};
///
/// let source = discover::fixed(["a:1"])?;
/// let mut changes = ToChanges::new(&source, connect_fn(|_: &Endpoint| "a client"));
/// let Some(Ok(Change::Insert(_, service))) = block_on(changes.next()) else { panic!() };
/// assert_eq!((*service.get_ref(), service.load()), ("a client", 1));
/// let _call = service.member().begin();
/// assert_eq!(service.load(), 2_000_000);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Measured<S> {
    inner: S,
    member: Arc<Member>,
}

impl<S> Measured<S> {
    pub(super) fn connect(connect: &impl Connect<Service = S>, endpoint: &Endpoint) -> Self {
        let member = Member::new(endpoint.clone());
        member.set_client(connect.is_known_client());
        Self { inner: connect.connect(&member), member }
    }

    /// Returns the member on which this counts.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    inner_service!();
}

impl<S> Load for Measured<S> {
    type Metric = u64;

    fn load(&self) -> u64 {
        self.member.cost()
    }
}

impl<S, Req> Service<Req> for Measured<S>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
{
    type Response = S::Response;
    type Error = Error;
    type Future = MeasuredFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let named = |error| Error::from_service(error).at_endpoint(self.member.shared_key());
        self.inner.poll_ready(cx).map_err(named)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let flight = Flight::begin(self.member.clone());
        MeasuredFuture { inner: self.inner.call(request), flight }
    }
}

pin_project! {
    /// Response future of a [`Measured`].
    ///
    /// # Cancel safety
    /// Dropping it takes the call out of what is in flight.
    #[must_use = "futures do nothing unless polled"]
    pub struct MeasuredFuture<F> {
        #[pin]
        inner: F,
        flight: Flight,
    }
}

impl<F, T, E> Future for MeasuredFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError> + 'static,
{
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.flight.poll(this.inner, cx, &ErrIsFailure)
    }
}

impl<F> fmt::Debug for MeasuredFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeasuredFuture")
            .field("member", self.flight.member())
            .finish_non_exhaustive()
    }
}
