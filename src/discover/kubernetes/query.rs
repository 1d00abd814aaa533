use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::encode::encode;
use crate::error::{Error, Kind};

/// Which address to use of a pod that has IPv4 and IPv6 addresses.
///
/// ```
/// use tower_upstream::discover::{KubernetesFamily, KubernetesQuery};
/// let query = KubernetesQuery::default().with_family(KubernetesFamily::PreferIpv6);
/// assert_ne!(query.family, KubernetesFamily::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KubernetesFamily {
    /// The IPv4 address, or the IPv6 address of a pod without one. The default.
    #[default]
    PreferIpv4,
    /// The IPv6 address, or the IPv4 address of a pod without one.
    PreferIpv6,
    /// The IPv4 address. A pod without one is left out.
    OnlyIpv4,
    /// The IPv6 address. A pod without one is left out.
    OnlyIpv6,
}

/// How to read a Service from Kubernetes.
///
/// # Example
/// ```
/// use tower_upstream::discover::KubernetesQuery;
///
/// let query = KubernetesQuery::default().with_namespace("shop").with_port("grpc");
/// assert!(query.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(doc), serde(remote = "Self"))]
#[non_exhaustive]
pub struct KubernetesQuery {
    /// Namespace, instead of [that of the config](super::KubernetesConfig::namespace).
    pub namespace: Option<String>,
    /// Port to call: the name that it has in the Service, or the number at which the pods listen, which is the
    /// Service's `targetPort`. A headless Service that lists no ports needs the number. Default: the only port, else that with the name `http`, else the first.
    pub port: Option<String>,
    /// Scheme of endpoints whose port has no `appProtocol` that tells it, such as `https`. Default: none, which is
    /// HTTP.
    pub scheme: Option<String>,
    /// Which address to use of a pod that has both kinds. Default: IPv4.
    pub family: KubernetesFamily,
    /// Whether endpoints that are not ready are left out, as in Kubernetes.
    ///
    /// If not, they stay in the set with [`Status::Critical`](crate::endpoint::Status::Critical), so that they
    /// get calls while the balancer [panics](crate::balance), also those that have never been ready.
    /// Default: `true`.
    pub only_passing: bool,
    /// Labels that the EndpointSlices must have beside the name of the Service, in the language of label
    /// selectors, such as `team=tax`, instead of [those of the config](super::KubernetesConfig::label_selector).
    /// Kubernetes copies the labels of a Service to its slices. Default: none.
    pub label_selector: Option<String>,
    /// Beginning of the labels of a slice that become metadata of its endpoints, such as `example.com/`.
    /// Default: none, which is no label.
    pub label_prefix: Option<String>,
    /// Longest time for which the server leaves a watch open, from 10 s to an hour; up to a quarter is added
    /// at random. Default: 4 min.
    #[serde(with = "crate::duration::serde")]
    pub wait: Duration,
}

crate::written::names_keys!(KubernetesQuery);

const MIN_WAIT: Duration = Duration::from_secs(10);
const MAX_WAIT: Duration = Duration::from_secs(3_600);
/// Slices of one answer, of which each has up to 1,000 endpoints, by default 100.
const PAGE: u32 = 500;
/// Where the name of its Service is in a slice.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";

impl Default for KubernetesQuery {
    fn default() -> Self {
        Self {
            namespace: None,
            port: None,
            scheme: None,
            family: KubernetesFamily::PreferIpv4,
            only_passing: true,
            label_selector: None,
            label_prefix: None,
            wait: Duration::from_secs(240),
        }
    }
}

impl KubernetesQuery {
    setters! {
        with_namespace: namespace = some String;
        with_port: port = some String;
        with_scheme: scheme = some String;
        with_family: family = KubernetesFamily;
        with_only_passing: only_passing = bool;
        with_label_selector: label_selector = some String;
        with_label_prefix: label_prefix = some String;
        with_wait: wait = Duration;
    }

    /// Returns an error if it cannot be used.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] that names all mistakes at once.
    pub fn validate(&self) -> Result<(), Error> {
        let mut mistakes = Vec::new();
        if let Some(namespace) = self.namespace.as_deref().filter(|of| !is_name(of)) {
            mistakes.push(format!("`namespace` is `{}`, {NAME}", namespace.escape_debug()));
        }
        let is_port = |port: &str| match port.parse::<u32>() {
            Ok(number) => (1..=65_535).contains(&number),
            Err(_) => is_name(port),
        };
        if let Some(port) = self.port.as_deref().filter(|port| !is_port(port)) {
            mistakes.push(format!(
                "`port` is `{}`, but must be the name of a port, or a number from 1 to 65535",
                port.escape_debug()
            ));
        }
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|of: char| of.is_ascii_alphabetic())
                && scheme.bytes().all(|of| of.is_ascii_alphanumeric() || b"+-.".contains(&of))
        };
        if let Some(scheme) = self.scheme.as_deref().filter(|scheme| !is_scheme(scheme)) {
            mistakes.push(format!("`scheme` is `{}`, but must be a scheme", scheme.escape_debug()));
        }
        if self.label_selector.as_deref().is_some_and(|of| !is_selector(of)) {
            mistakes.push(SELECTOR.to_owned());
        }
        if self.label_prefix.as_ref().is_some_and(String::is_empty) {
            mistakes.push("`label_prefix` is empty".to_owned());
        }
        if !(MIN_WAIT..=MAX_WAIT).contains(&self.wait) {
            mistakes.push(format!("`wait` is {:?}, but must be from 10 s to an hour", self.wait));
        }
        if mistakes.is_empty() {
            return Ok(());
        }
        let text = format!("query of Kubernetes: {}", mistakes.join("; "));
        Err(Error::not_sent(Kind::InvalidConfig).message(text))
    }
}

