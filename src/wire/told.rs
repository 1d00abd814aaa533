//! The status that an answer tells, whatever else is wrong with it.

use base64::Engine;
use http::{HeaderMap, HeaderName};
use tonic::{Code, Status, metadata::MetadataMap};

use super::headers::{BASE64, GRPC_MESSAGE, GRPC_STATUS};

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Where an answer has its status: in its trailers, or in the head if that is all of it.
pub(crate) fn ending<'a>(
    head: &'a HeaderMap,
    body: &[u8],
    trailers: Option<&'a HeaderMap>,
) -> Option<&'a HeaderMap> {
    trailers.or_else(|| body.is_empty().then_some(head))
}

/// The status in a head or in trailers.
///
/// A message or details that cannot be read make it no other status: tonic panics on details that are no base64, and
/// makes `UNKNOWN` of a status whose message is no UTF-8.
pub(crate) fn told(headers: &HeaderMap) -> Option<Status> {
    let code = Code::from_bytes(headers.get(GRPC_STATUS)?.as_bytes());
    let message = headers.get(GRPC_MESSAGE).map(|message| {
        let text = String::from_utf8(unescaped(message.as_bytes()));
        text.unwrap_or_else(|of| String::from_utf8_lossy(of.as_bytes()).into())
    });
    let details = headers.get(DETAILS).and_then(|details| BASE64.decode(details).ok());
    let mut metadata = headers.clone();
    for name in [GRPC_STATUS, GRPC_MESSAGE, DETAILS] {
        metadata.remove(name);
    }
    Some(Status::with_details_and_metadata(
        code,
        message.unwrap_or_default(),
        details.unwrap_or_default().into(),
        MetadataMap::from_headers(metadata),
    ))
}

/// Takes out of a head or trailers what tonic must not read.
#[cfg(feature = "etcd")]
pub(crate) fn mend(headers: &mut HeaderMap) {
    if headers.get(DETAILS).is_some_and(|details| BASE64.decode(details).is_err()) {
        headers.remove(DETAILS);
    }
    let is_text = |bytes: &[u8]| String::from_utf8(unescaped(bytes)).is_ok();
    if headers.get(GRPC_MESSAGE).is_some_and(|message| !is_text(message.as_bytes())) {
        headers.remove(GRPC_MESSAGE);
    }
}

/// A message without its escapes. What is escaped wrongly stays as it is.
fn unescaped(message: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*message.get(at)?).to_digit(16);
    let (mut bytes, mut at) = (Vec::with_capacity(message.len()), 0);
    while let Some(&byte) = message.get(at) {
        let escaped = match (digit(at + 1), digit(at + 2)) {
            (Some(high), Some(low)) if byte == b'%' => u8::try_from(high << 4 | low).ok(),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&'static str, &[u8])]) -> Status {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, http::HeaderValue::from_bytes(value).unwrap());
        }
        told(&headers).unwrap()
    }

    #[test]
    fn a_message_has_any_text() {
        for (written, read_as) in [
            (&b"plain, 50%"[..], "plain, 50%"),
            // Of the tests that implementations of gRPC have in common.
            (
                b"%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A",
                "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n",
            ),
            (b"%zz%4%%41%2541", "%zz%4%A%41"),
            ("☺".as_bytes(), "☺"),
            (b"caf%E9 caf\xe9", "caf\u{fffd} caf\u{fffd}"),
            (b"", ""),
        ] {
            let status = read(&[("grpc-status", b"5"), ("grpc-message", written)]);
            assert_eq!((status.code(), status.message()), (Code::NotFound, read_as));
        }
    }

    #[test]
    fn details_and_metadata_that_cannot_be_read_are_left_out() {
        let details = |value: &'static [u8]| {
            let fields = [("grpc-status", &b"14"[..]), ("grpc-status-details-bin", value)];
            let status = read(&[fields[0], fields[1], ("x-why", b"a"), ("y-bin", b"!!")]);
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(status.metadata().len(), 2);
            status.details().to_vec()
        };
        assert_eq!(details(b"YWI="), b"ab");
        assert_eq!(details(b"YWI"), b"ab");
        for wrong in [&b"!!!"[..], b"YWI=YWI=", b"a", b"YWI, YWI", b"\xff"] {
            assert!(details(wrong).is_empty(), "{wrong:?}");
        }
        assert!(told(&HeaderMap::new()).is_none());
    }
}
