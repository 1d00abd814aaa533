//! What is wrong with how Kubernetes is to be reached.

use crate::error::{Error, Kind};

pub(super) fn mistake(text: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(format!("Kubernetes: {text}"))
}
