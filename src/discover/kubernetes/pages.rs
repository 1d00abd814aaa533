//! A list that comes in pages.

use super::{
    object::{EndpointSlice, SliceList},
    query::Target,
    server::{Failure, Server},
};
use crate::error::{Error, Kind};

/// Most pages, so that a list ends.
const MAX_PAGES: usize = 1_000;

/// All slices of a target, and their version.
///
/// If the list changes for longer than the server keeps it (410), all is asked for at once.
pub(super) async fn all(
    server: &Server,
    target: &Target,
) -> Result<(Vec<EndpointSlice>, String), Error> {
    match paged(server, target).await {
        Err(failure) if failure.is_expired() => {
            tracing::debug!("the pages of a list are over; it is asked for at once");
            let list = page(server, &target.whole()).await?;
            let version = version(server, &list)?;
            Ok((list.items.unwrap_or_default(), version))
        }
        all => Ok(all?),
    }
}

async fn paged(server: &Server, target: &Target) -> Result<(Vec<EndpointSlice>, String), Failure> {
    let (mut all, mut next) = (Vec::new(), None::<String>);
    for _ in 0..MAX_PAGES {
        let list = page(server, &target.page(next.as_deref())).await?;
        let version = version(server, &list)?;
        all.extend(list.items.unwrap_or_default());
        next = list.metadata.next.filter(|next| !next.is_empty());
        if next.is_none() {
            return Ok((all, version));
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