pub(super) const SELECTOR: &str = "`label_selector` must have 1 to 1024 bytes";

pub(super) fn is_selector(text: &str) -> bool {
    (1..=1_024).contains(&text.len())
}

pub(super) const NAME: &str =
    "but must be a name of 1 to 253 lower-case letters, digits, `-` and `.`";

/// Whether Kubernetes takes it for the name of a Service or a namespace; or for that of a port, which is shorter.
pub(super) fn is_name(text: &str) -> bool {
    let is_inner = |of: u8| of.is_ascii_lowercase() || of.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.bytes().all(|of| is_inner(of) || b"-.".contains(&of))
        && text.bytes().next().is_some_and(is_inner)
        && text.bytes().last().is_some_and(is_inner)
}

/// Where the slices of a Service are: of all Services of the namespace, if none is named.
#[derive(Debug, Clone)]
pub(super) struct Target {
    base: String,
}

impl Target {
    pub(super) fn new(namespace: &str, service: Option<&str>, selector: Option<&str>) -> Self {
        let mut base = format!(
            "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?labelSelector=",
            encode(namespace)
        );
        // Those without it belong to no Service.
        let of_service = match service {
            Some(service) => format!("{SERVICE}={service}"),
            None => SERVICE.to_owned(),
        };
        base.push_str(&encode(&of_service));
        if let Some(selector) = selector {
            base.push_str(&encode(&format!(",{selector}")));
        }
        Self { base }
    }

    /// A page: the first one, or that of a token. Without a limit it is all, unless the server says otherwise.
    pub(super) fn page(&self, is_limited: bool, next: Option<&str>) -> String {
        let limit = if is_limited { format!("&limit={PAGE}") } else { String::new() };
        let next = next.map(|next| format!("&continue={}", encode(next)));
        format!("{}{limit}{}", self.base, next.unwrap_or_default())
    }

    pub(super) fn watch(&self, version: &str, wait: Duration) -> String {
        format!(
            "{}&watch=true&resourceVersion={}&allowWatchBookmarks=true&timeoutSeconds={}",
            self.base,
            encode(version),
            wait.as_secs()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_what_kubernetes_documents() {
        let target = Target::new("shop", Some("tax"), Some("team=a,!old"));
        let base = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=\
                    kubernetes.io%2Fservice-name%3Dtax%2Cteam%3Da%2C%21old";
        assert_eq!(target.page(true, None), format!("{base}&limit=500"));
        let next = format!("{base}&limit=500&continue=a%2B%2F%3D");
        assert_eq!(target.page(true, Some("a+/=")), next);
        assert_eq!(target.page(false, Some("a")), format!("{base}&continue=a"));
        // Whatever a version is, it is one.
        assert!(target.watch("a b&c", Duration::ZERO).contains("&resourceVersion=a%20b%26c&"));
        let watch = format!(
            "{base}&watch=true&resourceVersion=7&allowWatchBookmarks=true&timeoutSeconds=240"
        );
        assert_eq!(target.watch("7", Duration::from_secs(240)), watch);
        let all = Target::new("shop", None, None).page(false, None);
        assert!(all.ends_with("?labelSelector=kubernetes.io%2Fservice-name"), "{all}");
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        assert!(KubernetesQuery::default().validate().is_ok());
        let wrong = KubernetesQuery::default()
            .with_namespace("a/b")
            .with_port("70000")
            .with_scheme("://")
            .with_label_selector("")
            .with_label_prefix("")
            .with_wait(Duration::from_secs(1));
        let text = wrong.validate().unwrap_err().to_string();
        for key in ["namespace", "port", "scheme", "label_selector", "label_prefix", "wait"] {
            assert!(text.contains(&format!("`{key}`")), "{key}: {text}");
        }
        for (name, expected) in [
            ("tax", true),
            ("tax-1.v2", true),
            ("", false),
            ("Tax", false),
            ("-a", false),
            ("a/", false),
        ] {
            assert_eq!(is_name(name), expected, "{name}");
        }
    }
}
