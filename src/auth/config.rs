use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    credentials::{Credentials, Way},
    secret::Secret,
    shown::is_hidden,
};
#[cfg(feature = "tls")]
use crate::dial::TlsConfig;
use crate::error::{Code, Error, Kind};

/// How calls prove that they may be made: an `auth` section, by the names of the Go plugin manager.
///
/// # Example
/// ```
/// use tower_upstream::auth::{AuthConfig, AuthLayer, AuthMethod};
///
/// let config: AuthConfig = serde_json::from_str(r#"{"method": "bearer", "token": "abc.def"}"#)?;
/// assert_eq!(config, AuthConfig::default().with_method(AuthMethod::Bearer).with_token("abc.def"));
/// let layer = AuthLayer::new(config.credentials()?);
/// assert!(!format!("{config:?} {layer:?}").contains("abc.def"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct AuthConfig {
    /// Method. Default: `none`.
    #[serde(deserialize_with = "or_none")]
    pub method: AuthMethod,
    /// Key of `api-key`.
    #[serde(skip_serializing_if = "is_hidden")]
    pub api_key: Secret,
    /// Token of `bearer`.
    #[serde(skip_serializing_if = "is_hidden")]
    pub token: Secret,
    /// User name of `basic`.
    #[serde(skip_serializing_if = "is_hidden")]
    pub username: Secret,
    /// Password of `basic`.
    #[serde(skip_serializing_if = "is_hidden")]
    pub password: Secret,
    /// File of the client certificate of `mtls`. PEM.
    #[serde(deserialize_with = "unless_empty")]
    pub cert_file: Option<PathBuf>,
    /// File of the private key of `cert_file`. PEM.
    #[serde(deserialize_with = "unless_empty")]
    pub key_file: Option<PathBuf>,
    /// File of the authorities that are trusted, instead of those of the system. PEM.
    #[serde(deserialize_with = "unless_empty")]
    pub ca_file: Option<PathBuf>,
    /// Headers of `custom`. Over gRPC they are sent with any method.
    #[serde(skip_serializing_if = "is_hidden")]
    pub headers: BTreeMap<String, Secret>,
    /// Whether they may be sent without TLS to another host, where they can be read on the way; see
    /// [`Credentials::allow_plaintext`]. Default: `false`.
    pub allow_plaintext: bool,
}

crate::written::names_keys!(AuthConfig);

/// Method of an [`AuthConfig`].
///
/// ```
/// use tower_upstream::auth::AuthMethod;
/// let method: AuthMethod = serde_json::from_str("\"api-key\"")?;
/// assert_eq!(method, AuthMethod::ApiKey);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuthMethod {
    /// `none`: nothing is sent.
    #[default]
    None,
    /// `api-key`: `X-Api-Key`.
    ApiKey,
    /// `bearer`: `Authorization: Bearer`.
    Bearer,
    /// `basic`: `Authorization: Basic`.
    Basic,
    /// `mtls`: a client certificate.
    Mtls,
    /// `custom`: [`AuthConfig::headers`].
    Custom,
}

impl AuthConfig {
    setters! {
        with_method: method = AuthMethod;
        with_api_key: api_key = impl Into<Secret>;
        with_token: token = impl Into<Secret>;
        with_client_certificate: (cert_file = some PathBuf, key_file = some PathBuf);
        with_ca_file: ca_file = some PathBuf;
        with_allow_plaintext: allow_plaintext = bool;
    }

    /// Sets [`username`](Self::username) and [`password`](Self::password).
    #[must_use]
    pub fn with_user(mut self, name: impl Into<Secret>, password: impl Into<Secret>) -> Self {
        (self.username, self.password) = (name.into(), password.into());
        self
    }

    /// Adds one of the [`headers`](Self::headers), or replaces its value.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Returns the credentials.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), which names all mistakes at once, and no
    /// secret. Its code is that of the method, such as `AUTH_1102` for a missing token, or `AUTH_1105`.
    ///
    /// ```
    /// use tower_upstream::{auth::AuthConfig, error::Code};
    /// let config: AuthConfig = serde_json::from_str(r#"{"method": "bearer"}"#)?;
    /// assert_eq!(config.credentials().unwrap_err().code(), Code::AUTH_1102);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn credentials(&self) -> Result<Credentials, Error> {
        let way = match self.method {
            AuthMethod::None => Way::None,
            AuthMethod::ApiKey => Way::ApiKey(self.api_key.clone()),
            AuthMethod::Bearer => Way::Bearer(self.token.clone()),
            AuthMethod::Basic => {
                Way::Basic { username: self.username.clone(), password: self.password.clone() }
            }
            AuthMethod::Mtls => Way::Mtls,
            AuthMethod::Custom => Way::Headers,
        };
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        let credentials = Credentials::with_headers(way, headers);
        let mut mistakes = Vec::new();
        let mut code = None;
        if let Some((of, mistake)) = credentials.mistake() {
            code = of;
            mistakes.push(mistake);
        }
        let has_both = self.cert_file.is_some() && self.key_file.is_some();
        if self.method == AuthMethod::Mtls && !has_both {
            code = Some(Code::AUTH_1104);
            mistakes.push("`mtls` needs a `cert_file` and a `key_file`");
        } else if self.cert_file.is_some() != self.key_file.is_some() {
            mistakes.push("`cert_file` and `key_file` need each other");
        }
        if mistakes.is_empty() {
            return Ok(credentials.allow_plaintext(self.allow_plaintext));
        }
        let code = code.filter(|_| mistakes.len() == 1).or(Some(Code::AUTH_1105));
        let message = format!("auth: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).coded(code).message(message))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Those of [`credentials`](Self::credentials).
    ///
    /// ```
    /// assert!(tower_upstream::auth::AuthConfig::default().validate().is_ok());
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        self.credentials().map(drop)
    }

    /// Returns `tls` with the files of this section: `ca_file`, and with `mtls` the client certificate.
    ///
    /// ```
    /// use tower_upstream::{auth::AuthConfig, dial::TlsConfig, transport::HttpConfig};
    ///
    /// let auth: AuthConfig = serde_json::from_str(
    ///     r#"{"method": "mtls", "cert_file": "/etc/tax.pem", "key_file": "/etc/tax.key"}"#,
    /// )?;
    /// let config = HttpConfig::default().with_tls(auth.tls(TlsConfig::default()));
    /// # let _ = config;
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self, mut tls: TlsConfig) -> TlsConfig {
        if let Some(file) = &self.ca_file {
            tls = tls.with_ca_file(file);
        }
        match (&self.cert_file, &self.key_file) {
            (Some(certificate), Some(key)) if self.method == AuthMethod::Mtls => {
                tls.with_client_certificate(certificate, key)
            }
            _ => tls,
        }
    }
}

/// Go writes an empty text where there is no method.
fn or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AuthMethod, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "expected `none`, `api-key`, `bearer`, `basic`, `mtls` or `custom`"
    )]
    enum Written {
        Method(AuthMethod),
        Other(String),
    }
    match Option::deserialize(deserializer)? {
        Some(Written::Method(method)) => Ok(method),
        None => Ok(AuthMethod::None),
        Some(Written::Other(text)) if text.is_empty() => Ok(AuthMethod::None),
        // It is not shown: a variable may have put a secret there.
        Some(Written::Other(_)) => Err(serde::de::Error::custom(
            "unsupported authentication method; write `none`, `api-key`, `bearer`, `basic`, `mtls` or `custom`",
        )),
    }
}

fn unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = Option::<PathBuf>::deserialize(deserializer)?;
    Ok(path.filter(|path| !path.as_os_str().is_empty()))
}
