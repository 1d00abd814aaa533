use http::{Response, StatusCode};
use http_body::Body;

use super::judged::{JudgedBody, Upgraded};
use crate::{
    breaker::{CircuitBreakerLayer, KeyedCircuitBreakerLayer, Permit, Settle},
    http::{
        HttpClassify,
        connection::{hold_with_connection, is_upgrade},
    },
    outcome::{Classify, Outcome, judge},
    wire,
};

/// Ends HTTP calls with the body of their response: for streams, long downloads, and gRPC, which
/// has its status in the trailers.
///
/// For a circuit, made by [`CircuitBreakerLayer::until_body_end`], it judges how the body ended. For a
/// limit, made by [`ConcurrencyLimitLayer::until_body_end`](crate::ConcurrencyLimitLayer::until_body_end),
/// it keeps the place of the call until then. To count a call as in flight for the balancer as long, put
/// a [`TrackLayer`](crate::http::TrackLayer) below the balancer as well.
///
/// # How a circuit judges
/// * `C` judges the head. If that is a failure, the call has failed. Otherwise the body decides.
/// * A body that breaks is a failure, unless the caller, a guard or a connection that had been idle broke
///   it, as with the error of a call. A gRPC response without a status is a failure. A gRPC status in the
///   trailers is judged as [`HttpClassify`] does.
/// * Half-open, the head counts, and the call gives its place back then: a stream that is open for hours
///   must not keep the circuit half-open. If its body breaks while the circuit is still half-open, the
///   call counts as failed instead.
/// * Only the head can be slow: a stream may be open for hours. A call with a slow head counts as slow
///   from then on, also while its body goes on.
/// * A body that drops before its end is not counted, however long it was open, unless
///   [`cancelled`](crate::CircuitBreakerConfig::cancelled) is
///   [`Failure`](crate::breaker::Cancelled::Failure).
/// * After a status of 101, or a 2xx to `CONNECT`, the call ends as a success when the connection closes;
///   see [`TrackLayer`](crate::http::TrackLayer) for what that asks of the connector.
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
        permit: &mut Permit,
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
            Some(outcome) => permit.settle(outcome),
            None => permit.cancel(),
        }
        if goes_on {
            permit.goes_on();
        }
        let call = std::mem::replace(permit, Permit::nothing());
        result.map(|mut response| {
            let mut call = Some(call);
            if let Some(call) = call.take_if(|_| upgraded && goes_on) {
                hold_with_connection(&mut response, Upgraded { call });
            }
            // A response with the status in its head owes none, nor does one of another layer, such as a
            // proxy that turns a caller away: the status of HTTP is all that it has.
            let (status, headers) = (response.status(), response.headers());
            let is_grpc = status == StatusCode::OK && wire::is_grpc(headers);
            let owes_status = is_grpc && wire::grpc_status(headers).is_none();
            response.map(|body| JudgedBody { body, call, owes_status })
        })
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Judges HTTP calls by the end of their response body; see [`AtBodyEnd`].
    ///
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

impl<K, C> KeyedCircuitBreakerLayer<K, C> {
    /// Judges HTTP calls by the end of their response body, as
    /// [`CircuitBreakerLayer::until_body_end`] does.
    ///
    /// ```
    /// use tower_upstream::{CircuitBreakerLayer, http::HttpClassify};
    /// let layer = CircuitBreakerLayer::default()
    ///     .by_key(|request: &http::Request<String>| request.uri().host().map(str::to_owned))
    ///     .until_body_end(HttpClassify);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn until_body_end<D>(self, head: D) -> KeyedCircuitBreakerLayer<K, AtBodyEnd<D>> {
        self.with_settle(AtBodyEnd { head })
    }
}
