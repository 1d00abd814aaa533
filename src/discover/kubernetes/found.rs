//! The parts of an access, as a place tells them.

use std::path::PathBuf;

use serde_json::Value;

use super::{acts_as::ActsAs, program::Exec, token::TokenSource};
use crate::dial::GivenTls;

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) address: String,
    pub(super) namespace: Option<String>,
    pub(super) token: TokenSource,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    /// The name in the certificate of the server, if it is another than its host.
    pub(super) server_name: Option<String>,
    pub(super) given: GivenTls,
    pub(super) acts_as: ActsAs,
    /// The program that proves the user, if nothing else does, and what the kubeconfig tells it of the cluster.
    pub(super) exec: Option<Exec>,
    pub(super) exec_config: Option<Value>,
}
