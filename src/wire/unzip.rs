//! Bodies that came compressed.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header::CONTENT_ENCODING};

use super::start;

/// A body, decompressed if its headers say that it is compressed, to at most `limit` bytes. `Err`: why it cannot be.
pub(crate) fn unzip(body: &Bytes, headers: &HeaderMap, limit: usize) -> Result<Bytes, String> {
    let encoding = headers.get(CONTENT_ENCODING).map_or(&b""[..], |value| value.as_bytes());
    if encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity") {
        return Ok(body.clone());
    }
    if !encoding.eq_ignore_ascii_case(b"gzip") && !encoding.eq_ignore_ascii_case(b"x-gzip") {
        let encoding = String::from_utf8_lossy(encoding);
        return Err(format!("its encoding is `{}`, not gzip", start(&encoding, 64)));
    }
    let mut unzipped = Vec::new();
    MultiGzDecoder::new(&body[..])
        .take((limit as u64).saturating_add(1))
        .read_to_end(&mut unzipped)
        .map_err(|error| error.to_string())?;
    if unzipped.len() > limit {
        return Err(format!(
            "its body has more than {limit} bytes after decompression (`max_response_bytes`)"
        ));
    }
    Ok(unzipped.into())
}
