//! Texts of other crates, as they may be shown.

use std::fmt::{self, Write};

/// How much of a text is looked at, in bytes.
const MAX_READ: usize = 4_096;

/// How much of the text of another crate's error is shown, in bytes.
pub(super) const MAX_SHOWN: usize = 256;

/// The first `most` bytes of what another crate says: in one line, and without what may be a secret in a
/// URL.
pub(super) fn shown(said: fmt::Arguments<'_>, most: usize) -> String {
    let mut start = Start::default();
    let is_whole = start.write_fmt(said).is_ok();
    let mut text = &start.0[..];
    if !is_whole {
        // Half a URL does not tell where its secrets are.
        text = &text[..text.rfind(is_between).unwrap_or(0)];
    }
    let mut shown = String::new();
    while !text.is_empty() {
        let (word, rest) = text.split_at(text.find(is_between).unwrap_or(text.len()));
        write_word(word, &mut shown);
        let mut rest = rest.chars();
        shown.extend(rest.next().map(|c| if is_invisible(c) { ' ' } else { c }));
        text = rest.as_str();
    }
    let end = cut(&shown, most).len();
    if end < shown.len() || !is_whole {
        shown.truncate(end);
        shown.truncate(shown.trim_end_matches('…').len());
        shown.push('…');
    }
    shown
}

/// The first `most` bytes of a text, or a little less, so that no character is cut.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// Text from outside as an error names it: in one line, and only its start.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = cut(self.0, 64);
        let more = if start.len() < self.0.len() { "…" } else { "" };
        write!(f, "{}{more}", start.escape_debug())
    }
}

/// The start of a text. Full, it ends the writing with an error.
#[derive(Default)]
struct Start(String);

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_READ - self.0.len();
        let start = cut(text, room);
        self.0.push_str(start);
        if start.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Whether it stands in no URL, not even in a password (RFC 3986).
fn is_between(c: char) -> bool {
    c.is_whitespace() || "\"<>`".contains(c) || is_invisible(c)
}

