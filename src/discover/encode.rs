//! Text in a URL.

/// Percent-encodes all but what stands for itself everywhere (RFC 3986 §2.3).
pub(in crate::discover) fn encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let digit = |of: u8| char::from(DIGITS[usize::from(of)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_url_is_encoded() {
        assert_eq!(encode("tax-1.v2_~"), "tax-1.v2_~");
        assert_eq!(encode("a/b?c&d=e f+ü%"), "a%2Fb%3Fc%26d%3De%20f%2B%C3%BC%25");
    }
}
