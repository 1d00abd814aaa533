//! Where an HTTP server listens.

use super::config::HttpServerConfig;
#[cfg(unix)]
use crate::{
    dial::Users,
    endpoint::{HTTP_UNIX, unix_url},
};
use crate::{
    error::Error,
    serve::listener::{Listener, Place},
};

/// Listens at `host:port`, or at a `unix:` path.
#[cfg_attr(not(unix), allow(unused_variables, reason = "there are no users of sockets"))]
pub(super) async fn bind(address: &str, config: &HttpServerConfig) -> Result<Listener, Error> {
    #[cfg(unix)]
    if let Some(path) = address.strip_prefix("unix:") {
        // One, three and no slashes more are the same path, as in an address.
        let path = path.strip_prefix("//").unwrap_or(path);
        let users = Users { uids: config.allowed_uids.clone(), any: config.allow_any_user };
        return Listener::unix(path, users).await;
    }
    Listener::tcp(address).await
}

/// The address for an [`HttpTransport`](crate::transport::HttpTransport).
pub(super) fn url(listener: &Listener, is_secure: bool) -> String {
    let scheme = if is_secure { "https" } else { "http" };
    match listener.place() {
        #[cfg(unix)]
        Place::Unix(path) => unix_url(HTTP_UNIX, &path),
        Place::Tcp(address) => format!("{scheme}://{address}"),
        Place::Lost => format!("{scheme}://"),
    }
}
