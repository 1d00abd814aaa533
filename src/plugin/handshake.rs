use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Kind};

/// Capability of a plugin that is a process and answers several calls at once, each by its id, in any
/// order.
///
/// A [`ProcessTransport`](crate::transport::ProcessTransport) sends one call after another to a plugin
/// whose description does not list it. [`serve::stdio`](crate::serve::stdio()) adds it.
///
/// ```
/// use tower_upstream::plugin::{MULTIPLEX, PluginInfo};
/// let info = PluginInfo::new("tax", "2.1.0").with_capability(MULTIPLEX);
/// assert_eq!(info.capabilities, ["multiplex"]);
/// ```
pub const MULTIPLEX: &str = "multiplex";

/// Variables of the environment by which a host tells a plugin that it was started as one.
///
/// They are those of the Go plugin manager. They are no secret, and prove nothing.
///
/// # Example
/// ```
/// use tower_upstream::plugin::Handshake;
///
/// let handshake = Handshake::default();
/// assert_eq!(handshake.variables()[0].1, "agilira-go-plugins-v1");
/// assert!(handshake.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Handshake {
    /// Version of the protocol, from 1: `PLUGIN_PROTOCOL_VERSION`. Default: 1.
    pub protocol_version: u32,
    /// Name of the variable that says that the process is a plugin. Default: `AGILIRA_PLUGIN_MAGIC_COOKIE`.
    pub magic_cookie_key: String,
    /// Value of that variable. Default: `agilira-go-plugins-v1`.
    pub magic_cookie_value: String,
    /// Address of a server of the host that the plugin may call: `PLUGIN_SERVER_ADDRESS`.
    ///
    /// Default: empty, which is none.
    pub server_address: String,
    /// Port of that server: `PLUGIN_SERVER_PORT`. Default: 0.
    pub server_port: u16,
    /// Name of the plugin: `PLUGIN_NAME`. Default: `subprocess-plugin`.
    pub plugin_name: String,
    /// Version of the plugin: `PLUGIN_VERSION`. Default: `1.0.0`.
    pub plugin_version: String,
}

impl Default for Handshake {
    fn default() -> Self {
        Self {
            protocol_version: 1,
            magic_cookie_key: "AGILIRA_PLUGIN_MAGIC_COOKIE".to_owned(),
            magic_cookie_value: "agilira-go-plugins-v1".to_owned(),
            server_address: String::new(),
            server_port: 0,
            plugin_name: "subprocess-plugin".to_owned(),
            plugin_version: "1.0.0".to_owned(),
        }
    }
}

const VERSION: &str = "PLUGIN_PROTOCOL_VERSION";
const TYPE: &str = "PLUGIN_TYPE";
/// The only one that Go knows.
const ONLY_TYPE: &str = "grpc";

