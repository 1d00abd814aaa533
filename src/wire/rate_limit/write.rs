use std::fmt::Write;

use http::{HeaderMap, HeaderValue};

use super::{LIMIT, POLICY};

/// A policy, and what is left of it. Times are in seconds.
pub(crate) struct Policy {
    pub(crate) quota: u64,
    pub(crate) window: u64,
    pub(crate) remaining: u32,
    pub(crate) reset: u64,
}

/// What of `name` may stand in a string of a structured field without an escape (RFC 9651).
pub(crate) fn bare(name: &str) -> String {
    let fits = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    name.chars().filter(fits).collect()
}

/// Adds both fields. The first policy has this [bare] name, the second is `name-2`, and so on;
/// without policies there are no fields.
pub(crate) fn write(name: &str, policies: &[Policy], headers: &mut HeaderMap) {
    if policies.is_empty() {
        return;
    }
    let (mut all, mut left) = (String::new(), String::new());
    for (index, Policy { quota, window, remaining, reset }) in policies.iter().enumerate() {
        let (comma, number) = match index {
            0 => ("", String::new()),
            _ => (", ", format!("-{}", index + 1)),
        };
        // Writing to a string cannot fail.
        let _ = write!(all, "{comma}\"{name}{number}\";q={quota};w={window}");
        let _ = write!(left, "{comma}\"{name}{number}\";r={remaining};t={reset}");
    }
    for (field, value) in [(POLICY, all), (LIMIT, left)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(field, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::exhausted_for, *};

    #[test]
    fn what_is_written_is_read() {
        let policy = |remaining, reset| Policy { quota: 5, window: 60, remaining, reset };
        let wait = |policies: &[Policy]| {
            let mut headers = HeaderMap::new();
            write(&bare("a \"name\" \u{e9}"), policies, &mut headers);
            exhausted_for(&headers)
        };
        assert_eq!(wait(&[policy(1, 30), policy(0, 40)]), Some(Duration::from_secs(40)));
        assert_eq!((wait(&[policy(1, 30)]), wait(&[])), (None, None));
    }
}
