//! Where a plugin listens.

use super::config::SocketConfig;
#[cfg(unix)]
use crate::dial::{Users, socket_path};
use crate::{
    dial::Socket,
    endpoint::Address,
    error::{Code, Error, Kind},
};

/// A socket to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SocketAddress {
    #[cfg(unix)]
    Unix(String),
    Tcp {
        host: String,
        port: u16,
    },
}

impl SocketAddress {
    pub(super) fn of(address: &Address) -> Result<Self, Error> {
        match (address.scheme().unwrap_or_default(), address.port()) {
            #[cfg(unix)]
            ("unix", _) => {
                socket_path::check(address.path())?;
                Ok(Self::Unix(address.path().to_owned()))
            }
            (scheme, Some(port)) if scheme.eq_ignore_ascii_case("tcp") => {
                Ok(Self::Tcp { host: address.host().replace("%25", "%"), port })
            }
            _ => Err(Error::not_sent(Kind::InvalidConfig).coded(Some(Code::PLUGIN_1008)).message(
                format!(
                    "the socket transport cannot reach `{address}`: use `unix:/path` or \
                     `tcp://host:port`; transport must be unix"
                ),
            )),
        }
    }

    pub(super) async fn connect(&self, config: &SocketConfig) -> Result<Socket, Error> {
        match self {
            #[cfg(unix)]
            Self::Unix(path) => {
                let users = Users { uids: config.allowed_uids.clone(), any: config.allow_any_user };
                Socket::connect_unix(path, &users).await
            }
            Self::Tcp { host, port } => {
                let limit = config.connect_timeout;
                Socket::connect_tcp(host, *port, config.allow_remote, limit).await
            }
        }
    }

    /// The code of what breaks the protocol here.
    pub(super) fn code(&self) -> Code {
        match self {
            #[cfg(unix)]
            Self::Unix(_) => Code::TRANSPORT_1303,
            Self::Tcp { .. } => Code::RPC_2003,
        }
    }

    /// Its name in the health of a plugin.
    pub(super) fn transport(&self) -> &'static str {
        match self {
            #[cfg(unix)]
            Self::Unix(_) => "unix",
            Self::Tcp { .. } => "tcp",
        }
    }

    /// Likewise.
    pub(super) fn path(&self) -> String {
        match self {
            #[cfg(unix)]
            Self::Unix(path) => path.clone(),
            Self::Tcp { host, port } => format!("{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Result<SocketAddress, Error> {
        SocketAddress::of(&address.parse().unwrap())
    }

    #[test]
    fn only_sockets_can_be_reached() {
        let tcp = |host: &str| Some(SocketAddress::Tcp { host: host.to_owned(), port: 9_000 });
        assert_eq!(read("tcp://a.example:9000").ok(), tcp("a.example"));
        assert_eq!(read("TCP://[::1]:9000").ok(), tcp("::1"));
        #[cfg(unix)]
        assert_eq!(
            read("unix:///run/a.sock").ok(),
            Some(SocketAddress::Unix("/run/a.sock".to_owned()))
        );
        for address in ["http://a:1", "a:1", "tcp://a", "unix:/a/../b"] {
            let error = read(address).unwrap_err();
            assert!(error.kind() == Kind::InvalidConfig && error.is_unsent(), "{error}");
        }
    }
}
