//! What plugins say, in errors.

use crate::{
    error::{Code, Error, Kind},
    wire,
};

/// Most bytes of a text from elsewhere in an error.
pub(super) const MAX_TEXT: usize = 1_024;

/// Adds what the plugin says. If that begins with a code, as errors of this crate and of Go's plugin
/// manager do, the code is that of the error.
pub(super) fn with_words(error: Error, said: &str) -> Error {
    let (code, said) = Code::split_off(said);
    // As a plugin says it that passes on what another answered.
    let said = ["remote execution failed: ", "plugin error: "]
        .into_iter()
        .fold(said, |said, prefix| said.strip_prefix(prefix).unwrap_or(said));
    error.coded(code).caused_by(wire::start(said, MAX_TEXT).into_owned())
}

/// An answer that is none of the protocol.
pub(super) fn undecodable(problem: impl ToString) -> Error {
    let problem = problem.to_string();
    Error::failed(Kind::Transport)
        .message("failed to decode response")
        .caused_by(wire::start(&problem, MAX_TEXT).into_owned())
}
