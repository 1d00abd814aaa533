//! The text of a message, of which all can be read that Go reads.

use std::borrow::Cow;

use super::scan::position;

/// Bytes of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

/// The text of a message of JSON. As in Go, bytes that are no UTF-8 become U+FFFD, and so does an escape for half of
/// a character, as JavaScript and Python write it of a text that was cut or is none.
pub(crate) fn text(message: &[u8]) -> Cow<'_, str> {
    // Many bytes at once, which the lossy one does not look at.
    let text = std::str::from_utf8(message);
    let mut text = text.map_or_else(|_| String::from_utf8_lossy(message), Cow::Borrowed);
    let mut at = 0;
    while let Some(half) = half_after(&text, at) {
        at = half + ESCAPE;
        text.to_mut().replace_range(half..at, r"\ufffd");
    }
    text
}

/// Where the first escape behind `at` is that is half of a character.
fn half_after(text: &str, mut at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    loop {
        at += position(bytes.get(at..)?, [b'\\'])?;
        at += match (surrogate(bytes, at), surrogate(bytes, at + ESCAPE)) {
            (Some(Half::First), Some(Half::Second)) => 2 * ESCAPE,
            (Some(_), _) => return Some(at),
            // Or an escape of one sign, which may be another `\`.
            (None, _) => 2,
        };
    }
}

#[derive(Clone, Copy)]
enum Half {
    First,
    Second,
}

/// Which half of a character the escape at `at` is.
fn surrogate(bytes: &[u8], at: usize) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', third, rest @ ..] = bytes.get(at..at + ESCAPE)? else {
        return None;
    };
    if !rest.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    match third.to_ascii_lowercase() {
        b'8' | b'9' | b'a' | b'b' => Some(Half::First),
        b'c'..=b'f' => Some(Half::Second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn half_a_character_becomes_the_sign_for_what_is_none() {
        for (written, read) in [
            (r"\ud83d\ude00", "😀"),
            (r"\uD83D\uDE00\u00e9", "😀é"),
            (r"\ud83d", "\u{fffd}"),
            (r"a\ude00b", "a\u{fffd}b"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\\ud83d \\\ud83d", "\\ud83d \\\u{fffd}"),
            (r"\\\\ud83d\n\ud83d\n", "\\\\ud83d\n\u{fffd}\n"),
            (r"\ud83d\\ude00", "\u{fffd}\\ude00"),
            (r"\ud7ff\ue000", "\u{d7ff}\u{e000}"),
        ] {
            let json = format!("\"{written}\"");
            let mended = text(json.as_bytes());
            assert_eq!(serde_json::from_str::<String>(&mended).unwrap(), read, "{written}");
        }
        // What is no JSON stays none.
        for written in [r#""\ud8"#, r#""\ud8zz""#, r#""\u""#, r#""\"#, r#""\ud83d\ude"#] {
            assert!(
                serde_json::from_str::<String>(&text(written.as_bytes())).is_err(),
                "{written}"
            );
        }
        assert_eq!(text(b"\xff\\ud800"), "\u{fffd}\\ufffd");
    }

    proptest! {
        #[test]
        fn what_json_can_be_read_of_stays_as_it_is(
            text in r#"([a-z"\\]|\\u[dD][89a-fA-F][0-9]{2}|\\[nu"\\]|é){0,12}"#,
        ) {
            let json = format!("\"{text}\"");
            let mended = super::text(json.as_bytes());
            match serde_json::from_str::<String>(&json) {
                Ok(read) => {
                    prop_assert_eq!(&*mended, &*json);
                    prop_assert_eq!(serde_json::from_str::<String>(&mended).unwrap(), read);
                }
                Err(_) => prop_assert_eq!(mended.len(), json.len()),
            }
        }
    }
}
