//! Paths that might lead out of where they begin.

/// Whether a server may take a segment of `path` for `.` or `..`.
///
/// Servers differ in what they decode before they look for dots, so whatever one of them might take
/// for a dot or for the end of a segment counts: `%2e`; `\`, `%2f` and `%5c`; and a `;`, after which
/// some drop the rest of a segment.
pub(super) fn has_dot_segment(path: &str) -> bool {
    let (mut bytes, mut dots, mut is_named) = (path.as_bytes(), 0_usize, false);
    let may_be_dots = |dots: usize, is_named: bool| !is_named && (dots == 1 || dots == 2);
    while let [first, rest @ ..] = bytes {
        let (byte, after) = match (first, rest) {
            (b'%', [high, low, rest @ ..]) => match (high, low.to_ascii_lowercase()) {
                (b'2', b'e') => (b'.', rest),
                (b'2', b'f') | (b'5', b'c') => (b'/', rest),
                _ => (b'%', rest),
            },
            (byte, rest) => (*byte, rest),
        };
        match byte {
            b'/' | b'\\' => {
                if may_be_dots(dots, is_named) {
                    return true;
                }
                (dots, is_named) = (0, false);
            }
            b';' if may_be_dots(dots, is_named) => return true,
            b'.' => dots += 1,
            _ => is_named = true,
        }
        bytes = after;
    }
    may_be_dots(dots, is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_found_however_they_are_written() {
        for path in [
            "/.",
            "/..",
            "/../",
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/%2e",
            "/%2E%2e/b",
            "/.%2e/b",
            "/%2E./b",
            "/a/..%2fb",
            "/a%2f..%2Fb",
            "/a\\..\\b",
            "/a%5C..%5cb",
            "/a/..;x=1/b",
            "/.;/b",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "",
            "/",
            "*",
            "/a",
            "/...",
            "/a.",
            "/.a",
            "/..a/b",
            "/a..",
            "/a;..",
            "/a%2fb",
            "/%2e%2e%2e",
            "/a.b/c..d",
            "/%252e%252e/",
            "/.well-known/x",
            "/a;v=1.0/b",
            "/%",
            "/%2",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
