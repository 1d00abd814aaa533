//! What is read of a kubeconfig. Each value of a user may be a secret.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    null::{filled, listed, or_empty},
    program::Exec,
};
use crate::auth::Secret;

/// Most values in one file.
const MAX_NODES: usize = 50_000;
/// Most values that come of aliases, which `kubectl` does not write.
const MAX_REPLAYED: usize = 1_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct KubeFile {
    #[serde(deserialize_with = "filled")]
    pub(super) current_context: Option<String>,
    #[serde(deserialize_with = "listed")]
    pub(super) contexts: Option<Vec<NamedContext>>,
    #[serde(deserialize_with = "listed")]
    pub(super) clusters: Option<Vec<NamedCluster>>,
    #[serde(deserialize_with = "listed")]
    pub(super) users: Option<Vec<NamedUser>>,
}

impl KubeFile {
    /// Reads the documents of a file, of which there may be several. What is wrong is told without any value, since each
    /// may be a secret.
    pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Self>, String> {
        let unit = match bytes {
            [0xff, 0xfe, ..] => u16::from_le_bytes,
            [0xfe, 0xff, ..] => u16::from_be_bytes,
            _ => return parse(std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8")?),
        };
        // As shells of Windows write it. With room for all, so that it is nowhere else in the memory.
        let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
        let pairs = bytes.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err("it is no UTF-16".to_owned());
        }
        for letter in char::decode_utf16(pairs.map(|pair| unit([pair[0], pair[1]]))) {
            text.push(letter.map_err(|_| "it is no UTF-16")?);
        }
        parse(&text)
    }
}

fn parse(text: &str) -> Result<Vec<KubeFile>, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 64, flow_nesting_limit: 64, max_nodes: MAX_NODES },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        match error.location() {
            Some(at) => format!("line {}, column {} is not as expected", at.line(), at.column()),
            None => "it is no YAML".to_owned(),
        }
    })
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct NamedContext {
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    pub(super) context: Option<Context>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Context {
    #[serde(deserialize_with = "or_empty")]
    pub(super) cluster: String,
    #[serde(deserialize_with = "filled")]
    pub(super) user: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub(super) namespace: Option<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct NamedCluster {
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    pub(super) cluster: Option<Cluster>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Cluster {
    #[serde(deserialize_with = "or_empty")]
    pub(super) server: String,
    #[serde(deserialize_with = "filled")]
    pub(super) certificate_authority: Option<PathBuf>,
    #[serde(deserialize_with = "filled")]
    pub(super) certificate_authority_data: Option<String>,
    pub(super) insecure_skip_tls_verify: Option<bool>,
    #[serde(deserialize_with = "filled")]
    pub(super) tls_server_name: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub(super) proxy_url: Option<String>,
    #[serde(deserialize_with = "listed")]
    pub(super) extensions: Option<Vec<Extension>>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct Extension {
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    pub(super) extension: Option<Value>,
}

#[derive(Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct NamedUser {
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    pub(super) user: Option<User>,
}

#[derive(Default, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct User {
    #[serde(deserialize_with = "filled")]
    pub(super) token: Option<Secret>,
    #[serde(rename = "tokenFile", deserialize_with = "filled")]
    pub(super) token_file: Option<PathBuf>,
    #[serde(deserialize_with = "filled")]
    pub(super) client_certificate: Option<PathBuf>,
    #[serde(deserialize_with = "filled")]
    pub(super) client_certificate_data: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub(super) client_key: Option<PathBuf>,
    #[serde(deserialize_with = "filled")]
    pub(super) client_key_data: Option<Secret>,
    #[serde(deserialize_with = "filled")]
    pub(super) username: Option<String>,
    #[serde(rename = "as", deserialize_with = "filled")]
    pub(super) acts_as: Option<String>,
    #[serde(deserialize_with = "filled")]
    pub(super) as_uid: Option<String>,
    #[serde(deserialize_with = "listed")]
    pub(super) as_groups: Option<Vec<String>>,
    pub(super) as_user_extra: Option<BTreeMap<String, Option<Vec<String>>>>,
    pub(super) exec: Option<Exec>,
    pub(super) auth_provider: Option<serde::de::IgnoredAny>,
}

impl fmt::Debug for NamedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedUser").field("name", &self.name).finish_non_exhaustive()
    }
}
