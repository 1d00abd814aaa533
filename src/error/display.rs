//! What an error says.

use std::{error::Error as StdError, fmt};

use super::{
    causes::{causes, root},
    code::Code,
    error::Error,
    kind::Kind,
    text::{self, MAX_SHOWN},
};

/// How much of a text of another crate stands in a `Debug`, in bytes.
const MAX_DEBUG: usize = 4_096;

/// How much of the message of a status tells whether it was said, in bytes.
#[cfg(feature = "grpc")]
const MAX_STATUS: usize = 64;

/// What is written of an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    All,
    /// None that came from elsewhere.
    Ours,
}

impl Error {
    /// Returns what happened, in words of this crate alone: code, kind, guard, endpoint, attempts and
    /// when to come back. For labels, pages and logs in which the texts of messages and sources, as
    /// `Display` shows them, do not belong.
    ///
    /// The key of an endpoint may be its address. A response made with `into_response` (feature `http`)
    /// leaves that out, too.
    ///
    /// ```
    /// use tower_upstream::error::Error;
    /// let error = Error::unsent("connection refused");
    /// assert_eq!(error.to_string(), "[PLUGIN_1205] the call could not be sent: connection refused");
    /// assert_eq!(error.summary(), "[PLUGIN_1205] connection failed");
    /// ```
    pub fn summary(&self) -> String {
        struct Summary<'a>(&'a Error);
        impl fmt::Display for Summary<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(f, Words::Ours)
            }
        }
        Summary(self).to_string()
    }

    /// What its code and its kind mean, in words of this crate alone.
    pub(crate) fn meaning(&self) -> &'static str {
        match (self.kind(), self.code()) {
            (Kind::Unavailable, Code::PLUGIN_1201) => "there is no plugin of that name",
            (Kind::Unavailable, Code::PLUGIN_1202) => "the plugin is not enabled",
            // For want of a runtime, it has no message of its own.
            (Kind::Unavailable, _) if self.what() != self.kind().text() => {
                "the service is not available"
            }
            (kind, _) => kind.text(),
        }
    }

    /// Where, then what, then why. The cause comes last, and what it says itself is not said before.
    fn write(&self, f: &mut fmt::Formatter<'_>, words: Words) -> fmt::Result {
        let source = self.cause();
        let ours = source.and_then(|source| causes(source).find_map(|e| e.downcast_ref::<Self>()));
        write!(f, "[{}] ", self.code())?;
        if let Some(guard) = self.guard() {
            write!(f, "`{guard}`: ")?;
        }
        let says_endpoint = ours.is_some_and(|ours| ours.endpoint() == self.endpoint());
        if let Some(endpoint) = self.endpoint().filter(|_| !says_endpoint) {
            write!(f, "endpoint `{endpoint}`: ")?;
        }
        let what = if words == Words::All { self.what() } else { self.meaning() };
        match self.attempts() {
            attempts @ 2.. if self.last().is_some() => write!(f, "all {attempts} attempts failed")?,
            attempts @ 2.. => write!(f, "after {attempts} attempts: {what}")?,
            _ => f.write_str(what)?,
        }
        if let Some(note) = self.rest.as_ref().and_then(|rest| rest.note) {
            write!(f, "; {note}")?;
        }
        let says_wait = ours.is_some_and(|ours| ours.retry_instant() == self.retry_instant());
        if let Some(after) = self.retry_after().filter(|after| !says_wait && !after.is_zero()) {
            write!(f, "; retry after {after:.3?}")?;
        }
        match (ours, source) {
            (Some(ours), _) => {
                f.write_str(": ")?;
                ours.write(f, words)
            }
            (None, Some(source)) if words == Words::All => {
                let cause = text::shown(format_args!("{}", root(source)), MAX_SHOWN);
                // A long text is said in full, or in the words of its cause, which are cut.
                let is_cut = || text::shown(format_args!("{what}"), MAX_SHOWN) == cause;
                let is_said = what.contains(&cause) || is_cut() || says_status(what, root(source));
                if is_said { Ok(()) } else { write!(f, ": {cause}") }
            }
            _ => Ok(()),
        }
    }
}

/// Whether `what` was made of this status of gRPC, and so has its message.
#[cfg(feature = "grpc")]
fn says_status(what: &str, source: &(dyn StdError + 'static)) -> bool {
    source.downcast_ref::<tonic::Status>().is_some_and(|status| {
        let (_, said) = Code::split_off(status.message());
        !said.is_empty() && what.contains(&format!(": {}", text::cut(said, MAX_STATUS)))
    })
}

#[cfg(not(feature = "grpc"))]
const fn says_status(_: &str, _: &(dyn StdError + 'static)) -> bool {
    false
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, Words::All)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.kind()).field("code", &self.code());
        debug.field("refused", &self.is_refused()).field("unsent", &self.is_unsent());
        let retry_after = self.retry_after();
        // What nothing is known of would hide the rest.
        let mut some = |name, value: Option<&dyn fmt::Debug>| {
            if let Some(value) = value {
                debug.field(name, value);
            }
        };
        some("retry_after", retry_after.as_ref().map(|of| of as _));
        if let Some(rest) = &self.rest {
            some("guard", rest.guard.as_ref().map(|of| of as _));
            some("endpoint", rest.endpoint.as_ref().map(|of| of as _));
            some("message", rest.message.as_ref().map(|of| of as _));
            some("note", rest.note.as_ref().map(|of| of as _));
            some("attempts", Some(&rest.attempts).filter(|of| **of > 0).map(|of| of as _));
            some("duration", rest.duration.as_ref().map(|of| of as _));
            let source = rest.source.as_ref();
            let source = source.map(|of| text::shown(format_args!("{of:?}"), MAX_DEBUG));
            some("source", source.map(Verbatim).as_ref().map(|of| of as _));
        }
        debug.finish()
    }
}

