//! Writes answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    error::BoxError,
    plugin::{
        Reply,
        wire::process::{LineAnswer, line},
    },
    serve::failure::{Failure, or_unknown},
};

static NONE: BTreeMap<String, String> = BTreeMap::new();

pub(super) fn success<U: Serialize>(id: &str, reply: &Reply<U>) -> Vec<u8> {
    let answer = LineAnswer { result: Some(reply.body()), metadata: reply.metadata(), ..empty(id) };
    line(&answer).unwrap_or_else(|error| failed(id, &format!("cannot write the answer: {error}")))
}

/// What the plugin tells of itself.
pub(super) fn told<U: Serialize>(id: &str, result: &U) -> Vec<u8> {
    line(&LineAnswer { result: Some(result), ..empty(id) }).unwrap_or_default()
}

pub(super) fn failure(id: &str, error: &BoxError) -> Vec<u8> {
    let failure = Failure::new(error);
    let answer = LineAnswer::<()> {
        error: Some(or_unknown(&failure.text)),
        status: failure.status(),
        retry_after_ms: failure.retry_after_ms(),
        ..empty(id)
    };
    line(&answer).unwrap_or_default()
}

/// The plugin failed, or the question is none.
pub(super) fn failed(id: &str, text: &str) -> Vec<u8> {
    let answer = LineAnswer::<()> { error: Some(or_unknown(text)), ..empty(id) };
    line(&answer).unwrap_or_default()
}

fn empty<T>(id: &str) -> LineAnswer<'_, T> {
    LineAnswer {
        id,
        result: None,
        error: None,
        metadata: &NONE,
        status: None,
        retry_after_ms: None,
    }
}
