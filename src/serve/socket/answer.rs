//! Writes answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    error::BoxError,
    plugin::{
        HealthStatus, PluginInfo, Reply,
        wire::stream::{Asked, HEALTH, INFO, StreamAnswer, message},
    },
    serve::failure::{Failure, or_unknown},
};

static NONE: BTreeMap<String, String> = BTreeMap::new();

pub(super) fn success<U: Serialize>(asked: &Asked<'_>, reply: &Reply<U>) -> Vec<u8> {
    let answer = StreamAnswer {
        data: Some(reply.body()),
        metadata: reply.metadata(),
        ..empty(&asked.operation, &asked.request_id, true)
    };
    message(&answer)
        .unwrap_or_else(|error| failed(asked, &format!("cannot write the answer as JSON: {error}")))
}

pub(super) fn failure(asked: &Asked<'_>, error: &BoxError) -> Vec<u8> {
    let failure = Failure::new(error);
    told(&StreamAnswer::<()> {
        error: or_unknown(&failure.text),
        status: failure.status(),
        retry_after_ms: failure.retry_after_ms(),
        ..empty(&asked.operation, &asked.request_id, false)
    })
}

/// The plugin failed, or the question is none.
pub(super) fn failed(asked: &Asked<'_>, text: &str) -> Vec<u8> {
    told(&StreamAnswer::<()> {
        error: or_unknown(text),
        ..empty(&asked.operation, &asked.request_id, false)
    })
}

/// To a message that could not be read, so that nothing of it is known.
pub(super) fn unreadable(text: &str) -> Vec<u8> {
    told(&StreamAnswer::<()> { error: text, ..empty("error", "", false) })
}

/// To a ping, or to the right token.
pub(super) fn done(asked: &Asked<'_>) -> Vec<u8> {
    told(&empty::<()>(&asked.operation, &asked.request_id, true))
}

pub(super) fn info(asked: &Asked<'_>, info: &PluginInfo) -> Vec<u8> {
    told(&StreamAnswer { data: Some(info), ..empty(INFO, &asked.request_id, true) })
}

pub(super) fn health(asked: &Asked<'_>, health: &HealthStatus) -> Vec<u8> {
    let is_usable = health.status.is_usable();
    told(&StreamAnswer {
        data: Some(health),
        error: if is_usable { "" } else { or_unknown(&health.message) },
        ..empty(HEALTH, &asked.request_id, is_usable)
    })
}

fn empty<'a, T>(operation: &'a str, request_id: &'a str, success: bool) -> StreamAnswer<'a, T> {
    StreamAnswer {
        operation,
        request_id,
        success,
        data: None,
        error: "",
        metadata: &NONE,
        status: None,
        retry_after_ms: None,
    }
}

/// Texts and numbers of ours; they can be written.
fn told<T: Serialize>(answer: &StreamAnswer<'_, T>) -> Vec<u8> {
    message(answer).unwrap_or_default()
}
