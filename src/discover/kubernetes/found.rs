//! The parts of an access, as a place tells them.

use std::path::PathBuf;

use super::token::TokenSource;
use crate::{
    dial::GivenTls,
    error::{Error, Kind},
};

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) address: String,
    pub(super) namespace: Option<String>,
    pub(super) token: TokenSource,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) given: GivenTls,
}

pub(super) fn mistake(text: String) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(format!("Kubernetes: {text}"))
}
