//! What a service says of itself in `/_farp/discovery`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::Deserialize;

use crate::{
    endpoint::{Address, Endpoint, EndpointCheck, Status},
    error::{Error, Kind},
};

/// `null` is the same as nothing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Document {
    service_id: Option<String>,
    service_name: Option<String>,
    service_version: Option<String>,
    address: Option<String>,
    port: Option<u16>,
    tags: Option<Vec<String>>,
    metadata: Option<BTreeMap<String, String>>,
    farp_enabled: Option<bool>,
}

pub(super) const MANIFEST: &str = "farp.manifest";

/// Longest name or id.
const MAX_NAME: usize = 255;

fn refused(what: impl Into<Box<str>>) -> Error {
    Error::failed(Kind::Transport).message(what)
}

impl Document {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Error> {
        let document: Self = serde_json::from_slice(json)
            .map_err(|error| refused("its discovery document cannot be read").caused_by(error))?;
        if document.name().is_empty() {
            return Err(refused("its discovery document has no `service_name`"));
        }
        Ok(document)
    }

    fn name(&self) -> &str {
        self.service_name.as_deref().unwrap_or_default()
    }

    /// The id, if it has one.
    pub(super) fn id(&self) -> Option<&str> {
        self.service_id.as_deref().filter(|id| !id.is_empty())
    }

    /// The URL of its manifest, if it tells one.
    pub(super) fn manifest(&self) -> Option<&str> {
        Some(self.metadata.as_ref()?.get(MANIFEST)?)
    }

    /// The endpoint that it describes to those that found it at `seed`.
    pub(crate) fn endpoint(&self, seed: &Address) -> Result<Endpoint, Error> {
        let place = self.place(seed)?;
        let endpoint = Endpoint::new(&place).map_err(|error| {
            refused("its discovery document has a bad address").caused_by(error)
        })?;
        let (name, authority) = (self.name(), endpoint.address().authority());
        let id = self.id().map_or_else(|| format!("{name}@{authority}"), str::to_owned);
        for text in [name, &id] {
            if text.len() > MAX_NAME || text.contains(char::is_control) {
                return Err(refused("its discovery document has a name or an id that is none"));
            }
        }
        let mut endpoint = endpoint.with_key(id).with_status(Status::Passing);
        let path = seed.path().trim_end_matches('/');
        let manifest = format!("{}{path}/_farp/manifest", origin(seed));
        for (key, value) in self.metadata.iter().flatten() {
            endpoint = endpoint.with_metadata(key, value);
        }
        // Last: no service says in passing that it is another one.
        let told = [
            ("name", Some(name.to_owned())),
            ("version", self.service_version.clone().filter(|version| !version.is_empty())),
            (MANIFEST, Some(manifest)),
            ("farp.enabled", self.farp_enabled.unwrap_or(false).then(|| "true".to_owned())),
        ];
        for (key, value) in told {
            endpoint = value.into_iter().fold(endpoint, |of, value| of.with_metadata(key, value));
        }
        let health = self.metadata.as_ref().and_then(|of| of.get("farp.health"));
        let check = health.and_then(|path| EndpointCheck::get(path).ok());
        endpoint = check.into_iter().fold(endpoint, Endpoint::with_check);
        Ok(self.tags.iter().flatten().fold(endpoint, Endpoint::with_tag))
    }

    /// Its address, with that of `seed` in place of one that leads only to itself.
    fn place(&self, seed: &Address) -> Result<String, Error> {
        // What is judged here is what is used below.
        let address = self.address.as_deref().unwrap_or_default().trim_matches(['[', ']']);
        // More than a host would end up in another part of the URL, with another host before it.
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:%".contains(&byte);
        if !address.bytes().all(is_host) {
            return Err(refused("its discovery document has a bad address"));
        }
        let known = Host::of(seed.host());
        let is_own = match Host::of(address) {
            Host::Nowhere => true,
            Host::Loopback => known != Host::Loopback,
            // The services of clouds that tell secrets are at such an address.
            Host::LinkLocal if known != Host::LinkLocal => {
                return Err(refused("its discovery document has a link-local address"));
            }
            Host::Number => return Err(refused("its discovery document has a bad address")),
            _ => false,
        };
        let port = self.port.filter(|port| *port > 0);
        if is_own && seed.socket_path().is_some() {
            return Ok(origin(seed));
        }
        let host = if is_own { seed.host() } else { address };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let scheme = seed.scheme().filter(|scheme| !scheme.contains('+')).unwrap_or("http");
        Ok(match port.or(seed.port()) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        })
    }
}

/// Scheme, host and port.
pub(super) fn origin(address: &Address) -> String {
    format!("{}://{}", address.scheme().unwrap_or("http"), address.authority())
}

/// Where a host is, as far as that matters.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Host {
    /// Not an address to connect to.
    Nowhere,
    Loopback,
    LinkLocal,
    /// What resolvers take for an address, such as `127.1`.
    Number,
    Elsewhere,
}

