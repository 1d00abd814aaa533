//! Where to connect to.

use crate::{endpoint::Address, wire::without_zone};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Way {
    Tcp {
        host: String,
        port: u16,
        is_secure: bool,
    },
    /// A Unix socket.
    Socket(String),
}

impl Way {
    /// For HTTP.
    pub(crate) fn of(scheme: Option<&str>, host: &str, port: Option<u16>) -> Self {
        let is_secure = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Self::tcp(host, port, is_secure)
    }

    pub(crate) fn tcp(host: &str, port: Option<u16>, is_secure: bool) -> Self {
        let port = port.unwrap_or(if is_secure { 443 } else { 80 });
        Self::Tcp { host: host.trim_matches(['[', ']']).to_owned(), port, is_secure }
    }

    /// For HTTP, and the `Host` to ask for there.
    pub(crate) fn to(address: &Address) -> (Self, String) {
        match address.socket_path() {
            // What curl sends there.
            Some(socket) => (Self::Socket(socket), "localhost".to_owned()),
            None => {
                let way = Self::of(address.scheme(), address.host(), address.port());
                (way, without_zone(address.authority()).into_owned())
            }
        }
    }
}
