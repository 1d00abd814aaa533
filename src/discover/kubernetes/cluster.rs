//! The cluster that this runs in, as its pods are told of it.

use std::{fs, path::Path};

use super::{super::host::authority, found::Found, mistake::mistake, token::TokenSource};
use crate::error::Error;

/// Where the account of a pod is.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Whether this runs in a pod that may ask.
pub(super) fn is_here(variable: Variable<'_>) -> bool {
    variable("KUBERNETES_SERVICE_HOST").is_some() && Path::new(ACCOUNT).join("token").exists()
}

pub(super) fn find(variable: Variable<'_>) -> Result<Found, Error> {
    find_at(Path::new(ACCOUNT), variable)
}

fn find_at(account: &Path, variable: Variable<'_>) -> Result<Found, Error> {
    let Some(host) = variable("KUBERNETES_SERVICE_HOST") else {
        return Err(mistake(
            "this is no pod: `KUBERNETES_SERVICE_HOST` is not set; set `in_cluster` to false, and \
             `kubeconfig_path` or `address`"
                .to_owned(),
        ));
    };
    // In this order, as for the clients of Kubernetes itself: what leads past the network of the cluster sets the host
    // and the first of them alone.
    let port = variable("KUBERNETES_SERVICE_PORT").or(variable("KUBERNETES_SERVICE_PORT_HTTPS"));
    let port = port.unwrap_or_else(|| "443".to_owned());
    let port = port
        .parse()
        .map_err(|_| mistake("`KUBERNETES_SERVICE_PORT` is no number of a port".to_owned()))?;
    let namespace = fs::read_to_string(account.join("namespace")).ok();
    let namespace = namespace.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Ok(Found {
        address: format!("https://{}", authority(&host, port)),
        namespace,
        token: TokenSource::File(account.join("token"), None),
        ca_file: Some(account.join("ca.crt")),
        ..Found::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> Result<Found, Error> {
        let account = std::env::temp_dir().join(format!("account-{}", std::process::id()));
        fs::create_dir_all(&account).unwrap();
        fs::write(account.join("namespace"), "shop\n").unwrap();
        find_at(&account, &|name| {
            let found = variables.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_pod_finds_its_cluster_over_ipv4_ipv6_and_by_name() {
        for (host, port, expected) in [
            ("10.96.0.1", "443", "https://10.96.0.1:443"),
            ("fd00:10:96::1", "443", "https://[fd00:10:96::1]:443"),
            ("kubernetes.default.svc", "6443", "https://kubernetes.default.svc:6443"),
        ] {
            let variables = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)];
            let found = find(&variables).unwrap();
            assert_eq!((&*found.address, found.namespace.as_deref()), (expected, Some("shop")));
            assert!(expected.parse::<crate::endpoint::Address>().is_ok());
            assert!(
                matches!(found.token, TokenSource::File(path, None) if path.ends_with("token"))
            );
            assert!(found.ca_file.unwrap().ends_with("ca.crt"));
        }
    }

    #[test]
    fn a_server_elsewhere_is_told_by_the_host_and_the_port() {
        let host = ("KUBERNETES_SERVICE_HOST", "10.0.0.7");
        let https = ("KUBERNETES_SERVICE_PORT_HTTPS", "443");
        for (variables, expected) in [
            (&[host, ("KUBERNETES_SERVICE_PORT", "6443"), https][..], "https://10.0.0.7:6443"),
            (&[host, ("KUBERNETES_SERVICE_PORT_HTTPS", "8443")], "https://10.0.0.7:8443"),
            (&[host], "https://10.0.0.7:443"),
        ] {
            assert_eq!(find(variables).unwrap().address, expected);
        }
    }

    #[test]
    fn what_is_no_pod_is_told_what_to_do() {
        let error = find(&[]).unwrap_err().to_string();
        assert!(error.contains("kubeconfig_path") && error.contains("address"), "{error}");
        let wrong = [("KUBERNETES_SERVICE_HOST", "a"), ("KUBERNETES_SERVICE_PORT", "x")];
        assert!(find(&wrong).is_err());
    }
}
