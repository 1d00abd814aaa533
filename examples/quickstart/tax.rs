//! What is asked and answered, and what the day needs of a stack.

use serde::{Deserialize, Serialize};
use tower::Service;
use tower_upstream::{Call, Error, Reply, balance::BalanceHandle, breaker::CircuitBreakerLayer};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TaxRequest {
    pub(crate) net: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TaxReply {
    pub(crate) gross: u64,
}

/// What a `tower::Service` of ours looks like to its callers.
pub(crate) trait Plugins:
    Service<
        Call<TaxRequest>,
        Response = Reply<TaxReply>,
        Error = Error,
        Future: Future<Output = Result<Reply<TaxReply>, Error>> + Send,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Plugins for S where
    S: Service<
            Call<TaxRequest>,
            Response = Reply<TaxReply>,
            Error = Error,
            Future: Future<Output = Result<Reply<TaxReply>, Error>> + Send,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

#[derive(Clone)]
pub(crate) struct Stack<S> {
    pub(crate) plugins: S,
    /// For the table: which endpoints there are, and what bars them.
    pub(crate) members: BalanceHandle,
    pub(crate) breakers: CircuitBreakerLayer,
}
