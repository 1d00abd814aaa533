use http::Response;
use http_body::Body;

use super::circuit::AtBodyEnd;
use crate::{
    error::{BoxError, Error},
    guard::Hold,
    http::held_body::{HeldBody, hold},
    limit::{ConcurrencyLimitLayer, Permit},
};

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
    /// The place is given back when the body is read to its last frame, fails, or drops; at once if
    /// there is no body. A caller that keeps a body without reading it keeps the place. A response that
    /// upgrades its connection, such as to a WebSocket, keeps it until the connection closes; see
    /// [`ConnectionSlot`](crate::http::ConnectionSlot).
    ///
    /// Responses must be `http::Response`s; their body becomes a [`HeldBody`]. Works above and below a
    /// balancer, and with [`wait`](Self::wait).
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
