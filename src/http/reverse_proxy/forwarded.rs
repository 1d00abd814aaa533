//! What endpoints are told of the client: `X-Forwarded-For` and its kind, and `Forwarded`.

use std::{fmt::Write, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};

use crate::http::client_ip::{X_FORWARDED_FOR, value_in};

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Most entries of earlier proxies that are sent on.
pub(super) const MAX_PROXIES: usize = 32;

/// A request as this proxy received it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) from: Option<IpAddr>,
    pub(super) host: Option<&'a str>,
    pub(super) proto: &'a str,
}

/// What a trusted proxy before this one wrote, from the client on.
#[derive(Debug, Clone, Default)]
pub(super) struct Earlier {
    /// Each entry as it is, and the address in it. The first is of the client.
    pub(super) entries: Vec<(String, Option<IpAddr>)>,
    /// The entries are elements of `Forwarded`.
    pub(super) are_elements: bool,
}

/// Writes both kinds of fields, with the same addresses in both: those of `earlier` proxies if the last
/// one is trusted, and that of the peer. What anyone else wrote into them is removed.
pub(super) fn write(headers: &mut HeaderMap, received: Received<'_>, earlier: Option<&Earlier>) {
    let first = Client::of(headers, earlier);
    if earlier.is_none_or(|earlier| earlier.are_elements) {
        remove_x_forwarded(headers);
    }
    let none = Earlier::default();
    let earlier = earlier.unwrap_or(&none);
    let host = first.host.as_deref().or(received.host);
    let proto = first.proto.as_deref().unwrap_or(received.proto);
    set(headers, X_FORWARDED_FOR, list(earlier, received.from));
    set(headers, X_FORWARDED_HOST, host.map(str::to_owned));
    set(headers, X_FORWARDED_PROTO, Some(proto.to_owned()));
    set(headers, FORWARDED, Some(elements(earlier, &first, received)));
}

/// The host and the protocol that the client used, as the first trusted proxy has it.
#[derive(Debug, Default)]
struct Client {
    host: Option<String>,
    proto: Option<String>,
}

impl Client {
    fn of(headers: &HeaderMap, earlier: Option<&Earlier>) -> Self {
        let Some(earlier) = earlier else {
            return Self::default();
        };
        if earlier.are_elements {
            let said = |name| {
                let (element, _) = earlier.entries.first()?;
                value_in(element, name).map(str::to_owned)
            };
            return Self { host: said("host"), proto: said("proto") };
        }
        let said = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self { host: said(X_FORWARDED_HOST), proto: said(X_FORWARDED_PROTO) }
    }
}

/// Also fields that this proxy does not write, such as `X-Forwarded-Port`: endpoints may believe them.
fn remove_x_forwarded(headers: &mut HeaderMap) {
    let is_told =
        |name: &&HeaderName| name.as_str().starts_with("x-forwarded-") || **name == X_REAL_IP;
    let told: Vec<_> = headers.keys().filter(is_told).cloned().collect();
    for name in told {
        headers.remove(name);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<String>) {
    match value.and_then(|value| HeaderValue::try_from(value).ok()) {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

/// A plain list of addresses, or `None` if there are none.
fn list(earlier: &Earlier, peer: Option<IpAddr>) -> Option<String> {
    let mut list = Vec::with_capacity(earlier.entries.len() + 1);
    list.extend(earlier.entries.iter().map(|(entry, address)| match address {
        Some(address) if earlier.are_elements => address.to_string(),
        None if earlier.are_elements => "unknown".to_owned(),
        _ => entry.clone(),
    }));
    list.extend(peer.map(|peer| peer.to_string()));
    (!list.is_empty()).then(|| list.join(", "))
}

/// The elements of `Forwarded`. What is known of the client's own request stands in the first.
fn elements(earlier: &Earlier, client: &Client, received: Received<'_>) -> String {
    let mut all = String::new();
    for (index, (entry, address)) in earlier.entries.iter().enumerate() {
        if earlier.are_elements {
            all.push_str(entry);
        } else {
            let (host, proto) = match index {
                0 => (client.host.as_deref(), client.proto.as_deref()),
                _ => (None, None),
            };
            push_element(&mut all, *address, host, proto);
        }
        all.push_str(", ");
    }
    push_element(&mut all, received.from, received.host, Some(received.proto));
    all
}

fn push_element(
    all: &mut String,
    address: Option<IpAddr>,
    host: Option<&str>,
    proto: Option<&str>,
) {
    // Writing to a `String` cannot fail.
    let _ = match address {
        Some(IpAddr::V4(v4)) => write!(all, "for={v4}"),
        Some(IpAddr::V6(v6)) => write!(all, "for=\"[{v6}]\""),
        None => write!(all, "for=unknown"),
    };
    for (name, value) in [("host", host), ("proto", proto)] {
        if let Some(value) = value {
            let _ = write!(all, ";{name}=");
            push_value(all, value);
        }
    }
}

/// A token, or a quoted string.
fn push_value(all: &mut String, value: &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !value.is_empty() && value.chars().all(is_token) {
        return all.push_str(value);
    }
    all.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            all.push('\\');
        }
        all.push(c);
    }
    all.push('"');
}
