//! Writes what a plugin is asked.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    error::Error,
    plugin::{
        Call,
        wire::{
            process::{LineContext, LineQuestion, line},
            unwritable,
        },
    },
    time,
};

/// Longest time of a question for the health or the description. As in Go.
pub(super) const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The line that asks for `method`, with the `id` of the call. Headers and metadata are those of calls alone.
pub(super) fn write<T: Serialize>(
    method: &str,
    id: &str,
    call: &Call<impl Sized>,
    payload: Option<&T>,
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    let headers = if payload.is_some() { call.headers() } else { &NONE };
    let context = LineContext {
        request_id: id,
        // Some time is never told as none; Go reads no number that is greater.
        timeout: time::nanos(timeout).min(i64::MAX as u64),
        max_retries: call.max_retries(),
        headers,
        metadata: call.metadata(),
    };
    let question = LineQuestion { id, method, payload, context };
    line(&question).map_err(|error| unwritable("the call", error))
}
