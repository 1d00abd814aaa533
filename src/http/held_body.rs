//! Guards that last until the end of a response.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use super::connection::{hold_with_connection, is_upgrade};

/// Keeps `guard` until `response` has ended. The one place where a guard of a call moves from its
/// future to its response.
///
/// The rule: a call lasts until its body ends or, if it upgraded its connection, until that closes.
pub(crate) fn hold<B: Body, G: Send + 'static>(
    mut response: Response<B>,
    mut guard: Option<G>,
) -> Response<HeldBody<B, G>> {
    if is_upgrade(&response) {
        if let Some(guard) = guard.take() {
            hold_with_connection(&mut response, guard);
        }
    }
    // What has no body, or an empty one, has ended already.
    response.map(|body| HeldBody { guard: guard.filter(|_| !body.is_end_stream()), body })
}

pin_project! {
    /// Response body that keeps a guard `G`, such as a place under a limit, until it ends.
    ///
    /// The guard drops with the last frame, with an error of the body, or with the body itself. A
    /// response that upgrades its connection has no body to wait for: its guard is kept in the
    /// [`ConnectionSlot`](crate::http::ConnectionSlot) instead, until the connection closes.
    ///
    /// `Default` is a body without a guard.
    ///
    /// # Example
    /// ```
    /// use http_body_util::Full;
    /// use tower_upstream::{http::HeldBody, member::InFlight};
    ///
    /// /// Body of a response below a `TrackLayer`.
    /// type Tracked = HeldBody<Full<bytes::Bytes>, InFlight>;
    /// # let _ = Tracked::default();
    /// ```
    pub struct HeldBody<B, G> {
        // First, so that what a dropped body holds is gone when the guard lets another in.
        #[pin]
        body: B,
        guard: Option<G>,
    }
}

impl<B: Body, G> Body for HeldBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        // A reader of the last frame need not ask for the `None` after it.
        let over = match &frame {
            None | Some(Err(_)) => true,
            Some(Ok(frame)) => frame.is_trailers() || this.body.is_end_stream(),
        };
        if over {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    inner_body!();
}

impl<B: Default, G> Default for HeldBody<B, G> {
    fn default() -> Self {
        Self { body: B::default(), guard: None }
    }
}

impl<B, G: fmt::Debug> fmt::Debug for HeldBody<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldBody").field("guard", &self.guard).finish_non_exhaustive()
    }
}
