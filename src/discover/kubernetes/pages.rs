//! A list that comes in pages.

use super::{
    book::TooMany,
    object::{EndpointSlice, SliceList},
    query::Target,
    server::{Failure, Server},
};
use crate::error::{Error, Kind};

/// Most pages, so that a list ends.
const MAX_PAGES: usize = 1_000;

/// What `take` makes of all slices of a target, and the version from which on to watch.
///
/// If the list changes for longer than the server keeps it (410), all is asked for at once.
pub(super) async fn all<T: Default>(
    server: &Server,
    target: &Target,
    take: impl Fn(&mut T, EndpointSlice) -> Result<(), TooMany>,
) -> Result<(T, String), Error> {
    match read(server, target, true, &take).await {
        Err(failure) if failure.is_expired() => {
            tracing::debug!("the pages of a list are over; it is asked for at once");
            Ok(read(server, target, false, &take).await?)
        }
        all => Ok(all?),
    }
}

async fn read<T: Default>(
    server: &Server,
    target: &Target,
    is_limited: bool,
    take: &impl Fn(&mut T, EndpointSlice) -> Result<(), TooMany>,
) -> Result<(T, String), Failure> {
    let (mut all, mut first, mut next) = (T::default(), None, None::<String>);
    for _ in 0..MAX_PAGES {
        let list = page(server, &target.page(is_limited, next.as_deref())).await?;
        // That of all pages. Should they differ, what has changed since the first one is told again.
        let version = version(server, &list)?;
        let version = first.get_or_insert(version);
        for slice in list.items.unwrap_or_default() {
            take(&mut all, slice).map_err(|_| server.has_too_many())?;
        }
        match list.metadata.next.filter(|next| !next.is_empty()) {
            None => return Ok((all, std::mem::take(version))),
            more if more == next => {
                let what = "answers with the same page again";
                return Err(server.failed(Kind::Transport, what).into());
            }
            more => next = more,
        }
    }
    Err(server.has_too_many().into())
}

async fn page(server: &Server, target: &str) -> Result<SliceList<EndpointSlice>, Failure> {
    let body = server.get(target).await?;
    Ok(SliceList::read(&body).map_err(|error| {
        server.failed(Kind::Transport, "answers with no list of slices").caused_by(error)
    })?)
}

fn version(server: &Server, list: &SliceList<EndpointSlice>) -> Result<String, Error> {
    let version = list.metadata.resource_version.clone().filter(|version| !version.is_empty());
    version.ok_or_else(|| server.failed(Kind::Transport, "answers with a list without a version"))
}
