use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    super::{tls_files::TlsFiles, watch::WatchConfig},
    query::{KubernetesQuery, NAME, SELECTOR, is_name, is_selector},
};
use crate::{
    auth::Secret,
    error::{Error, Kind},
};

/// Settings of a [`Kubernetes`](super::Kubernetes).
///
/// # Where the API server is
/// | settings | server, token and namespace |
/// |---|---|
/// | `address` | as the other settings say |
/// | `kubeconfig_path` | of that file |
/// | `in_cluster` is `true` | of the service account of this pod |
/// | none of them | of the service account of this pod; outside a cluster, of the files in `KUBECONFIG`, or of `~/.kube/config` |
///
/// The settings for the namespace, the token and TLS replace what is found there.
///
/// # Example
/// ```
/// use tower_upstream::discover::{Kubernetes, KubernetesConfig, KubernetesQuery};
///
/// let config = KubernetesConfig::default()
///     .with_address("https://10.0.0.1:6443")
///     .with_token_file("/run/secrets/kubernetes")
///     .with_namespace("shop")
///     .with_query(KubernetesQuery::default().with_port("grpc"));
/// let kubernetes = Kubernetes::new(config)?;
/// # let _ = kubernetes;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct KubernetesConfig {
    /// Address of the API server: a URL with the scheme `https` or `http`, or `host:port`, which is `https`.
    /// Default: none.
    pub address: Option<String>,
    /// Whether to take the server and the token of the pod that this runs in, and nothing else. If `false`,
    /// they are taken of a kubeconfig in any case. Default: none, which looks whether this is a pod.
    pub in_cluster: Option<bool>,
    /// Kubeconfig file, as `kubectl` has it. Default: none.
    pub kubeconfig_path: Option<PathBuf>,
    /// Context in the kubeconfig. Default: its `current-context`.
    pub context: Option<String>,
    /// Namespace of Services that are asked for without one. Default: that of the service account or of the
    /// context, else `default`.
    pub namespace: Option<String>,
    /// Token, sent as `Authorization: Bearer`. Default: none.
    pub token: Secret,
    /// File with the token. It is read again once a minute, and if the server refuses the token. Default: none.
    pub token_file: Option<PathBuf>,
    /// Programs that may be run if the kubeconfig has the credential of its user from one (`exec`), such as `aws`
    /// or `gke-gcloud-auth-plugin`: each as the kubeconfig writes it, or with its whole path if that is
    /// relative.
    ///
    /// The kubeconfig also says with which arguments and in which environment, so what it names here does
    /// what it wants as the user of this process. Default: none.
    pub allow_exec: Vec<String>,
    /// Whether the token may be sent where it can be read on the way: without TLS, to another host.
    /// Default: `false`.
    pub allow_plaintext: bool,
    /// Whether a kubeconfig with `insecure-skip-tls-verify`, or an `address`, may lead to a server whose
    /// certificate is not verified: any server on the way can read and change everything then.
    /// Default: `false`.
    pub allow_insecure_tls: bool,
    /// PEM file with the certificates of the authorities that are trusted, instead of those of the system.
    /// Default: none.
    pub tls_ca_file: Option<PathBuf>,
    /// PEM file with the certificate that this client shows. Needs `tls_key`. Default: none.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the private key of `tls_cert`. Default: none.
    pub tls_key: Option<PathBuf>,
    /// Longest time for the answer to a request, from 100 ms to 5 min; for a watch, for its head. Default: 10 s.
    #[serde(with = "crate::duration::serde")]
    pub request_timeout: Duration,
    /// Longest answer, and longest event of a watch, from 64 KiB. An endpoint takes about 400 bytes.
    /// Default: 16 MiB.
    pub max_response_bytes: usize,
    /// [Labels](KubernetesQuery::label_selector) for queries that name none. Default: none.
    pub label_selector: Option<String>,
    /// How to read Services that are asked for without a query of their own.
    pub query: KubernetesQuery,
    /// Which answers to doubt. What a watch tells takes effect at once, whatever is set here: only what has
    /// left while the watch was interrupted is doubted. Default: that of [`WatchConfig`], with an
    /// `empty_grace` of 0.
    pub watch: WatchConfig,
}

