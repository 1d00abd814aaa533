//! Fields that are lists of words.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// What the clock of the other end, and the way there, may take of the time for which it keeps a connection.
const MARGIN: Duration = Duration::from_secs(1);

/// Whether a list holds this token, which is written in lower case.
pub(crate) fn has_token(headers: &HeaderMap, list: &HeaderName, token: &str) -> bool {
    tokens(headers, list).any(|found| found.eq_ignore_ascii_case(token))
}

/// The tokens of a list, however many lines it has, without those that are empty (RFC 9110 §5.6.1.2).
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    list: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(list).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// How long a connection of HTTP/1 may be idle before the other end closes it, if it says that, as servers of Node,
/// Apache and nginx do: with a margin, since what is sent as it closes is lost.
pub(crate) fn kept_for(headers: &HeaderMap) -> Option<Duration> {
    let seconds = tokens(headers, &HeaderName::from_static("keep-alive")).find_map(|told| {
        let (name, value) = told.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("timeout");
        value.trim().parse().ok().filter(|_| is_it)
    });
    let told = Duration::from_secs(seconds?);
    Some(told.saturating_sub(MARGIN).max(told / 2))
}

#[cfg(test)]
mod tests {
    use http::header::TRANSFER_ENCODING;

    use super::*;

    #[test]
    fn empty_elements_of_a_list_are_no_tokens() {
        for (lines, wanted) in [
            (&[", chunked"][..], &["chunked"][..]),
            (&["chunked, ,", ""], &["chunked"]),
            (&[" gzip ,,\tchunked"], &["gzip", "chunked"]),
            (&["", "gzip", ",chunked"], &["gzip", "chunked"]),
            (&["", " , ,"], &[]),
            (&[], &[]),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(TRANSFER_ENCODING, line.parse().unwrap());
            }
            let found: Vec<_> = tokens(&headers, &TRANSFER_ENCODING).collect();
            assert_eq!(found, wanted, "{lines:?}");
            assert!(!has_token(&headers, &TRANSFER_ENCODING, ""), "{lines:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_for_less_than_is_told() {
        for (told, kept) in [
            ("timeout=5", Some(4_000)),
            ("Timeout = 5, max=100", Some(4_000)),
            ("max=100, timeout=60", Some(59_000)),
            ("timeout=2", Some(1_000)),
            ("timeout=1", Some(500)),
            ("timeout=0", Some(0)),
            ("timeout", None),
            ("timeout=", None),
            ("timeout=-1", None),
            ("timeout=5s", None),
            ("timeout=99999999999999999999", None),
            ("5", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("keep-alive", told.parse().unwrap());
            assert_eq!(kept_for(&headers), kept.map(Duration::from_millis), "{told}");
        }
        assert_eq!(kept_for(&HeaderMap::new()), None);
    }
}
