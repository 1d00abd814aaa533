//! The grammar of an address: RFC 3986 without users, queries and fragments, and the zones of RFC 6874.

use std::net::Ipv6Addr;

use super::unix::{over_socket, socket_of};

/// Longest address that is accepted, in bytes.
const MAX_ADDRESS: usize = 2_048;

/// Schemes that lead to a file of this host: a socket, or a program.
const HOSTLESS: [&str; 2] = ["unix:", "exec:"];

#[derive(Clone, Copy)]
pub(super) struct Parts {
    /// Where the authority starts (0 without a scheme) and ends.
    pub(super) authority: (usize, usize),
    pub(super) port: Option<u16>,
}

/// Finds the parts of an address, or tells what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Parts, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > MAX_ADDRESS {
        return Err("it is longer than 2048 bytes");
    }
    if let Some(path) = HOSTLESS.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.contains('\0') {
            return Err("the path of a socket or a program must be absolute");
        }
        let start = text.len() - path.len();
        return Ok(Parts { authority: (start, start), port: None });
    }
    let start = match text.split_once("://") {
        Some((scheme, _)) if is_scheme(scheme) => scheme.len() + 3,
        Some(_) => return Err("its scheme is not a word of letters, digits, `+`, `-` and `.`"),
        None => 0,
    };
    let is_unix = text[..start].strip_suffix("://").and_then(over_socket).is_some();
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |length| start + length);
    let port = match is_unix {
        true => socket_of(&text[start..end]).map(|_| None)?,
        false => parse_authority(&text[start..end])?,
    };
    if start == 0 && port.is_none() {
        return Err("it has neither a scheme nor a port");
    }
    check_path(&text[end..])?;
    Ok(Parts { authority: (start, end), port })
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn parse_authority(authority: &str) -> Result<Option<u16>, &'static str> {
    if authority.contains('@') {
        return Err("it holds a user name; credentials do not belong in an address");
    }
    let port = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("a `]` is missing")?;
        let (host, zone) = host.split_once("%25").map_or((host, None), |(h, z)| (h, Some(z)));
        host.parse::<Ipv6Addr>().map_err(|_| "between `[` and `]` stands no IPv6 address")?;
        if !zone.is_none_or(is_zone) {
            return Err("after `%25` stands no zone of letters, digits, `-`, `.`, `_` and `~`");
        }
        match port {
            "" => None,
            port => Some(port.strip_prefix(':').ok_or("after `]` only a port may follow")?),
        }
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        if host.is_empty() {
            return Err("it has no host");
        }
        if host.len() > 253
            || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        {
            return Err("its host is no name of letters, digits, `-`, `.` and `_`");
        }
        port
    };
    match port {
        None => Ok(None),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => match port.parse() {
            Ok(0) => Err("port 0 cannot be reached"),
            Ok(port) => Ok(Some(port)),
            Err(_) => Err("its port is not a number from 1 to 65535"),
        },
        Some(_) => Err("its port is not a number from 1 to 65535"),
    }
}

/// What RFC 6874 §2 allows without an escape, which no name of an interface needs.
fn is_zone(zone: &str) -> bool {
    !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

fn check_path(path: &str) -> Result<(), &'static str> {
    let bytes = path.as_bytes();
    for (index, &byte) in bytes.iter().enumerate() {
        let escaped = || {
            bytes.get(index + 1..index + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        };
        match byte {
            b'?' | b'#' => return Err("it has a query or a fragment"),
            b'%' if !escaped() => return Err("a `%` must be followed by two hexadecimal digits"),
            b'%' => {}
            _ if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) => {}
            _ => return Err("its path holds a character that must be percent-encoded"),
        }
    }
    Ok(())
}
