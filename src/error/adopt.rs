//! Errors of inner services, which may be ours.

use std::any::Any;

use super::{
    error::{BoxError, Error},
    foreign,
    kind::Kind,
};

impl Error {
    /// Takes over the error of an inner service: one of ours as it is, also out of a [`BoxError`]; any
    /// other with the original as its source.
    ///
    /// | error | becomes |
    /// |---|---|
    /// | `tower::load_shed::error::Overloaded` (feature `tower`) | a refusal, [`Kind::Overloaded`] |
    /// | `tower::timeout::error::Elapsed` (feature `tower`) | [`Kind::Timeout`] |
    /// | of hyper-util's client or of hyper (feature `http`): no connection was made | [`Kind::Connection`]; unsent if it is the client of an endpoint, see [`connect_fn`](crate::connect_fn) |
    /// | ... the request body failed, or is too long for `http_body_util::Limited` | [`Kind::InvalidRequest`], no evidence against the endpoint |
    /// | ... the client was misused, such as by a request without a host | [`Kind::InvalidConfig`], unsent |
    /// | ... the connection's task is gone, with its runtime | [`Kind::Connection`], no evidence against the endpoint |
    /// | ... a connection of a `TcpConnector` took no more of the request, and no answer came | likewise |
    /// | ... the endpoint says `ENHANCE_YOUR_CALM` over HTTP/2, as if a head is far too large | likewise |
    /// | of tonic's channel (feature `grpc`): no connection was made | [`Kind::Connection`]; unsent likewise |
    /// | ... its connection closed before it took the call | the same, no evidence against the endpoint |
    /// | ... `TimeoutExpired` | [`Kind::Timeout`]; counts as a call that was dropped, since the channel obeys the `grpc-timeout` of the caller |
    /// | ... what hyper says of its connection | as above |
    /// | any other | [`Kind::Service`] |
    ///
    /// Only the error itself is looked at, boxed or not, never its sources. So one that another client
    /// wraps, as reqwest does, is [`Kind::Service`]; see
    /// [`ConnectFn::unsent_if`](crate::connect::ConnectFn::unsent_if).
    ///
    /// ```
    /// use tower_upstream::{BoxError, Error, error::Kind};
    /// let boxed: BoxError = "connection reset".into();
    /// assert_eq!(Error::from_service(boxed).kind(), Kind::Service);
    /// ```
    #[inline]
    pub fn from_service<E: Into<BoxError> + 'static>(error: E) -> Self {
        // Looked at before it is boxed: a refusal that passes through a layer costs no allocation.
        let mut error = Some(error);
        if let Some(ours) = (&mut error as &mut dyn Any).downcast_mut::<Option<Self>>() {
            if let Some(ours) = ours.take() {
                return ours;
            }
        }
        match error {
            Some(error) => Self::from_box(error.into()),
            None => Self::failed(Kind::Service),
        }
    }

    fn from_box(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => *ours,
            Err(error) => foreign::adopt(error),
        }
    }

    /// What `error` is, without what it tells: the kind and the fault of one of ours, or of an error
    /// of another crate that is known here. Allocates nothing.
    pub(crate) fn outline<E: 'static>(error: &E) -> Self {
        let error = error as &dyn Any;
        let boxed = error.downcast_ref::<BoxError>();
        let ours = error.downcast_ref::<Self>();
        if let Some(ours) = ours.or_else(|| boxed.and_then(|error| error.downcast_ref::<Self>())) {
            return Self { word: ours.word, rest: None };
        }
        let known = match boxed {
            Some(error) => foreign::recognise(&**error),
            None => foreign::recognise_any(error),
        };
        known.unwrap_or(Self::failed(Kind::Service))
    }

    /// The error of ours in `error`, which may be one, or a [`BoxError`] with one inside.
    pub(crate) fn find<E: 'static>(error: &E) -> Option<&Self> {
        let error = error as &dyn Any;
        error
            .downcast_ref::<Self>()
            .or_else(|| error.downcast_ref::<BoxError>().and_then(|e| e.downcast_ref::<Self>()))
    }

    /// The same, to be changed.
    #[cfg(feature = "tower")]
    pub(crate) fn find_mut<E: 'static>(error: &mut E) -> Option<&mut Self> {
        let error = error as &mut dyn Any;
        if error.is::<Self>() {
            return error.downcast_mut();
        }
        error.downcast_mut::<BoxError>().and_then(|error| error.downcast_mut())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn ours_pass_through_and_others_are_wrapped() {
        let ours = Error::refused(Kind::CircuitOpen);
        assert!(Error::from_service(ours.clone()).is_refused());
        assert!(Error::from_service(BoxError::from(ours)).is_refused());
        let other = Error::from_service(std::io::Error::other("reset"));
        assert_eq!(other.kind(), Kind::Service);
        let source = other.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        assert!(source.is_some());
    }
}
