//! The path of a cookie, as browsers compare it.

use std::fmt::Write;

/// Browsers ignore an attribute that is longer.
const MOST: usize = 1_024;

/// `path` as browsers write it, from `/` on. What a cookie cannot have is left out, and of one that is too long what
/// is below the last `/` that it may have.
pub(super) fn cookie_path(path: &str) -> String {
    let mut written = String::from("/");
    for c in path.trim_start_matches('/').chars() {
        match c {
            ';' => {}
            ' ' => written.push_str("%20"),
            c if c.is_ascii_graphic() => written.push(c),
            c if c.is_ascii() => {}
            c => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Into a text: it cannot fail.
                    let _ = write!(written, "%{byte:02X}");
                }
            }
        }
    }
    if written.len() > MOST {
        let end = written.get(..=MOST).and_then(|start| start.rfind('/')).unwrap_or(0);
        written.truncate(end.max(1));
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_what_browsers_compare_with() {
        for (path, is) in [
            ("", "/"),
            ("/", "/"),
            ("shop", "/shop"),
            ("//shop/", "/shop/"),
            ("/caf\u{e9} bar", "/caf%C3%A9%20bar"),
            ("/caf%C3%A9", "/caf%C3%A9"),
            ("/a;b\r\nSet-Cookie: c=d", "/abSet-Cookie:%20c=d"),
        ] {
            assert_eq!(cookie_path(path), is, "{path:?}");
        }
    }

    #[test]
    fn one_that_is_too_long_ends_where_a_part_does() {
        let part = "a".repeat(1_000);
        let fits = format!("/{part}/{}", "b".repeat(22));
        assert_eq!((fits.len(), cookie_path(&fits)), (MOST, fits.clone()));
        assert_eq!(cookie_path(&format!("{fits}/c")), fits);
        assert_eq!(cookie_path(&format!("{fits}b")), format!("/{part}"));
        assert_eq!(cookie_path(&"a".repeat(2_000)), "/");
    }

    proptest! {
        #[test]
        fn it_fits_into_a_field(path in any::<String>(), times in 1_usize..200) {
            let path = cookie_path(&path.repeat(times));
            prop_assert!(path.starts_with('/') && path.len() <= MOST);
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'));
            prop_assert_eq!(cookie_path(&path), path);
        }
    }
}