crate::written::names_keys!(KubernetesConfig);

const MIN_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_TIMEOUT: Duration = Duration::from_secs(300);
const MIN_RESPONSE: usize = 64 << 10;

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            address: None,
            in_cluster: None,
            kubeconfig_path: None,
            context: None,
            namespace: None,
            token: Secret::default(),
            token_file: None,
            allow_exec: Vec::new(),
            allow_plaintext: false,
            allow_insecure_tls: false,
            tls_ca_file: None,
            tls_cert: None,
            tls_key: None,
            request_timeout: Duration::from_secs(10),
            max_response_bytes: 16 << 20,
            label_selector: None,
            query: KubernetesQuery::default(),
            watch: WatchConfig::default().with_empty_grace(Duration::ZERO),
        }
    }
}

impl KubernetesConfig {
    setters! {
        with_address: address = some String;
        with_in_cluster: in_cluster = some bool;
        with_kubeconfig_path: kubeconfig_path = some PathBuf;
        with_context: context = some String;
        with_namespace: namespace = some String;
        with_token: token = impl Into<Secret>;
        with_token_file: token_file = some PathBuf;
        with_allow_plaintext: allow_plaintext = bool;
        with_allow_insecure_tls: allow_insecure_tls = bool;
        with_tls_ca_file: tls_ca_file = some PathBuf;
        with_tls_certificate: (tls_cert = some PathBuf, tls_key = some PathBuf);
        with_request_timeout: request_timeout = Duration;
        with_max_response_bytes: max_response_bytes = usize;
        with_label_selector: label_selector = some String;
        with_query: query = impl Into<KubernetesQuery>;
        with_watch: watch = impl Into<WatchConfig>;
    }

    /// Sets [`allow_exec`](Self::allow_exec).
    #[must_use]
    pub fn with_allow_exec(
        mut self,
        programs: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.allow_exec = programs.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn tls_files(&self) -> TlsFiles<'_> {
        TlsFiles { ca: &self.tls_ca_file, cert: &self.tls_cert, key: &self.tls_key }
    }

    /// Returns an error if it cannot be used, whatever files hold.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        if self.address.as_ref().is_some_and(String::is_empty) {
            mistakes.push("`address` is empty".to_owned());
        }
        if self.address.is_some() && (self.kubeconfig_path.is_some() || self.context.is_some()) {
            let text = "`address` stands beside a kubeconfig or a context, but only one may";
            mistakes.push(text.to_owned());
        }
        if self.in_cluster == Some(true)
            && (self.address.is_some() || self.kubeconfig_path.is_some() || self.context.is_some())
        {
            let text = "`in_cluster` is set beside an `address`, a kubeconfig or a context, but only \
                        one may be";
            mistakes.push(text.to_owned());
        }
        if let Some(namespace) = self.namespace.as_deref().filter(|of| !is_name(of)) {
            mistakes.push(format!("`namespace` is `{}`, {NAME}", namespace.escape_debug()));
        }
        if !self.token.is_empty() && self.token_file.is_some() {
            mistakes
                .push("`token` and `token_file` are both there, but only one may be".to_owned());
        }
        if http::HeaderValue::from_str(self.token.expose()).is_err() {
            mistakes.push("`token` has characters that no token has".to_owned());
        }
        mistakes.extend(self.tls_files().mistake());
        if self.label_selector.as_deref().is_some_and(|of| !is_selector(of)) {
            mistakes.push(SELECTOR.to_owned());
        }
        if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&self.request_timeout) {
            let timeout = self.request_timeout;
            mistakes.push(format!(
                "`request_timeout` is {timeout:?}, but must be from 100 ms to 5 min"
            ));
        }
        if self.max_response_bytes < MIN_RESPONSE {
            let bytes = self.max_response_bytes;
            mistakes.push(format!("`max_response_bytes` is {bytes}, but must be at least 65536"));
        }
        let parts = [self.query.validate(), self.watch.validate()];
        mistakes.extend(parts.into_iter().filter_map(|of| Some(of.err()?.what().to_owned())));
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("Kubernetes: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }
}
