//! Turns the failures of a client into errors.

use std::io;

use hyper_util::client::legacy;

use super::config::HttpConfig;
use crate::{
    dial::ConnectError,
    error::{Error, Kind, causes, root},
    http::{Moment, broke_when_reused, lost_its_task},
};

/// Why an attempt has no response.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Before the head of a response came, a connection broke that had been used before, or ended with
    /// its runtime.
    pub(super) is_of_connection: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, is_of_connection: false }
    }
}

impl Failure {
    /// Of the client, before the head of a response. `sent`: whether anything may have been sent.
    pub(super) fn of_client(
        error: legacy::Error,
        sent: bool,
        begun: Moment,
        config: &HttpConfig,
    ) -> Self {
        if lost_its_task(&error) {
            let error = no_head(error, sent, config).without_blame();
            return Self { error, is_of_connection: true };
        }
        let is_of_connection = broke_when_reused(&error, begun);
        Self { error: no_head(error, sent, config), is_of_connection }
    }
}

/// Of the body of a response. A connection that brought its head was alive, however old.
pub(super) fn broke_off(error: hyper::Error) -> Error {
    let cause = root(&error);
    let nonsense = error.is_parse()
        || cause.downcast_ref::<io::Error>().is_some_and(|e| {
            matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        });
    let outcome = if nonsense {
        Error::failed(Kind::Transport).message("failed to decode response")
    } else {
        Error::failed(Kind::Connection).message("HTTP request failed: the answer broke off")
    };
    outcome.caused_by(error)
}

fn no_head(error: legacy::Error, sent: bool, config: &HttpConfig) -> Error {
    let new = |kind| {
        if sent { Error::failed(kind) } else { Error::not_sent(kind) }
    };
    let protocol = causes(&error)
        .find_map(|error| error.downcast_ref::<hyper::Error>())
        .filter(|error| error.is_parse());
    let outcome = if error.is_connect() {
        let late = causes(&error)
            .find_map(|error| error.downcast_ref::<ConnectError>())
            .is_some_and(ConnectError::is_timeout);
        if late {
            new(Kind::Timeout).message(format!(
                "HTTP request failed: cannot connect within {:?} (`connect_timeout`)",
                config.connect_timeout
            ))
        } else {
            new(Kind::Connection).message("HTTP request failed: cannot connect")
        }
    } else if protocol.is_some_and(is_too_large) {
        new(Kind::Transport).message(format!(
            "failed to decode response: message head is too large: more than {} bytes \
             (`max_header_bytes`) or 100 headers",
            config.max_header_bytes
        ))
    } else if protocol.is_some() {
        new(Kind::Transport).message("failed to decode response")
    } else {
        new(Kind::Connection).message("HTTP request failed")
    };
    outcome.caused_by(error)
}

/// hyper tells this to servers only, and in its text.
fn is_too_large(error: &hyper::Error) -> bool {
    error.to_string() == "message head is too large"
}

pub(super) fn too_long(config: &HttpConfig) -> Error {
    Error::failed(Kind::Transport).message(format!(
        "failed to decode response: its body has more than {} bytes (`max_response_bytes`)",
        config.max_response_bytes
    ))
}
