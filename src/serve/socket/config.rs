use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    auth::Secret,
    error::{Code, Error, Kind},
    plugin::wire::stream::proof,
    wire::{self, Network},
};

/// Settings of a plugin that is served over a socket, by the names of the Go plugin manager's
/// communication bridge.
///
/// In a file, durations are text such as `"1m30s"`, or nanoseconds.
///
/// # Differences from Go's
/// Go's bridge sends back whatever it gets; this one serves a plugin. There, `channel_timeout` ends a
/// connection whatever it does, and `require_auth` asks for nothing.
///
/// # Example
/// ```
/// use tower_upstream::serve::BridgeConfig;
///
/// let config = BridgeConfig::default().with_require_auth(true).with_token("s3cret");
/// assert!(config.validate().is_ok());
/// assert!(BridgeConfig::default().with_require_auth(true).validate().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct BridgeConfig {
    /// Address to listen on, for [`serve::bridge`](super::bridge).
    ///
    /// One that is not of this host's loopback needs `allow_remote` and `require_auth`. Default: `127.0.0.1`.
    pub listen_address: String,
    /// Port to listen on, for [`serve::bridge`](super::bridge). Default: 0, which is any that is free.
    pub listen_port: u16,
    /// Most connections at once, and so the most calls. Others wait to be accepted.
    ///
    /// In a file also `max_connections`. Default: 100.
    #[serde(alias = "max_connections")]
    pub max_channels: usize,
    /// Longest time that a connection may be without a call, or take to send one or to read an answer.
    ///
    /// The work of the plugin does not count. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub channel_timeout: Duration,
    /// Longest time from accepting a connection to its first whole message, which is the proof of the
    /// `token` if `require_auth` is set. Default: 10 s.
    #[serde(with = "crate::duration::serde")]
    pub accept_timeout: Duration,
    /// Most bytes of the message that proves the token. Default: 1,024.
    pub handshake_buffer: usize,
    /// Networks whose addresses may connect over TCP, such as `127.0.0.0/8`; others are closed without a word.
    ///
    /// Default: empty, which is `127.0.0.0/8` and `::1/128`.
    pub allowed_subnets: Vec<String>,
    /// Whether the first message of a connection must prove the `token`. Default: `false`.
    pub require_auth: bool,
    /// Token that callers must prove if `require_auth` is set. Default: empty.
    #[serde(skip_serializing)]
    pub token: Secret,
    /// Whether to listen on an address that other hosts can reach.
    ///
    /// What they send can be read on the way: there is no TLS. Default: `false`.
    pub allow_remote: bool,
    /// Users whose processes may connect to a Unix socket.
    ///
    /// The operating system tells the user; others are closed before a byte is read. Default: empty, which
    /// is the user of this process, and root.
    pub allowed_uids: Vec<u32>,
    /// Whether a process of any user may connect to a Unix socket. Default: `false`.
    pub allow_any_user: bool,
    /// Most bytes of a message. More is an error, and is not read. Default: 16 MiB.
    pub max_message_bytes: usize,
    /// Longest time for calls to end once the server stops; then they are dropped. Default: 30 s.
    #[serde(with = "crate::duration::serde")]
    pub drain_timeout: Duration,
}

