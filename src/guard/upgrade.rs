//! Calls that go on after their answer, on a connection that speaks something else from then on.

use http::{Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;

use super::ConnectionSlot;

/// Whether the call goes on with the connection rather than with the body: after a status of 101, or
/// where hyper offers the connection, as it does for a 2xx to `CONNECT`.
pub(crate) fn is_upgrade<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        || response.extensions().get::<OnUpgrade>().is_some()
}

/// Holds `guard` for as long as the connection that `response` came on.
///
/// Where the connection says when it closes, until then. Where it does not, or carries other calls
/// as well, for as long as the caller keeps the [`ConnectionSlot`] that is among the extensions then.
pub(crate) fn hold_with_connection<B>(response: &mut Response<B>, guard: impl Send + 'static) {
    let is_shared = response.version() >= Version::HTTP_2;
    match response.extensions().get::<ConnectionSlot>() {
        Some(slot) if !is_shared || !slot.is_of_connection() => slot.hold(guard),
        _ => {
            let slot = ConnectionSlot::for_caller();
            slot.hold(guard);
            response.extensions_mut().insert(slot);
        }
    }
}