impl Handshake {
    /// Returns the variables, in the order in which a plugin checks them.
    pub fn variables(&self) -> Vec<(String, String)> {
        let own = [
            (VERSION, self.protocol_version.to_string()),
            ("PLUGIN_SERVER_ADDRESS", self.server_address.clone()),
            ("PLUGIN_SERVER_PORT", self.server_port.to_string()),
            (TYPE, ONLY_TYPE.to_owned()),
            ("PLUGIN_NAME", self.plugin_name.clone()),
            ("PLUGIN_VERSION", self.plugin_version.clone()),
        ];
        let cookie = (self.magic_cookie_key.clone(), self.magic_cookie_value.clone());
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        std::iter::once(cookie).chain(own).collect()
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] with the code `RPC_2002`, which names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let key = self.magic_cookie_key.as_bytes();
        let is_name = !key.first().is_none_or(u8::is_ascii_digit)
            && key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let has_nul = self.variables().iter().any(|(_, value)| value.contains('\0'));
        let mistakes = [
            (self.protocol_version == 0, "`protocol_version` is zero, but must be more"),
            (!is_name, "`magic_cookie_key` is no name of letters, digits and `_`"),
            (self.magic_cookie_value.is_empty(), "`magic_cookie_value` is empty"),
            (has_nul, "a value holds a NUL"),
        ];
        let mistakes: Vec<_> =
            mistakes.into_iter().filter(|(is_one, _)| *is_one).map(|(_, text)| text).collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(failed(&format!("handshake: {}", mistakes.join("; "))))
    }

    /// Checks the variables of the environment of this process, of which `get` returns the value: cookie,
    /// version, and type. Address and port are not asked for, which Go leaves empty.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] with the code `RPC_2002`, for the first that is wrong.
    ///
    /// ```
    /// use tower_upstream::plugin::Handshake;
    /// let error = Handshake::default().check(|_| None).unwrap_err();
    /// assert_eq!(error.code().as_str(), "RPC_2002");
    /// ```
    pub fn check(&self, get: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
        let value = |name: &str| get(name).unwrap_or_default();
        if value(&self.magic_cookie_key) != self.magic_cookie_value {
            return Err(failed(
                "this program is a plugin: it is started by its host, not by itself",
            ));
        }
        let version = value(VERSION);
        if version.parse() != Ok(self.protocol_version) {
            return Err(failed(&format!(
                "protocol error: another version (expected: {}, actual: {})",
                self.protocol_version,
                version.escape_debug()
            )));
        }
        let kind = value(TYPE);
        if !kind.eq_ignore_ascii_case(ONLY_TYPE) {
            return Err(failed(&format!(
                "protocol error: another type (expected: {ONLY_TYPE}, actual: {})",
                kind.escape_debug()
            )));
        }
        Ok(())
    }
}

fn failed(problem: &str) -> Error {
    Error::not_sent(Kind::InvalidConfig).coded(Some(Code::RPC_2002)).message(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_sets_is_what_a_plugin_accepts() {
        let handshake = Handshake::default();
        let set = handshake.variables();
        let names: Vec<_> = set.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            names,
            [
                "AGILIRA_PLUGIN_MAGIC_COOKIE=agilira-go-plugins-v1",
                "PLUGIN_PROTOCOL_VERSION=1",
                "PLUGIN_SERVER_ADDRESS=",
                "PLUGIN_SERVER_PORT=0",
                "PLUGIN_TYPE=grpc",
                "PLUGIN_NAME=subprocess-plugin",
                "PLUGIN_VERSION=1.0.0",
            ]
        );
        let but = |name: &str, value: Option<&str>| {
            let (set, name, value) = (set.clone(), name.to_owned(), value.map(str::to_owned));
            let checked = handshake.check(move |of| match of == name {
                true => value.clone(),
                false => set.iter().find(|(name, _)| name == of).map(|(_, value)| value.clone()),
            });
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(but("PLUGIN_TYPE", Some("GRPC")), Ok(()));
        assert_eq!(but("PLUGIN_SERVER_ADDRESS", None), Ok(()));
        for (name, value, part) in [
            ("AGILIRA_PLUGIN_MAGIC_COOKIE", None, "started by its host"),
            ("AGILIRA_PLUGIN_MAGIC_COOKIE", Some("x"), "started by its host"),
            ("PLUGIN_PROTOCOL_VERSION", None, "expected: 1"),
            ("PLUGIN_PROTOCOL_VERSION", Some("2"), "actual: 2"),
            ("PLUGIN_TYPE", Some("http"), "actual: http"),
        ] {
            assert!(but(name, value).unwrap_err().contains(part), "{name}");
        }
    }

    #[test]
    fn each_mistake_is_named() {
        let wrong = Handshake {
            protocol_version: 0,
            magic_cookie_key: "1=".to_owned(),
            magic_cookie_value: String::new(),
            plugin_name: "a\0".to_owned(),
            ..Handshake::default()
        };
        let error = wrong.validate().unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::RPC_2002));
        assert_eq!(error.to_string().matches(';').count(), 3, "{error}");
    }
}