crate::written::names_keys!(BridgeConfig);

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            listen_address: "127.0.0.1".to_owned(),
            listen_port: 0,
            max_channels: 100,
            channel_timeout: Duration::from_secs(30),
            accept_timeout: Duration::from_secs(10),
            handshake_buffer: 1024,
            allowed_subnets: Vec::new(),
            require_auth: false,
            token: Secret::default(),
            allow_remote: false,
            allowed_uids: Vec::new(),
            allow_any_user: false,
            max_message_bytes: wire::MAX_BODY,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl BridgeConfig {
    setters! {
        with_listen_address: listen_address = impl Into<String>;
        with_listen_port: listen_port = u16;
        with_max_channels: max_channels = usize;
        with_channel_timeout: channel_timeout = Duration;
        with_accept_timeout: accept_timeout = Duration;
        with_handshake_buffer: handshake_buffer = usize;
        with_require_auth: require_auth = bool;
        with_token: token = impl Into<Secret>;
        with_allow_remote: allow_remote = bool;
        with_allow_any_user: allow_any_user = bool;
        with_max_message_bytes: max_message_bytes = usize;
        with_drain_timeout: drain_timeout = Duration;
        with_allowed_uids: allowed_uids = each u32;
    }

    /// Sets [`allowed_subnets`](Self::allowed_subnets).
    #[must_use]
    pub fn with_allowed_subnets(
        mut self,
        subnets: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.allowed_subnets = subnets.into_iter().map(Into::into).collect();
        self
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let zeros = [
            ("max_channels", self.max_channels == 0),
            ("channel_timeout", self.channel_timeout.is_zero()),
            ("accept_timeout", self.accept_timeout.is_zero()),
            ("handshake_buffer", self.handshake_buffer == 0),
            ("max_message_bytes", self.max_message_bytes == 0),
        ];
        let zeros = zeros.into_iter().filter(|(_, is_zero)| *is_zero);
        let mut mistakes: Vec<_> =
            zeros.map(|(name, _)| format!("`{name}` is zero, but must be more")).collect();
        for subnet in &self.allowed_subnets {
            if Network::parse(subnet).is_none() {
                let subnet = wire::start(subnet, 64);
                mistakes.push(format!(
                    "`allowed_subnets` has `{}`, which is no network",
                    subnet.escape_debug()
                ));
            }
        }
        let has_no_token = self.require_auth && self.token.is_empty();
        if has_no_token {
            mistakes.push("`require_auth` is set, but there is no `token`".to_owned());
        }
        // Without its line end.
        let proof = proof(self.token.expose()).map_or(0, |proof| proof.len() - 1);
        if self.require_auth && proof > self.handshake_buffer {
            mistakes.push(format!(
                "`handshake_buffer` is {}, but the proof of the `token` has {proof} bytes",
                self.handshake_buffer
            ));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let code = (has_no_token && mistakes.len() == 1).then_some(Code::AUTH_1102);
        let message = format!("bridge: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).coded(code).message(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_go() {
        let text = r#"{"listen_address":"127.0.0.1","listen_port":0,"max_channels":100,"channel_timeout":30000000000,
            "accept_timeout":10000000000,"handshake_buffer":1024,"allowed_subnets":[],"require_auth":false}"#;
        assert_eq!(serde_json::from_str::<BridgeConfig>(text).unwrap(), BridgeConfig::default());
        let other: BridgeConfig = serde_json::from_str(r#"{"max_connections":7}"#).unwrap();
        assert_eq!(other.max_channels, 7);
        for bad in
            [r#"{"handshake_buffer":-1}"#, r#"{"listen_port":70000}"#, r#"{"protocol":"tcp"}"#]
        {
            assert!(serde_json::from_str::<BridgeConfig>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_mistake_is_named() {
        let absurd = BridgeConfig::default()
            .with_max_channels(0)
            .with_channel_timeout(Duration::ZERO)
            .with_accept_timeout(Duration::ZERO)
            .with_handshake_buffer(0)
            .with_max_message_bytes(0)
            .with_allowed_subnets(["10.0.0.0/33"])
            .with_require_auth(true);
        let text = absurd.validate().unwrap_err().to_string();
        for name in [
            "max_channels",
            "channel_timeout",
            "accept_timeout",
            "handshake_buffer",
            "max_message_bytes",
            "10.0.0.0/33",
            "require_auth",
        ] {
            assert!(text.contains(name), "{text}");
        }
        let alone = BridgeConfig::default().with_require_auth(true).validate().unwrap_err();
        assert_eq!(alone.code(), Code::AUTH_1102);
        assert!(BridgeConfig::default().validate().is_ok());
    }
}