impl Host {
    fn of(host: &str) -> Self {
        if host.is_empty() {
            return Self::Nowhere;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let last = host.rsplit('.').next().unwrap_or(host);
        if last.eq_ignore_ascii_case("localhost") {
            return Self::Loopback;
        }
        // A zone says which link.
        let without_zone = host.split('%').next().unwrap_or(host);
        let is_number = last.starts_with(|of: char| of.is_ascii_digit()) && !host.contains(':');
        match without_zone.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(ip) if ip.is_unspecified() => Self::Nowhere,
            Ok(ip) if ip.is_loopback() => Self::Loopback,
            Ok(IpAddr::V4(ip)) if Ipv4Addr::is_link_local(&ip) => Self::LinkLocal,
            Ok(IpAddr::V6(ip)) if Ipv6Addr::is_unicast_link_local(&ip) => Self::LinkLocal,
            Err(_) if is_number => Self::Number,
            _ => Self::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(json: &str, seed: &str) -> Result<Endpoint, Error> {
        Document::parse(json.as_bytes())?.endpoint(&seed.parse().unwrap())
    }

    fn address(told: &str, port: u16, seed: &str) -> String {
        let json = format!(r#"{{"service_name":"tax","address":"{told}","port":{port}}}"#);
        endpoint(&json, seed).unwrap().address().as_str().to_owned()
    }

    #[test]
    fn an_address_that_leads_only_to_itself_is_that_of_the_seed() {
        let seed = "http://10.0.0.5:9000/base/";
        for told in [
            "",
            "0.0.0.0",
            "::",
            "[::]",
            "localhost",
            "127.0.0.1",
            "127.9.9.9",
            "127.0.0.1.",
            "tax.localhost.",
            "[::",
            "::1]",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(address(told, 0, seed), "http://10.0.0.5:9000", "{told}");
            assert_eq!(address(told, 80, seed), "http://10.0.0.5:80", "{told}");
        }
        assert_eq!(address("10.0.0.9", 80, seed), "http://10.0.0.9:80");
        assert_eq!(address("fd00::1", 80, seed), "http://[fd00::1]:80");
        assert_eq!(address("", 0, "https://tax.example"), "https://tax.example");
        assert_eq!(address("0.0.0.0", 80, "https://[fd00::2]:443"), "https://[fd00::2]:80");
        // The seed is on this host, and so may the service be.
        assert_eq!(address("127.0.0.1", 81, "http://localhost:80"), "http://127.0.0.1:81");
        assert_eq!(address("0.0.0.0", 81, "http://localhost:80"), "http://localhost:81");
        let socket = "http+unix://%2Frun%2Ftax.sock/x";
        assert_eq!(address("0.0.0.0", 81, socket), "http+unix://%2Frun%2Ftax.sock");
    }

    #[test]
    fn a_seed_cannot_lead_to_the_link_of_this_host() {
        for told in ["169.254.169.254", "fe80::1", "[fe80::1]", "::ffff:169.254.169.254"] {
            let json = format!(r#"{{"service_name":"tax","address":"{told}","port":80}}"#);
            let error = endpoint(&json, "http://10.0.0.5:9000").unwrap_err();
            assert!(error.to_string().contains("link-local"), "{told}: {error}");
        }
        for told in ["0.0.0.0/../", "127.0.0.1#", "a@127.0.0.1", "127.0.0.1?x"] {
            let json = format!(r#"{{"service_name":"tax","address":"{told}","port":80}}"#);
            let error = endpoint(&json, "http://10.0.0.5:9000").unwrap_err();
            assert!(error.to_string().contains("bad address"), "{told}: {error}");
        }
        assert_eq!(address("169.254.1.2", 80, "http://169.254.1.1:80"), "http://169.254.1.2:80");
    }

    #[test]
    fn the_document_of_the_go_side_is_read() {
        let go = r#"{"service_id":"orders-7","service_name":"orders","service_version":"2.3.0",
            "address":"0.0.0.0","port":8080,"tags":["v2"],"metadata":{"zone":"eu-1a","farp.health":"/up"},
            "farp_enabled":true,"backend":"memory"}"#;
        let orders = endpoint(go, "http://10.0.0.5:9000").unwrap();
        assert_eq!((orders.key(), orders.tags()), ("orders-7", &["v2".to_owned()][..]));
        assert_eq!(orders.status(), Status::Passing);
        assert_eq!(orders.check().map(EndpointCheck::path), Some("/up"));
        let metadata: Vec<_> = orders.metadata().iter().map(|(k, v)| (&**k, &**v)).collect();
        let expected = [
            ("farp.enabled", "true"),
            ("farp.health", "/up"),
            ("farp.manifest", "http://10.0.0.5:9000/_farp/manifest"),
            ("name", "orders"),
            ("version", "2.3.0"),
            ("zone", "eu-1a"),
        ];
        assert_eq!(metadata, expected);
        let least = endpoint(r#"{"service_name":"tax","tags":null}"#, "http://a:1/").unwrap();
        assert_eq!(least.key(), "tax@a:1");
    }

    #[test]
    fn metadata_does_not_say_that_it_is_another_service() {
        let json = r#"{"service_name":"orders","metadata":{"name":"tax","farp.enabled":"no"}}"#;
        assert_eq!(endpoint(json, "http://a:1").unwrap().metadata()["name"], "orders");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for (json, what) in [
            ("", "cannot be read"),
            ("[]", "cannot be read"),
            ("{}", "no `service_name`"),
            (r#"{"service_name":""}"#, "no `service_name`"),
            (r#"{"service_name":"a","port":70000}"#, "cannot be read"),
            (r#"{"service_name":"a","address":"b c"}"#, "a bad address"),
            (r#"{"service_name":"a","address":"b@c"}"#, "a bad address"),
            (r#"{"service_name":"a","address":"127.1"}"#, "a bad address"),
            (r#"{"service_name":"a","address":"2852039166"}"#, "a bad address"),
            (r#"{"service_name":"a","address":"0xa9.0xfe.0xa9.0xfe"}"#, "a bad address"),
            (r#"{"service_name":"a","address":"b:1/x"}"#, "a bad address"),
            (r#"{"service_name":"a\n"}"#, "a name or an id that is none"),
        ] {
            let error = endpoint(json, "http://a:1").unwrap_err().to_string();
            assert!(error.contains(what), "{json}: {error}");
        }
    }
}