/// A text that is written as it is. Quoted, that of the cause of a cause would have more backslashes than words.
struct Verbatim(String);

impl fmt::Debug for Verbatim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use super::*;
    use crate::{error::BoxError, time};

    /// An error of another crate, around one of ours.
    #[derive(Debug)]
    struct Between(Error);

    impl fmt::Display for Between {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("never shown")
        }
    }

    impl std::error::Error for Between {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_cause_comes_last_and_once() {
        let error = Error::from_service(BoxError::from("connection reset"));
        assert_eq!(error.to_string(), "[PLUGIN_1207] the service failed: connection reset");
        let error = Error::unsent("no route").at_endpoint(&"a:1".into()).after_attempts(2, None);
        assert_eq!(
            error.to_string(),
            "[PLUGIN_1205] endpoint `a:1`: after 2 attempts: the call could not be sent: no route"
        );
        let error = Error::failed(Kind::Transport).message("it is cut: EOF").caused_by("EOF");
        assert_eq!(error.to_string(), "[TRANSPORT_1301] it is cut: EOF");
        let long = "line\n".repeat(200);
        let error = Error::failed(Kind::InvalidConfig).message(&*long).caused_by(long.clone());
        assert_eq!(error.to_string(), format!("[CONFIG_1703] {long}"));
        let wrapped = Error::from_service(io::Error::other(io::Error::other("disk full")));
        assert_eq!(wrapped.to_string(), "[PLUGIN_1207] the service failed: disk full");
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_ours_inside_says_itself_what_it_knows() {
        let at = time::now() + Duration::from_nanos(1_234_567_891);
        let last = Error::failed(Kind::Connection).at_endpoint(&"a:1".into()).retry_at(at);
        let error = Error::exhausted(vec![last.clone()], last.clone()).after_attempts(2, None);
        let said = "[PLUGIN_1203] all 2 attempts failed: [PLUGIN_1205] endpoint `a:1`: connection \
                    failed; retry after 1.235s";
        assert_eq!((error.to_string(), error.summary()), (said.into(), said.into()));
        let between = Between(last.caused_by("refused"));
        let outer = Error::refused(Kind::AllEndpointsDown).caused_by(between);
        assert_eq!(
            outer.to_string(),
            "[LOADBALANCER_1702] all endpoints are down: [PLUGIN_1205] endpoint `a:1`: connection \
             failed; retry after 1.235s: refused"
        );
        let more = Error::failed(Kind::Service).at_endpoint(&"b:1".into()).caused_by(outer);
        assert!(
            more.to_string().starts_with("[PLUGIN_1207] endpoint `b:1`: the service failed: [L")
        );
    }

    #[test]
    fn a_summary_has_no_text_from_elsewhere() {
        let secret = Error::failed(Kind::Plugin)
            .message("secret")
            .caused_by("secret")
            .at_endpoint(&"a:1".into());
        let by = |error: Error| error.by(Some(&"tenant quota".into()));
        assert_eq!(secret.summary(), "[PLUGIN_1206] endpoint `a:1`: plugin error");
        let unknown = Error::refused(Kind::Unavailable).coded(Some(Code::PLUGIN_1201));
        let unknown = unknown.message("there is no plugin `secret`");
        assert_eq!(unknown.summary(), "[PLUGIN_1201] there is no plugin of that name");
        let shut = Error::refused(Kind::Unavailable).message("secret");
        assert_eq!(shut.summary(), "[REGISTRY_1901] the service is not available");
        assert!(Error::refused(Kind::Unavailable).summary().contains("no runtime"));
        let inside = by(Error::refused(Kind::Overloaded)).caused_by(secret.after_attempts(3, None));
        assert_eq!(
            inside.summary(),
            "[RATELIMIT_1502] `tenant quota`: too many calls at once: [PLUGIN_1206] endpoint `a:1`: \
             after 3 attempts: plugin error"
        );
    }

    #[test]
    fn the_debug_of_a_cause_of_a_cause_can_be_read_and_nothing_stands_for_nothing() {
        let error = Error::failed(Kind::Connection).caused_by(io::Error::other("a \"b\""));
        let error = Error::failed(Kind::Unavailable).caused_by(error).at_endpoint(&"a:1".into());
        let said = format!("{error:?}");
        let cause = "source: Error { kind: Connection, code: PLUGIN_1205, refused: false, unsent: false, \
                     source: Custom { kind: Other, error: \"a \\\"b\\\"\" } }";
        assert!(said.contains(cause), "{said}");
        assert!(!said.contains("None") && !said.contains("attempts"), "{said}");
    }

    #[test]
    fn secrets_of_others_are_neither_displayed_nor_debugged() {
        let text = "for url (http://user:secret@a/x?key=secret): refused";
        let foreign = io::Error::other(text);
        let error = Error::from_service(foreign).at_endpoint(&"a:1".into());
        let error = Error::exhausted(vec![error.clone()], error);
        for said in [error.to_string(), format!("{error:?}"), format!("{:#?}", error.history())] {
            assert!(!said.contains("secret"), "{said}");
        }
        assert!(error.to_string().ends_with("for url (http://…@a/x?…): refused"));
    }

    #[test]
    fn each_error_that_is_said_is_short() {
        let long = Error::failed(Kind::Plugin).caused_by("ü ".repeat(100_000));
        assert!(long.to_string().len() < 300);
        assert!(format!("{long:?}").len() < 5_000);
    }
}
