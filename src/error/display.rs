//! What an error says.

use std::fmt;

use super::{Error, Kind, foreign::root};

/// How much of the text of another crate's error is shown, in bytes.
const MAX_FOREIGN: usize = 256;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] ", self.code())?;
        let last = self.history().last().filter(|_| self.kind() == Kind::RetryExhausted);
        match (self.rest.as_ref().and_then(|rest| rest.message.as_deref()), self.cause()) {
            (Some(message), _) => f.write_str(message)?,
            (None, Some(cause)) if last.is_none() => write!(f, "{}: {cause}", self.kind().text())?,
            (None, _) => f.write_str(self.kind().text())?,
        }
        // What the last attempt says itself is not said twice.
        if let Some(endpoint) = self.endpoint().filter(|_| last.is_none()) {
            write!(f, " (endpoint `{endpoint}`)")?;
        }
        if self.attempts() > 1 {
            write!(f, " after {} attempts", self.attempts())?;
        }
        if let Some(last) = last {
            write!(f, ", the last: {last}")?;
        }
        if let Some(note) = self.rest.as_ref().and_then(|rest| rest.note) {
            write!(f, "; {note}")?;
        }
        let is_said = last.is_some_and(|last| last.retry_instant() == self.retry_instant());
        match self.retry_after() {
            Some(after) if !is_said => write!(f, "; retry after {after:.3?}"),
            _ => Ok(()),
        }
    }
}

impl Error {
    /// The first cause, if that is an error of another crate.
    fn cause(&self) -> Option<String> {
        let source: &(dyn std::error::Error + 'static) = &**self.rest.as_ref()?.source.as_ref()?;
        let root = root(source);
        (!root.is::<Self>()).then(|| foreign_text(&root.to_string()))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.kind()).field("refused", &self.is_refused());
        debug.field("unsent", &self.is_unsent()).field("retry_after", &self.retry_after());
        if let Some(rest) = &self.rest {
            debug.field("endpoint", &rest.endpoint).field("message", &rest.message);
            debug.field("note", &rest.note);
            debug.field("attempts", &rest.attempts).field("duration", &rest.duration);
            debug.field("source", &rest.source);
        }
        debug.finish()
    }
}

/// A text of another crate, as it may be shown: short, in one line, and without what may be a secret in
/// a URL.
pub(super) fn foreign_text(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let is_end = |c: char| c.is_whitespace() || "\"'`<>(),".contains(c);
        let (url, tail) = after.split_at(after.find(is_end).unwrap_or(after.len()));
        let (place, query) = match url.split_once('?') {
            Some((place, _)) => (place, "?…"),
            None => (url, ""),
        };
        shown.push_str(before);
        // To the last `@`, wherever it is: a password may hold anything, if by mistake.
        match place.rsplit_once('@') {
            Some((_, host)) => shown.extend(["…@", host]),
            None => shown.push_str(place),
        }
        shown.push_str(query);
        rest = tail;
    }
    shown.push_str(rest);
    let shown: String = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if shown.len() <= MAX_FOREIGN {
        return shown;
    }
    let end = (0..=MAX_FOREIGN).rev().find(|&end| shown.is_char_boundary(end)).unwrap_or(0);
    format!("{}…", &shown[..end])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{error::BoxError, time};

    #[test]
    fn the_cause_comes_last_and_once() {
        let error = Error::from_service(BoxError::from("connection reset"));
        assert_eq!(error.to_string(), "[PLUGIN_1203] the service failed: connection reset");
        let error = Error::unsent("no route");
        assert_eq!(error.to_string(), "[PLUGIN_1205] the call could not be sent: no route");
        let error = Error::refused(Kind::RateLimited).caused_by(Error::failed(Kind::Timeout));
        assert_eq!(error.to_string(), "[RATELIMIT_1501] rate limit exceeded");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_last_attempt_says_is_not_said_twice() {
        let at = time::now() + Duration::from_nanos(1_234_567_891);
        let last = Error::failed(Kind::Connection).at_endpoint(&"a:1".into()).retry_at(at);
        let error = Error::exhausted(vec![last.clone()], last).after_attempts(2, None);
        assert_eq!(
            error.to_string(),
            "[PLUGIN_1203] all attempts failed after 2 attempts, the last: [PLUGIN_1205] connection \
             failed (endpoint `a:1`); retry after 1.235s"
        );
    }

    #[test]
    fn texts_of_others_are_short_and_tell_no_secret() {
        for (text, shown) in [
            ("plain", "plain"),
            ("at http://u:p@a.example/x?key=1 today", "at http://…@a.example/x?… today"),
            ("(https://a.example:1/x) and ws://u@b", "(https://a.example:1/x) and ws://…@b"),
            ("http://u:p/@ss@a.example", "http://…@a.example"),
            ("two\nlines\u{7}", "two lines "),
        ] {
            assert_eq!(foreign_text(text), shown);
        }
        let long = foreign_text(&"ü".repeat(1_000));
        assert!(long.len() <= MAX_FOREIGN + 3 && long.ends_with('…'));
    }
}
