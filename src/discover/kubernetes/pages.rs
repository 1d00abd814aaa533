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

/// What `take` makes of all slices of a target, and their version.
///
/// If the list changes for longer than the server keeps it (410), all is asked for at once.
pub(super) async fn all<T: Default>(
    server: &Server,
    target: &Target,
    take: impl Fn(&mut T, EndpointSlice) -> Result<(), TooMany>,
) -> Result<(T, String), Error> {
    match paged(server, target, &take).await {
        Err(failure) if failure.is_expired() => {
            tracing::debug!("the pages of a list are over; it is asked for at once");
            let list = page(server, &target.whole()).await?;
            let (mut all, version) = (T::default(), version(server, &list)?);
            for slice in list.items.unwrap_or_default() {
                take(&mut all, slice).map_err(|_| server.has_too_many())?;
            }
            Ok((all, version))
        }
        all => Ok(all?),
    }
}

async fn paged<T: Default>(
    server: &Server,
    target: &Target,
    take: &impl Fn(&mut T, EndpointSlice) -> Result<(), TooMany>,
) -> Result<(T, String), Failure> {
    let (mut all, mut next) = (T::default(), None::<String>);
    for _ in 0..MAX_PAGES {
        let list = page(server, &target.page(next.as_deref())).await?;
        let version = version(server, &list)?;
        for slice in list.items.unwrap_or_default() {
            take(&mut all, slice).map_err(|_| server.has_too_many())?;
        }
        match list.metadata.next.filter(|next| !next.is_empty()) {
            None => return Ok((all, version)),
            more if more == next => {
                let what = "answers with the same page again";
                return Err(server.failed(Kind::Transport, what).into());
            }
            more => next = more,
        }
    }
    Err(server.has_too_many().into())
}

async fn page(server: &Server, target: &str) -> Result<SliceList, Failure> {
    let body = server.get(target).await?;
    Ok(serde_json::from_slice(&body).map_err(|error| {
        server.failed(Kind::Transport, "answers with no list of slices").caused_by(error)
    })?)
}

/// That of all pages, which the server keeps for the list.
fn version(server: &Server, list: &SliceList) -> Result<String, Error> {
    let version = list.metadata.resource_version.clone().filter(|version| !version.is_empty());
    version.ok_or_else(|| server.failed(Kind::Transport, "answers with a list without a version"))
}
