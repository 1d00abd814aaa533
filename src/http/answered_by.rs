use std::sync::Arc;

use crate::{
    connect::AtEndpoint,
    decision::{Decision, Explain},
};

/// Extension of an `http::Response`: the key of the endpoint that it comes from.
///
/// Set by a [`NameEndpointLayer`](crate::connect::NameEndpointLayer).
///
/// ```
/// use tower_upstream::{connect::AtEndpoint, http::AnsweredBy};
/// let response = http::Response::new(()).at_endpoint(&"a:1".into());
/// assert_eq!(&*response.extensions().get::<AnsweredBy>().unwrap().0, "a:1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnsweredBy(pub Arc<str>);

impl<B> AtEndpoint for http::Response<B> {
    fn at_endpoint(mut self, key: &Arc<str>) -> Self {
        self.extensions_mut().insert(AnsweredBy(key.clone()));
        self
    }
}

impl<B> Explain for http::Response<B> {
    fn explain(&mut self, decision: Arc<Decision>) {
        self.extensions_mut().insert(decision);
    }
}
