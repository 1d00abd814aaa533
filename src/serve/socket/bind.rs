//! Where a plugin is called over a socket, and from where.

use super::config::BridgeConfig;
#[cfg(unix)]
use crate::dial::Users;
use crate::{
    error::{Error, Kind},
    serve::listener::{Listener, Place},
    wire::Network,
};

/// Where to listen.
#[derive(Debug, Clone)]
pub(super) enum BindAddress {
    #[cfg(unix)]
    Unix(String),
    Tcp(String),
}

pub(super) async fn bind(address: &BindAddress, config: &BridgeConfig) -> Result<Listener, Error> {
    match address {
        #[cfg(unix)]
        BindAddress::Unix(path) => {
            let users = Users { uids: config.allowed_uids.clone(), any: config.allow_any_user };
            Listener::unix(path, users).await
        }
        BindAddress::Tcp(address) => {
            let listener = Listener::tcp(address).await?;
            let may_be_remote = config.allow_remote && config.require_auth;
            if !is_local(&listener) && !may_be_remote {
                return Err(Error::not_sent(Kind::InvalidConfig).message(format!(
                    "other hosts can reach `{address}`: listen on `127.0.0.1`, or set both \
                     `allow_remote` and `require_auth`"
                )));
            }
            Ok(listener.of_networks(networks(config)))
        }
    }
}

fn is_local(listener: &Listener) -> bool {
    matches!(listener.place(), Place::Tcp(address) if address.ip().to_canonical().is_loopback())
}

fn networks(config: &BridgeConfig) -> Vec<Network> {
    let subnets = config.allowed_subnets.iter().map(String::as_str);
    match config.allowed_subnets.len() {
        0 => ["127.0.0.0/8", "::1/128"].into_iter().filter_map(Network::parse).collect(),
        _ => subnets.filter_map(Network::parse).collect(),
    }
}

/// The address for a [`SocketTransport`](crate::transport::SocketTransport).
pub(super) fn url(listener: &Listener) -> String {
    match listener.place() {
        #[cfg(unix)]
        Place::Unix(path) => format!("unix:{path}"),
        Place::Tcp(address) => format!("tcp://{address}"),
        Place::Lost => "tcp://".to_owned(),
    }
}
