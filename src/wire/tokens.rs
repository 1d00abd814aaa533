use http::{HeaderMap, HeaderName};

/// Whether a list holds this token, which is written in lower case.
pub(crate) fn has_token(headers: &HeaderMap, list: &HeaderName, token: &str) -> bool {
    tokens(headers, list).any(|found| found.eq_ignore_ascii_case(token))
}

/// The tokens of a list, however many lines it has.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    list: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(list).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}
