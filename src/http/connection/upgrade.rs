//! Calls that outlast their response, on a connection that speaks another protocol from then on.

use http::{Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;

use super::slot::ConnectionSlot;

/// Returns whether the call lasts as long as the connection rather than the body: after a status of
/// 101, or if hyper offers the connection, as it does for a 2xx to `CONNECT`.
pub(in crate::http) fn is_upgrade<B>(response: &Response<B>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
        || response.extensions().get::<OnUpgrade>().is_some()
}

/// Keeps `guard` for as long as the connection that `response` came over.
///
/// If the connection tells when it closes, until then. If it does not, or carries other calls as well,
/// for as long as the caller keeps the [`ConnectionSlot`] that is put into the extensions.
pub(in crate::http) fn hold_with_connection<B>(
    response: &mut Response<B>,
    guard: impl Send + 'static,
) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Whether the guard of a call lasts until `socket` closes, or as long as the response is kept.
    fn held_by(version: Version, socket: Option<&ConnectionSlot>) -> &'static str {
        let guard = Arc::new(());
        let mut response = Response::new(());
        *response.version_mut() = version;
        if let Some(socket) = socket {
            response.extensions_mut().insert(socket.clone());
        }
        // Of two layers, so the second finds what the first did.
        hold_with_connection(&mut response, guard.clone());
        hold_with_connection(&mut response, guard.clone());
        assert_eq!(Arc::strong_count(&guard), 3);
        drop(response);
        match Arc::strong_count(&guard) {
            3 => "the socket",
            1 => "the response",
            _ => "both",
        }
    }

    #[test]
    fn the_socket_holds_a_guard_unless_it_is_shared() {
        let socket = ConnectionSlot::of_connection();
        assert_eq!(held_by(Version::HTTP_11, Some(&socket)), "the socket");
        assert_eq!(held_by(Version::HTTP_2, Some(&socket)), "the response");
        assert_eq!(held_by(Version::HTTP_3, Some(&socket)), "the response");
        assert_eq!(held_by(Version::HTTP_11, None), "the response");
        assert_eq!(held_by(Version::HTTP_2, None), "the response");
    }

    #[test]
    fn an_upgrade_is_a_status_of_101() {
        let with = |status: u16| {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
            is_upgrade(&response)
        };
        assert!(with(101) && !with(200) && !with(100) && !with(426));
    }
}
