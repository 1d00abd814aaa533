//! The fields in which proxies write the address that they were called from.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header::FORWARDED};

/// The entries of `Forwarded`, or of another field that is a plain list, from the one that was written
/// last.
pub(super) fn entries_from_the_end<'a>(
    headers: &'a HeaderMap,
    field: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let rfc_7239 = field == FORWARDED;
    // The lines are one list, and its end is what the last proxy wrote.
    let lines = headers.get_all(field).into_iter().rev();
    lines.flat_map(move |line| FromTheEnd { rest: Some(line.as_bytes()), rfc_7239 })
}

/// The address in an entry of `field`, if it is one.
pub(super) fn address_in(entry: &[u8], field: &HeaderName) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?;
    address(if field == FORWARDED { value_in(entry, "for")? } else { entry.trim() })
}

/// The entries of a list from its end, which the last proxy wrote, to its beginning, which a client may
/// have written: so that what is there cannot change how the end is read.
struct FromTheEnd<'a> {
    rest: Option<&'a [u8]>,
    /// Whether there may be commas in quotes.
    rfc_7239: bool,
}

impl<'a> Iterator for FromTheEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut quoted = false;
        for (index, byte) in rest.iter().enumerate().rev() {
            match byte {
                b'"' if self.rfc_7239 => quoted = !quoted,
                b',' if !quoted => {
                    self.rest = Some(&rest[..index]);
                    return Some(&rest[index + 1..]);
                }
                _ => {}
            }
        }
        self.rest = None;
        Some(rest)
    }
}

/// The value of a parameter in an element of `Forwarded`, without its quotes, if it is there once. An
/// address, a host and a protocol need no semicolon and no escape in it.
pub(in crate::http) fn value_in<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut values = element.split(';').filter_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address, with or without a port: `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(v6) => {
            let (v6, port) = v6.split_once(']')?;
            let ends = port.is_empty() || port.starts_with(':');
            IpAddr::V6(v6.parse().ok().filter(|_| ends)?)
        }
        None => match text.parse() {
            Ok(address) => address,
            Err(_) => IpAddr::V4(text.split_once(':')?.0.parse().ok()?),
        },
    };
    Some(address.to_canonical())
}
