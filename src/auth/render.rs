//! Names and values of fields that hold secrets.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use zeroize::Zeroizing;

use super::secret::Secret;
use crate::error::Quoted;

/// A value of these parts, in memory that is overwritten when the last clone drops. `None` if it cannot be
/// sent, as with a line end.
pub(super) fn value(parts: &[&[u8]]) -> Option<HeaderValue> {
    // With all its room from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        bytes.extend_from_slice(part);
    }
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(bytes)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Basic` with a user name and a password (RFC 7617).
pub(super) fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(Vec::with_capacity(username.len() + 1 + password.len()));
    for part in [username.as_bytes(), b":", password.as_bytes()] {
        pair.extend_from_slice(part);
    }
    let mut encoded = Zeroizing::new(vec![0; pair.len().div_ceil(3) * 4]);
    let length = STANDARD.encode_slice(&*pair, &mut encoded).ok()?;
    value(&[b"Basic ", &encoded[..length]])
}

/// What a caller says after `Basic`, decoded.
pub(super) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(text).ok().map(Zeroizing::new)
}

/// Headers with names that can be sent, and what is wrong with the others.
pub(super) fn named<N, V>(
    headers: impl IntoIterator<Item = (N, V)>,
) -> (Vec<(HeaderName, Secret)>, Vec<String>)
where
    N: AsRef<str>,
    V: Into<Secret>,
{
    const OF_TRANSPORT: [HeaderName; 8] =
        [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, TE, CONNECTION, UPGRADE, EXPECT];
    let (mut named, mut mistakes) = (Vec::new(), Vec::new());
    for (name, value) in headers {
        let shown = || Quoted(name.as_ref());
        match name.as_ref().parse::<HeaderName>() {
            Err(_) => mistakes.push(format!("`{}` is no name of a header", shown())),
            Ok(name) if OF_TRANSPORT.contains(&name) => {
                mistakes.push(format!("`{}` says how a request is sent", shown()));
            }
            Ok(name) => named.push((name, value.into())),
        }
    }
    (named, mistakes)
}
