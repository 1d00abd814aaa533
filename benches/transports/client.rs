//! What all clients send and read.

use std::{future::Future, pin::Pin};

use serde::{Deserialize, Serialize};

/// The question, with 100 bytes of data.
#[derive(Serialize)]
pub(crate) struct Question<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<&'a str>,
    pub(crate) request_id: &'a str,
    pub(crate) data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<&'a str>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "all of it is parsed, as ours is")]
pub(crate) struct Answer {
    pub(crate) data: String,
    pub(crate) request_id: String,
    #[serde(default)]
    pub(crate) success: bool,
}

pub(crate) const ID: &str = "r-1";

pub(crate) fn echoed() -> String {
    "x".repeat(100)
}

/// A client of the echo.
pub(crate) trait Client {
    /// One call. Returns how many bytes came back.
    fn call(&self) -> impl Future<Output = usize> + 'static;
}

/// A client by name, so that one loop runs them all. The box is one allocation of each call.
pub(crate) type Caller = Box<dyn Fn() -> Pin<Box<dyn Future<Output = usize>>>>;

pub(crate) fn caller(client: impl Client + 'static) -> Caller {
    Box::new(move || Box::pin(client.call()))
}
