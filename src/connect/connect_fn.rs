use std::{any::type_name, fmt, sync::Arc};

use super::{connect::Connect, unsent::UnsentIf};
use crate::{endpoint::Endpoint, error::BoxError, member::Member, outcome::TypeName};

/// Makes a connector from a function that takes an endpoint and returns a service.
///
/// The function is called once for each endpoint, and again if its service dies.
///
/// # Calls that were never sent
/// If the service is a client of hyper-util (feature `http`) or a channel of tonic (feature `grpc`), a
/// connection that it could not make is [unsent](crate::Error::is_unsent): the call may go to another
/// endpoint even if it is not idempotent. The same holds below an [`EachLayer`](super::EachLayer) with a
/// timeout, limit, load shed or buffer of tower. Any other service may make several requests for one
/// call, such as a closure, a client that follows redirects, or a retry; use
/// [`unsent_if`](ConnectFn::unsent_if) to tell which of its errors are unsent.
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, connect_fn};
/// # #[derive(Clone)] struct Client(String);
/// let connector = connect_fn(|endpoint: &Endpoint| Client(endpoint.address().to_string()));
/// # let _ = connector;
/// ```
pub fn connect_fn<F, S>(connect: F) -> ConnectFn<F>
where
    F: Fn(&Endpoint) -> S,
{
    ConnectFn { connect }
}

/// Whether `S` is a client whose error is about the one request that it makes for each call. By its name,
/// since the type may have parameters that are not known.
///
/// A box counts as one, since it sorts out itself what its service says.
pub(crate) fn is_client<S>() -> bool {
    let name = type_name::<S>();
    [
        "hyper_util::client::legacy::client::Client<",
        "tonic::transport::channel::Channel",
        "tower_upstream::boxed::BoxUpstream<",
    ]
    .iter()
    .any(|client| name.starts_with(client))
}

/// Connector made of a function. Made by [`connect_fn`].
#[derive(Clone, Copy)]
pub struct ConnectFn<F> {
    connect: F,
}

impl<F> ConnectFn<F> {
    /// Treats the errors for which `is_unsent` returns `true` as those of calls that were never sent.
    ///
    /// Such calls may go to another endpoint even if they are not idempotent. For an error that is not one
    /// of this crate, this is the only rule.
    ///
    /// Not needed over a client of hyper-util or a channel of tonic; see [`connect_fn`]. Needed over a
    /// client that wraps those, such as reqwest's.
    ///
    /// ```
    /// use std::io;
    /// use tower::service_fn;
    /// use tower_upstream::{BoxError, Endpoint, connect_fn};
    ///
    /// let connector = connect_fn(|_: &Endpoint| {
    ///     service_fn(async |_: ()| Err::<(), BoxError>(io::Error::other("pool is empty").into()))
    /// })
    /// .unsent_if(|error: &BoxError| error.to_string() == "pool is empty");
    /// # let _ = connector;
    /// ```
    pub fn unsent_if(self, is_unsent: fn(&BoxError) -> bool) -> UnsentIf<Self> {
        UnsentIf::new(self, is_unsent)
    }
}

impl<F, S> Connect for ConnectFn<F>
where
    F: Fn(&Endpoint) -> S,
{
    type Service = S;

    fn connect(&self, member: &Arc<Member>) -> S {
        (self.connect)(&member.endpoint())
    }

    fn is_known_client(&self) -> bool {
        is_client::<S>()
    }
}

impl<F> fmt::Debug for ConnectFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectFn").field(&TypeName::<F>::new()).finish()
    }
}
