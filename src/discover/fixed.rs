use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{discover::Discover, set::EndpointSet};
use crate::{endpoint::Endpoint, error::Error};

/// Returns a source of a list that never changes.
///
/// Takes addresses as text, [`Endpoint`]s, or anything else that can become one.
///
/// # Errors
/// `InvalidConfig` for an address that cannot be used, or one that is named twice. An empty list is
/// no error here: the calls will say `NoEndpoints`.
///
/// # Example
/// ```
/// use tower_upstream::discover;
/// let endpoints = discover::fixed(["http://10.0.0.1:8080", "http://10.0.0.2:8080"])?;
/// # let _ = endpoints;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub fn fixed<I, E>(endpoints: I) -> Result<Fixed, Error>
where
    I: IntoIterator<Item = E>,
    E: TryInto<Endpoint>,
    Error: From<E::Error>,
{
    let endpoints =
        endpoints.into_iter().map(TryInto::try_into).collect::<Result<Vec<_>, E::Error>>()?;
    Ok(Fixed { set: EndpointSet::new(endpoints, "fixed")? })
}

/// A list of endpoints that never changes. Made by [`fixed`].
#[derive(Debug, Clone)]
pub struct Fixed {
    set: EndpointSet,
}

impl Discover for Fixed {
    type Stream = FixedStream;

    fn discover(&self) -> FixedStream {
        FixedStream { set: Some(self.set.clone()) }
    }
}

/// Stream of a [`Fixed`] source: one set, and then its end.
#[derive(Debug)]
pub struct FixedStream {
    set: Option<EndpointSet>,
}

impl Stream for FixedStream {
    type Item = EndpointSet;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<EndpointSet>> {
        Poll::Ready(self.set.take())
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
