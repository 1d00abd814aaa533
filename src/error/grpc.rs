//! What a status of gRPC means as an error, and the other way round.

use std::{error::Error as _, sync::LazyLock};

use tonic::{Code, Status};

use super::{causes::causes, error::Error, http::of_connection, kind::Kind};
use crate::{
    time,
    wire::{self, Pushback},
};

pub(super) fn of_channel(error: &tonic::transport::Error) -> Option<Error> {
    causes(error).find_map(|error| {
        if error.is::<tonic::ConnectError>() {
            return Some(Error::not_sent_by_type(Kind::Connection));
        }
        // The channel ends a call by the `grpc-timeout` of its caller, or by its own timeout, and does not
        // say by which.
        if error.is::<tonic::TimeoutExpired>() {
            return Some(Error::failed(Kind::Timeout).without_blame());
        }
        let error = error.downcast_ref::<hyper::Error>()?;
        if error.is_canceled() {
            // The connection closed before it took the call.
            return Some(Error::not_sent_by_type(Kind::Connection).without_blame());
        }
        of_connection(error)
    })
}

/// Of a generated client: what its channel failed with, what a layer of ours below it said, or what the
/// server answered.
pub(super) fn of_status(status: &Status) -> Option<Error> {
    let source = status.source();
    if let Some(ours) = source.and_then(|source| source.downcast_ref::<Error>()) {
        return Some(Error { word: ours.word, rest: None });
    }
    let unconnected = source.and_then(|source| of_channel(source.downcast_ref()?));
    unconnected.or_else(|| Error::of_grpc(status.code() as u32, pushback(status)))
}

/// When to try again, as a status says.
pub(crate) fn pushback(status: &Status) -> Option<Pushback> {
    let pushed = wire::pushback(status.metadata().as_ref());
    pushed.or_else(|| wire::retry_info(status.details()))
}

impl Error {
    /// What the endpoint answered, by its code of gRPC; `None` if all is well.
    ///
    /// What tells of the endpoint is a failure of it, and what tells of the call is its answer, as in
    /// [`HttpClassify`](crate::http::HttpClassify).
    pub(crate) fn of_grpc(code: u32, pushback: Option<Pushback>) -> Option<Self> {
        let error = match code {
            0 => return None,
            4 => Self::failed(Kind::Timeout),
            8 => Self::failed(Kind::RateLimited),
            14 => Self::failed(Kind::Transport),
            2 | 13 | 15 | 17.. => Self::failed(Kind::Service),
            _ if pushback == Some(Pushback::Never) => Self::failed(Kind::Service),
            1 => Self::failed(Kind::Service).without_blame(),
            _ => Self::failed(Kind::Plugin),
        };
        Some(match pushback.and_then(Pushback::wait).filter(|_| matches!(code, 8 | 14)) {
            Some(wait) => error.retry_in(time::now(), wait),
            None => error,
        })
    }

    /// The status that a server answered with, if that is why the call failed.
    pub(crate) fn status(&self) -> Option<&Status> {
        let mut next = self.cause();
        while let Some(error) = next {
            if let Some(status) = error.downcast_ref() {
                return Some(status);
            }
            next = match error.downcast_ref::<Self>() {
                Some(ours) => ours.cause(),
                None => error.source(),
            };
        }
        None
    }

    /// What tonic finds in an error of ours that has no cause: or else it would call it `UNKNOWN`.
    pub(super) fn as_status(&self) -> &'static Status {
        static STATUSES: LazyLock<Vec<(&str, Status)>> = LazyLock::new(|| {
            let unavailable = || Error::failed(Kind::Unavailable);
            let coded = |code| unavailable().coded(Some(code));
            let rarer = [
                coded(super::Code::PLUGIN_1201),
                coded(super::Code::PLUGIN_1202),
                unavailable().message(""),
            ];
            let of = |error: Error| {
                let code = Code::from(i32::from(error.grpc_code()));
                (error.meaning(), Status::new(code, error.public_text()))
            };
            Kind::ALL.iter().map(|&kind| Error::failed(kind)).chain(rarer).map(of).collect()
        });
        static UNKNOWN: LazyLock<Status> = LazyLock::new(|| Status::unknown(""));
        let meaning = self.meaning();
        let known = STATUSES.iter().find(|(of, _)| *of == meaning);
        known.map_or(&*UNKNOWN, |(_, status)| status)
    }
}
