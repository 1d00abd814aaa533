//! One round over all instances of a session: each of them is told, whatever becomes of the others.

use std::{pin::pin, time::Duration};

use futures_util::stream::{self, StreamExt};

use super::{instance::Instance, registrar::Kept};
use crate::error::Error;

/// Where the next round begins: one that ran out of time goes on there.
#[derive(Debug, Default)]
pub(in crate::discover) struct Round {
    first: usize,
}

impl Round {
    /// Calls `tell` for all, at most `parallel` at once and for at most `limit`. `Ok(false)` of it: the backend has
    /// lost that instance.
    ///
    /// # Errors
    /// The first of `tell`, or `slow` if there was no time for all. A loss counts more: it has to be mended.
    pub(in crate::discover) async fn run<F>(
        &mut self,
        instances: &[Instance],
        (parallel, limit): (usize, Duration),
        tell: impl Fn(Instance) -> F,
        slow: impl FnOnce() -> Error,
    ) -> Result<Kept, Error>
    where
        F: Future<Output = Result<bool, Error>>,
    {
        let mut instances = instances.to_vec();
        let first = self.first.checked_rem(instances.len()).unwrap_or(0);
        instances.rotate_left(first);
        let mut told = pin!(stream::iter(instances).map(tell).buffered(parallel));
        let (mut knows_all, mut failed) = (true, None);
        let round = async {
            while let Some(told) = told.next().await {
                self.first = self.first.wrapping_add(1);
                match told {
                    Ok(is_known) => knows_all &= is_known,
                    Err(error) => drop(failed.get_or_insert(error)),
                }
            }
        };
        let in_time = tokio::time::timeout(limit, round).await;
        match failed {
            _ if !knows_all => Ok(Kept::Lost),
            Some(error) => Err(error),
            None if in_time.is_err() => Err(slow()),
            None => Ok(Kept::Alive),
        }
    }
}