/// What breaks a line, or turns its direction.
fn is_invisible(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Writes `word`, which may be a URL, one with something around it, or several of them.
fn write_word(word: &str, shown: &mut String) {
    let (scheme, url) = word.split_at(word.find("//").map_or(0, |at| at + 2));
    let is_url = !scheme.is_empty();
    let (place, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    let authority = &place[..place.find('/').unwrap_or(place.len())];
    shown.push_str(scheme);
    if query.contains('@') && (place.contains('@') || !is_host(authority)) {
        // A password may hold anything, if by mistake; so this is as much of one as it is a query.
        shown.push('…');
        return;
    }
    // To the last `@`, wherever it is. `user:password@` is one without `//`, too; `user@` is mail.
    let user = place.rfind('@').map(|at| at + 1).or_else(|| Some(authority.rfind("%40")? + 3));
    let place = match user.filter(|&end| is_url || place[..end].contains(':')) {
        Some(end) => {
            shown.push_str("…@");
            &place[end..]
        }
        None => place,
    };
    shown.push_str(place);
    if query.is_empty() || !(is_url || word.starts_with('/')) {
        shown.push_str(query);
        return;
    }
    shown.extend([&query[..1], "…"]);
    // What is around the URL, as far as one can tell.
    let inside = query.trim_end_matches([')', ']', ',', '.', ':', ';', '\'']);
    shown.push_str(&query[inside.len().max(1)..]);
}

/// Whether it is a host with or without a port; else it may be a user and the start of a password.
fn is_host(authority: &str) -> bool {
    let port = authority.rsplit_once(']').map_or(authority, |(_, port)| port).split_once(':');
    port.is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> String {
        shown(format_args!("{text}"), MAX_SHOWN)
    }

    #[test]
    fn text_from_outside_is_named_by_its_start() {
        assert_eq!(Quoted("tax\n").to_string(), "tax\\n");
        assert_eq!(Quoted(&"é".repeat(40)).to_string(), format!("{}…", "é".repeat(32)));
    }

    #[test]
    fn a_url_has_no_user_and_no_query() {
        for (text, shown) in [
            ("plain", "plain"),
            ("at http://u:p@a.example/x?key=1 today", "at http://…@a.example/x?… today"),
            ("(https://a.example:1/x) and ws://u@b", "(https://a.example:1/x) and ws://…@b"),
            ("for url (http://a:80/x?key=1): refused", "for url (http://a:80/x?…): refused"),
            ("'http://a/x#token=1',", "'http://a/x#…',"),
            ("HTTPS://U:P@A/X?Y", "HTTPS://…@A/X?…"),
            ("of //user:pw@host:1/x", "of //…@host:1/x"),
            ("user:pw@host:5432", "…@host:5432"),
            ("user:pw@tcp(host:3306)/db", "…@tcp(host:3306)/db"),
            ("GET /x?key=1 failed", "GET /x?… failed"),
            (r#"{"url":"http:\/\/u:p@a\/x"}"#, r#"{"url":"…@a\/x"}"#),
            ("http://u:p@[::1]:80/x", "http://…@[::1]:80/x"),
            ("http://[fe80::1%25eth0]:80/x?y", "http://[fe80::1%25eth0]:80/x?…"),
            ("http://u%40corp:p%40ss@a", "http://…@a"),
            ("http://u:p%40a/x", "http://…@a/x"),
            ("amqp://u:p@a:1,v:q@b:2", "amqp://…@b:2"),
            ("http://a/x?mail=u@b", "http://a/x?…"),
            ("http://u:p@a/x?mail=u@b", "http://…"),
            ("http://u:p@a,http://v:q@b?c", "http://…@b?…"),
        ] {
            assert_eq!(of(text), shown);
        }
    }

    #[test]
    fn a_password_may_hold_anything() {
        for text in ["/@ss", "pa,s(s)", "'ss'", "p@ss", "%40", "p//ss", ":::"] {
            assert_eq!(of(&format!("http://u:{text}@a.example")), "http://…@a.example");
        }
        for text in ["p?ss", "p#ss", "%40?x", "p@s?s"] {
            assert_eq!(of(&format!("http://u:{text}@a.example")), "http://…");
        }
        for query in ["a=(secret),secret", "secret'secret", "?secret", "mail=secret@secret"] {
            assert_eq!(of(&format!("http://a:80/x?{query}")), "http://a:80/x?…");
        }
    }

    #[test]
    fn what_is_no_url_stays_as_it_is() {
        for text in ["why?no", "of bob@a.example", "a // b", "::1", "12:30", "50 % / 2", "#1 (a)"] {
            assert_eq!(of(text), text);
        }
        assert_eq!(of("two\nlines\u{7}\u{202e}"), "two lines  ");
    }

    #[test]
    fn texts_are_cut_between_two_characters() {
        for (unit, fit) in [("a", 256), ("ü", 256), ("€", 255), ("🦀", 256)] {
            let cut = of(&unit.repeat(10_000));
            // One word, and too long to know what it is.
            assert_eq!(cut, "…");
            let spaced = of(&format!("{} ", unit.repeat(90)).repeat(500));
            assert!(spaced.len() <= MAX_SHOWN + '…'.len_utf8() && spaced.ends_with('…'));
            let cut = of(&unit.repeat(300));
            assert_eq!(cut.len(), fit + '…'.len_utf8(), "{unit}");
        }
        assert_eq!(of(&"a".repeat(256)), "a".repeat(256));
    }

    #[test]
    fn the_end_of_what_is_read_shows_no_half_of_a_url() {
        let long = "x".repeat(MAX_READ - 30);
        let text = format!("http://a?{long} http://user:secret{long}@b");
        assert_eq!(of(&text), "http://a?…");
        assert_eq!(of(&format!("http://user:secret{long}{long}@b")), "…");
    }

    proptest! {
        #[test]
        fn no_secret_is_shown_wherever_a_url_stands(
            before in "[a-z(\"'<,]{0,4}( [a-z(]{0,3})?",
            scheme in "([a-zA-Z]{1,5}:)?//",
            user in "[a-z]{0,3}",
            password in "[a-z0-9:/@!$&'()*+,;=%~]{0,5}SECRET[a-z0-9:/@!$&'()*+,;=%~]{0,5}",
            host in "[a-z]{1,5}(:[0-9]{1,4})?|\\[::1\\](:[0-9]{1,4})?",
            query in "(/[a-z]{0,4})?([?#][a-z=&,()@:]{0,5}SECRET)?[),.;:']{0,2}",
            after in "( [a-z:]{0,4})?",
        ) {
            let text = format!("{before}{scheme}{user}:{password}@{host}{query}{after}");
            prop_assert!(!of(&text).contains("SECRET"), "{text}: {}", of(&text));
        }

        #[test]
        fn every_text_is_short_and_in_one_line(text in "\\PC{0,300}|(\\s|.){0,300}") {
            let shown = of(&text);
            prop_assert!(shown.len() <= MAX_SHOWN + '…'.len_utf8());
            prop_assert!(!shown.chars().any(is_invisible));
        }
    }
}
