//! Turns the failures of a client into errors.

use std::{error::Error as _, io};

use http::{StatusCode, Version, header::CONNECTION, response::Parts};

use super::config::HttpConfig;
use crate::{
    dial::ConnectError,
    error::{Error, Fault, Kind, root},
    http::{is_broken, lost_its_task},
    wire::has_token,
};

/// Why an attempt has no response.
pub(super) struct Failure {
    pub(super) error: Error,
    /// That of the connection, if it broke before the head of a response came and had been used before,
    /// or ended with its runtime.
    pub(super) epoch: Option<u64>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, epoch: None }
    }
}

impl Failure {
    /// Of a connection, before the head of a response. `sent`: whether anything may have been sent on it;
    /// `before`: or on another one before. `used`: its epoch, if it was there before the call.
    pub(super) fn of_connection(
        error: hyper::Error,
        (sent, before): (bool, bool),
        used: Option<u64>,
        config: &HttpConfig,
    ) -> Self {
        let (was_lost, was_broken) = (lost_its_task(&error), is_broken(&error));
        let of_connection = Error::outline(&error).fault() == Fault::Connection;
        let sent = before || (sent && !was_turned_away(&error));
        let mut error = no_head(error, sent, config);
        if of_connection {
            error = error.without_blame();
        }
        if was_lost {
            // One that was new has no part in what is known of those that were not.
            return Self { error, epoch: Some(used.unwrap_or(u64::MAX)) };
        }
        Self { error, epoch: used.filter(|_| was_broken) }
    }
}

/// Whether a response is none to the request, but what some servers and balancers say to a connection that was not
/// used for a while, before they close it (RFC 9110 §15.5.9).
pub(super) fn is_farewell(parts: &Parts) -> bool {
    let says = |token| has_token(&parts.headers, &CONNECTION, token);
    parts.status == StatusCode::REQUEST_TIMEOUT
        && match parts.version {
            Version::HTTP_10 => !says("keep-alive"),
            Version::HTTP_11 => says("close"),
            _ => false,
        }
}

/// Of a connection that was there before, and has ended so.
pub(super) fn farewell(config: &HttpConfig) -> Error {
    let message = "request failed with status 408: the endpoint gave up a connection without calls";
    Error::failed(Kind::Connection).message(format!("{} {message}", config.speaks.name()))
}

/// Of the body of a response. A connection that brought its head was alive, however old.
pub(super) fn broke_off(error: hyper::Error, config: &HttpConfig) -> Error {
    let cause = root(&error);
    let nonsense = is_nonsense(&error)
        || cause.downcast_ref::<io::Error>().is_some_and(|e| {
            matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        });
    let outcome = if nonsense {
        Error::failed(Kind::Transport).message("failed to decode response")
    } else {
        Error::failed(Kind::Connection)
            .message(format!("{} request failed: the answer broke off", config.speaks.name()))
    };
    outcome.caused_by(error)
}

/// No connection. `sent`: whether the request may have been sent before.
pub(super) fn cannot_connect(error: ConnectError, sent: bool, config: &HttpConfig) -> Error {
    let (kind, message) = if error.is_of_config() {
        (Kind::InvalidConfig, format!("{} request failed: cannot connect", config.speaks.name()))
    } else if error.is_timeout() {
        let limit = config.connect_timeout;
        let within = format!("cannot connect within {limit:?} (`connect_timeout`)");
        (Kind::Timeout, format!("{} request failed: {within}", config.speaks.name()))
    } else {
        (Kind::Connection, format!("{} request failed: cannot connect", config.speaks.name()))
    };
    // Such as for a socket that belongs to another user.
    let code = error.source().and_then(|of| of.downcast_ref::<Error>()).map(Error::code);
    of_kind(kind, sent).coded(code).message(message).caused_by(error)
}

/// A connection whose other end did not accept this side, and read nothing. `sent` as above.
pub(super) fn shut_out(alert: &str, sent: bool) -> Error {
    of_kind(Kind::Connection, sent)
        .message("HTTP request failed: the endpoint does not accept the certificate of this side")
        .caused_by(alert)
}

fn no_head(error: hyper::Error, sent: bool, config: &HttpConfig) -> Error {
    let outcome = if !is_nonsense(&error) {
        of_kind(Kind::Connection, sent).message(format!("{} request failed", config.speaks.name()))
    } else if is_too_large(&error) {
        of_kind(Kind::Transport, sent).message(format!(
            "failed to decode response: message head is too large: more than {} bytes \
             (`max_header_bytes`) or 100 headers",
            config.max_header_bytes
        ))
    } else {
        of_kind(Kind::Transport, sent).message("failed to decode response")
    };
    outcome.caused_by(error)
}

fn of_kind(kind: Kind, sent: bool) -> Error {
    if sent { Error::failed(kind) } else { Error::not_sent(kind) }
}

/// Whether what came is none of the protocol.
fn is_nonsense(error: &hyper::Error) -> bool {
    error.is_parse() || of_http2(error).is_some_and(h2::Error::is_library)
}

/// Whether HTTP/2 says that nothing was done for the request (RFC 9113 §8.7): the endpoint refused its
/// stream, or went away and will not look at it, since its number is above the last that it names.
fn was_turned_away(error: &hyper::Error) -> bool {
    of_http2(error).is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused || error.is_go_away())
    })
}

fn of_http2(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|error| error.downcast_ref())
}

/// hyper tells this to servers only, and in its text.
fn is_too_large(error: &hyper::Error) -> bool {
    error.to_string() == "message head is too large"
}

pub(super) fn too_long(config: &HttpConfig) -> Error {
    Error::failed(Kind::Transport).message(format!(
        "failed to decode response: its body has more than {} bytes (`max_response_bytes`)",
        config.max_response_bytes - config.speaks.prefix()
    ))
}
