use super::{ByReplay, CallOptions, Replay, ReplayPolicy};
use crate::time::Instant;

/// A request of which there always is a copy, by its type: none with a body that streams.
///
/// Implemented for [`Call`](crate::Call) and, with the feature `http`, for `http::Request` with a body that is
/// held in memory, or a `ReplayBody`. Asked for by
/// [`FailoverLayer::require_copies`](crate::FailoverLayer::require_copies).
///
/// # Example
/// ```
/// use tower_upstream::{Call, replay::Repeatable};
/// fn takes(_: impl Repeatable) {}
/// takes(Call::new(7));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is sent once: there may be no copy of it to send again",
    label = "this failover was told to `require_copies`",
    note = "a body that streams can be sent again below a `ReplayBodyLayer`",
    note = "for a request of your own, implement `Replay` and `Repeatable`"
)]
pub trait Repeatable: Replay {}

/// Asks the request itself, which is [`Repeatable`].
///
/// ```
/// use tower_upstream::{Call, replay::{ByCopy, ReplayPolicy}};
/// assert!(ByCopy.replay(&Call::new(7)).is_some());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ByCopy;

impl<Req: Repeatable> ReplayPolicy<Req> for ByCopy {
    fn replay(&self, request: &Req) -> Option<Req> {
        ByReplay.replay(request)
    }

    fn is_idempotent(&self, request: &Req) -> bool {
        ByReplay.is_idempotent(request)
    }

    fn deadline(&self, request: &Req) -> Option<Instant> {
        ByReplay.deadline(request)
    }

    fn options(&self, request: &Req) -> CallOptions {
        ByReplay.options(request)
    }

    fn begin_attempt(&self, request: &mut Req, number: u32) {
        ByReplay.begin_attempt(request, number);
    }

    fn is_independent(&self, request: &Req) -> bool {
        ByReplay.is_independent(request)
    }

    fn waits_for_caller(&self, request: &Req) -> bool {
        request.waits_for_caller()
    }

    fn is_whole(&self, request: &Req) -> bool {
        ByReplay.is_whole(request)
    }
}
