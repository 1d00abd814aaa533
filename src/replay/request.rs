use super::CallOptions;
use crate::deadline::HasDeadline;

/// What a layer may ask of a request that it might send again.
///
/// Implemented for [`Call`](crate::Call) and, with the feature `http`, for `http::Request` with
/// any body. Implement it for a request of yours, or give
/// [`FailoverLayer::with_replay`](crate::failover::FailoverLayer::with_replay) a closure.
///
/// # Example
/// ```
/// use tower_upstream::{deadline::HasDeadline, replay::Replay};
///
/// #[derive(Clone)]
/// enum Query { Read(u64), Write(u64, String) }
///
/// impl HasDeadline for Query {}
///
/// impl Replay for Query {
///     fn replay(&self) -> Option<Self> {
///         Some(self.clone())
///     }
///     fn is_idempotent(&self) -> bool {
///         matches!(self, Query::Read(_))
///     }
/// }
/// # assert!(!Query::Write(1, String::new()).is_idempotent() && Query::Read(1).is_idempotent());
/// ```
#[diagnostic::on_unimplemented(
    message = "a failover cannot tell whether `{Self}` may be sent again",
    label = "this request does not implement `Replay`",
    note = "implement `Replay` for it, or give the `FailoverLayer` a closure: `with_replay(|request| ..)`"
)]
pub trait Replay: HasDeadline + Sized {
    /// Returns a copy to send if this request fails, or `None` if it cannot be copied, such as a streaming body.
    ///
    /// Without a copy there is one attempt.
    fn replay(&self) -> Option<Self>;

    /// Returns whether sending the request twice does no more than sending it once.
    ///
    /// If not, it is sent again only where nothing can have reached an endpoint.
    fn is_idempotent(&self) -> bool;

    /// Options of this request alone, in place of the settings of the layer. Default: none.
    fn options(&self) -> CallOptions {
        CallOptions::NONE
    }

    /// Notes which attempt this copy is for, from 1.
    fn begin_attempt(&mut self, _number: u32) {}

    /// Whether copies can be sent at the same time, as hedging does. Not so for a body that still streams: one
    /// copy would take the rest from the other.
    fn is_independent(&self) -> bool {
        true
    }

    /// Whether a copy, made earlier, can still be sent: a body that streams may have turned out
    /// too long to be kept.
    fn is_whole(&self) -> bool {
        true
    }

    /// Whether the copy that is being sent waits for its caller: for the rest of a body of a known length. An
    /// attempt that ends by its time limit meanwhile is not held against its endpoint, and is the last.
    fn waits_for_caller(&self) -> bool {
        false
    }
}
