//! What a program tells of the user: an `ExecCredential`, as bytes in, what to show out.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    auth::Secret,
    error::{Error, Kind},
    wire::parse_rfc3339,
};

/// What a request shows so that it is let in.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shown {
    /// That of `Authorization`.
    pub(super) header: Option<HeaderValue>,
    /// That of the connection, instead of what the kubeconfig has.
    pub(super) identity: Option<Arc<Identity>>,
}

/// A certificate and its private key, as PEM.
#[derive(Clone, PartialEq)]
pub(super) struct Identity {
    pub(super) cert: Vec<u8>,
    pub(super) key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

#[derive(Debug, PartialEq)]
pub(super) struct Credential {
    pub(super) shown: Shown,
    /// In seconds since 1970.
    pub(super) expires: Option<i64>,
}

/// `client.authentication.k8s.io/v1 ExecCredential`. `v1beta1` is the same.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential {
    kind: Option<String>,
    api_version: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<Secret>,
    client_certificate_data: Option<String>,
    client_key_data: Option<Secret>,
    expiration_timestamp: Option<String>,
}

impl Credential {
    /// Reads what a program wrote that was asked for `version`. What is wrong with it is told without any of it,
    /// since all of it may be a secret.
    pub(super) fn read(json: &[u8], version: &str) -> Result<Self, String> {
        let told: ExecCredential = serde_json::from_slice(json).map_err(|error| {
            format!("it is no JSON of one, line {} column {}", error.line(), error.column())
        })?;
        if told.kind.as_deref() != Some("ExecCredential") {
            return Err("its `kind` is another".to_owned());
        }
        if told.api_version.as_deref() != Some(version) {
            return Err(format!("its `apiVersion` is not that of `exec`, which is `{version}`"));
        }
        let status = told.status.ok_or("it has no `status`")?;
        let token = status.token.filter(|token| !token.is_empty());
        let cert = status.client_certificate_data.filter(|cert| !cert.is_empty());
        let key = status.client_key_data.filter(|key| !key.is_empty());
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => {
                let key = Zeroizing::new(key.expose().as_bytes().to_vec());
                Some(Arc::new(Identity { cert: cert.into_bytes(), key }))
            }
            (None, None) if token.is_none() => {
                return Err("it has neither a `token` nor a `clientCertificateData`".to_owned());
            }
            (None, None) => None,
            _ => {
                return Err(
                    "it has one of `clientCertificateData` and `clientKeyData` without the \
                            other"
                        .to_owned(),
                );
            }
        };
        let header = token.map(|token| bearer(&token)).transpose();
        let header = header.map_err(|error| error.what().to_owned())?;
        let expires = status.expiration_timestamp.filter(|at| !at.is_empty());
        let expires = expires.map(|at| match parse_rfc3339(&at) {
            Some((seconds, _)) => Ok(seconds),
            None => Err("its `expirationTimestamp` is no time of RFC 3339".to_owned()),
        });
        Ok(Self { shown: Shown { header, identity }, expires: expires.transpose()? })
    }
}

/// The header that shows a token.
pub(super) fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let text = Zeroizing::new(format!("Bearer {}", token.expose()));
    let mut header = HeaderValue::from_str(&text).map_err(|_| {
        Error::not_sent(Kind::InvalidConfig)
            .message("the token of Kubernetes has characters that no token has")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const V1: &str = "client.authentication.k8s.io/v1";

    fn of(status: Value) -> Value {
        json!({"kind": "ExecCredential", "apiVersion": V1, "spec": {"interactive": false}, "status": status})
    }

    fn read(value: &Value) -> Result<Credential, String> {
        Credential::read(value.to_string().as_bytes(), V1)
    }

    #[test]
    fn a_token_and_a_certificate_are_read_with_the_time_at_which_they_end() {
        let told =
            read(&of(json!({"token": "s3cret", "expirationTimestamp": "2026-11-30T10:00:00Z"})));
        let told = told.unwrap();
        assert_eq!(told.shown.header.as_ref().unwrap(), "Bearer s3cret");
        assert_eq!((told.shown.identity.is_none(), told.expires), (true, Some(1_796_032_800)));
        let pair = of(json!({"clientCertificateData": "CERT", "clientKeyData": "KEYS3CRET",
                             "token": "", "expirationTimestamp": null}));
        let told = read(&pair).unwrap();
        let identity = told.shown.identity.as_ref().unwrap();
        assert_eq!((&*identity.cert, &**identity.key), (&b"CERT"[..], &b"KEYS3CRET"[..]));
        assert_eq!((&told.shown.header, told.expires), (&None, None));
        // Each is shown in no other way.
        let shown = format!("{told:?}{:?}", read(&of(json!({"token": "s3cret"}))));
        assert!(!shown.contains("s3cret") && !shown.contains("S3CRET"), "{shown}");
        let both = of(json!({"clientCertificateData": "C", "clientKeyData": "K", "token": "t"}));
        let both = read(&both).unwrap().shown;
        assert!(both.header.is_some() && both.identity.is_some());
    }

    #[test]
    fn what_is_wrong_is_told_without_a_secret() {
        let mut other = of(json!({"token": "s3cret"}));
        other["apiVersion"] = json!("client.authentication.k8s.io/v1beta1");
        for (value, part) in [
            (other, "not that of `exec`, which is `client.authentication.k8s.io/v1`"),
            (json!({"kind": "Status", "status": {"token": "s3cret"}}), "`kind`"),
            (json!({"kind": "ExecCredential", "apiVersion": V1}), "no `status`"),
            (of(json!(null)), "no `status`"),
            (of(json!({})), "neither"),
            (of(json!({"token": ""})), "neither"),
            (of(json!({"clientCertificateData": "C", "token": "s3cret"})), "without the other"),
            (of(json!({"clientKeyData": "s3cret"})), "without the other"),
            (of(json!({"token": "s3cret\n"})), "characters"),
            (of(json!({"token": ["s3cret"]})), "no JSON of one"),
            (of(json!({"token": "s3cret", "expirationTimestamp": "s3cret"})), "no time"),
            (json!("s3cret"), "no JSON of one"),
        ] {
            let error = read(&value).unwrap_err();
            assert!(error.contains(part) && !error.contains("s3cret"), "{value}: {error}");
        }
        for bytes in [&b""[..], b"{", b"\xff", b"Enter the code: s3cret"] {
            let error = Credential::read(bytes, V1).unwrap_err();
            assert!(error.contains("no JSON of one") && !error.contains("s3cret"), "{error}");
        }
    }
}
