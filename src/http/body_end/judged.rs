use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use crate::{
    breaker::Permit,
    error::Fault,
    http::classify::of_grpc,
    outcome::{Outcome, fault},
    wire,
};

/// Call that upgraded its connection, and is a success once that closes.
pub(super) struct Upgraded {
    pub(super) call: Permit,
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.call.settle(Outcome::Success);
    }
}

/// The verdict on a body that broke, which is that of [`judge`](crate::outcome::judge) on a call: over
/// HTTP/2 an upload that its caller breaks off breaks the answer, too.
fn of_broken<E: 'static>(error: &E) -> Option<Outcome> {
    match fault(error) {
        Fault::Endpoint => Some(Outcome::Failure),
        Fault::Cancelled => None,
        Fault::Guard | Fault::Caller | Fault::Connection => Some(Outcome::Ignored),
    }
}

pin_project! {
    /// Response body that tells a circuit how it ended; see [`AtBodyEnd`](super::AtBodyEnd).
    ///
    /// `Default` is a body that belongs to no call.
    ///
    /// # Example
    /// ```
    /// use http_body_util::Full;
    /// use tower_upstream::http::JudgedBody;
    ///
    /// /// Body of a response of a breaker that is `until_body_end`.
    /// type Judged = JudgedBody<Full<bytes::Bytes>>;
    /// # let _ = Judged::default();
    /// ```
    pub struct JudgedBody<B> {
        #[pin]
        pub(super) body: B,
        // Settled, or dropped before, which is cancelled.
        pub(super) call: Option<Permit>,
        pub(super) owes_status: bool,
    }
}

impl<B: Body<Error: 'static>> Body for JudgedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let without_status = if *this.owes_status { Outcome::Failure } else { Outcome::Success };
        // `None` within is a call that was cut short.
        let end = match &frame {
            Some(Err(error)) => Some(of_broken(error)),
            Some(Ok(frame)) => match frame.trailers_ref() {
                Some(trailers) => Some(Some(match wire::grpc_trailer(trailers) {
                    Some(status) if *this.owes_status => {
                        of_grpc(status, || wire::pushback(trailers))
                    }
                    _ => without_status,
                })),
                // A reader of the last frame need not ask for the `None` after it.
                None => this.body.is_end_stream().then_some(Some(without_status)),
            },
            None => Some(Some(without_status)),
        };
        if let (Some(outcome), Some(mut call)) = (end, end.and_then(|_| this.call.take())) {
            match outcome {
                Some(outcome) => call.settle(outcome),
                None => call.cancel(),
            }
        }
        Poll::Ready(frame)
    }

    inner_body!();
}

impl<B: Default> Default for JudgedBody<B> {
    fn default() -> Self {
        Self { body: B::default(), call: None, owes_status: false }
    }
}

impl<B> fmt::Debug for JudgedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JudgedBody").field("call", &self.call).finish_non_exhaustive()
    }
}
