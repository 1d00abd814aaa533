//! Tells a connection that had died from an endpoint that fails.

use std::{error::Error as _, io};

use http::Extensions;
use hyper_util::client::legacy;

use super::slot::{ConnectionSlot, Moment};
use crate::error::causes;

/// Returns whether the call broke with a connection that was there before it: the endpoint may have
/// closed it while it was idle, so that says nothing about the endpoint.
///
/// Not if an answer made no sense or the caller's body failed. Only connections of a `TcpConnector`
/// have an age.
pub(crate) fn broke_when_reused(error: &legacy::Error, begun: Moment) -> bool {
    let is_broken = !error.is_connect() && of_connection(error).is_some_and(is_broken);
    is_broken && was_reused_by(error, begun)
}

/// Returns whether the task that drove the connection is gone, as when its runtime ended. hyper counts
/// that as a mistake of its user, and tells it apart in its text alone.
pub(crate) fn lost_its_task(error: &hyper::Error) -> bool {
    error.is_user() && error.to_string() == "dispatch task is gone"
}

/// Only the first: what is below it may be of the connection that the caller's body comes from.
fn of_connection(error: &legacy::Error) -> Option<&hyper::Error> {
    causes(error).find_map(|error| error.downcast_ref())
}

/// Returns whether the connection ended, rather than that one side complained of the other.
pub(crate) fn is_broken(error: &hyper::Error) -> bool {
    let by_socket = || {
        error.source().is_some_and(|error| {
            let h2 = error.downcast_ref::<h2::Error>();
            error.is::<io::Error>() || h2.is_some_and(is_over_for_h2)
        })
    };
    let is_over = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    !error.is_user() && (is_over || by_socket())
}

/// A connection that ends in peace says `NO_ERROR`. With another reason one of the two sides complains
/// of the other, so it was alive.
fn is_over_for_h2(error: &h2::Error) -> bool {
    let in_peace = error.reason() == Some(h2::Reason::NO_ERROR);
    error.is_io() || error.is_go_away() && error.is_remote() && in_peace
}

fn was_reused_by(error: &legacy::Error, begun: Moment) -> bool {
    error.connect_info().is_some_and(|connected| {
        let mut extras = Extensions::new();
        connected.get_extras(&mut extras);
        extras.get::<ConnectionSlot>().is_some_and(|slot| slot.is_older_than(begun))
    })
}
