//! A run of the program that tells the credential of the user: bounded in time and bytes, and ended with its future.

use std::{sync::Arc, time::Duration};

#[cfg(unix)]
use super::output::output;
use super::{credential::Credential, program::Program};
use crate::error::Error;

/// Longest time that it may take: one that asks another service, which may be away.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs it once.
///
/// # Cancel safety
/// Dropping the future kills the program, and what it has started.
pub(super) async fn run(program: &Arc<Program>) -> Result<Credential, Error> {
    let output = tokio::time::timeout(LIMIT, output(program)).await;
    let output =
        output.map_err(|_| program.failed(&format!("does not end within {LIMIT:?}")))??;
    Credential::read(&output, program.version())
        .map_err(|what| program.failed(&format!("tells no credential that can be used: {what}")))
}

#[cfg(not(unix))]
async fn output(program: &Program) -> Result<Vec<u8>, Error> {
    program.command()?;
    Err(program.failed("can be run on Unix only; put a token in a file, and set `token_file`"))
}
