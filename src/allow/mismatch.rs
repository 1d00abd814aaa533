use std::fmt;

use super::digest::Sha256;

/// Hash of a program that is not the one on the list: the source of the error of code `RPC_2004`.
///
/// # Example
/// ```
/// use std::error::Error as _;
/// use tower_upstream::{Error, allow::{HashMismatch, Sha256}};
///
/// /// What is there instead.
/// fn found(error: &Error) -> Option<Sha256> {
///     error.source()?.downcast_ref::<HashMismatch>().map(|mismatch| mismatch.actual)
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HashMismatch {
    /// Hash that the list has.
    pub expected: Sha256,
    /// Hash of the program.
    pub actual: Sha256,
}

impl fmt::Display for HashMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hash_mismatch (expected: {}, actual: {})", self.expected, self.actual)
    }
}

impl std::error::Error for HashMismatch {}
