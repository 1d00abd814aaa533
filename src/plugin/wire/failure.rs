//! What is wrong with a message, and what a plugin says is wrong, as errors.

use std::time::Duration;

use crate::{
    error::{Code, Error, Kind},
    time,
    wire::start,
};

/// Most bytes of a text from elsewhere in an error.
pub(crate) const MAX_TEXT: usize = 1_024;

/// A message that cannot be written, and so is not sent.
pub(crate) fn unwritable(what: &str, problem: impl ToString) -> Error {
    let problem = problem.to_string();
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(Code::RPC_2005))
        .message(format!("cannot write {what} as JSON: {}", start(&problem, MAX_TEXT)))
}

/// An answer that is none.
pub(crate) fn undecodable(problem: impl ToString) -> Error {
    let problem = problem.to_string();
    Error::failed(Kind::Transport)
        .message("failed to decode response")
        .caused_by(start(&problem, MAX_TEXT).into_owned())
}

/// A good answer whose data is of another type than the caller expects, which is as likely to be wrong.
pub(crate) fn mistyped(problem: impl ToString) -> Error {
    misread(problem).without_blame()
}

/// An answer whose data is of another type, or is none at all.
pub(crate) fn misread(problem: impl ToString) -> Error {
    undecodable(problem).coded(Some(Code::RPC_2005))
}

/// Adds what the plugin says. If that begins with a code, as errors of this crate and of Go's plugin
/// manager do, the code is that of the error.
pub(crate) fn with_words(error: Error, said: &str) -> Error {
    let (code, said) = Code::split_off(said);
    // As a plugin says it that passes on what another answered.
    let said = ["remote execution failed: ", "plugin error: "]
        .into_iter()
        .fold(said, |said, prefix| said.strip_prefix(prefix).unwrap_or(said));
    error.coded(code).caused_by(start(said, MAX_TEXT).into_owned())
}

/// What a plugin answers that failed, where the answer itself has a status and tells when to come back:
/// a limit of its own is not its own error. `code` is that of an error of its own.
pub(crate) fn answered(
    what: &str,
    said: &str,
    status: u16,
    retry_after: Option<Duration>,
    code: Option<Code>,
) -> Error {
    let kind = match status {
        429 => Kind::RateLimited,
        500.. => Kind::Transport,
        _ => Kind::Plugin,
    };
    let failed = Error::failed(kind).message(what).coded(code.filter(|_| kind == Kind::Plugin));
    let error = with_words(failed, said);
    match retry_after {
        Some(wait) => error.retry_in(time::now(), wait),
        None => error,
    }
}
