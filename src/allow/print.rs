//! What tells a file from another one, and from what it was before.

use std::{fs::Metadata, os::unix::fs::MetadataExt};

/// What tells a file from another one in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Print {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    size: u64,
}

impl Print {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.size(),
        }
    }
}

/// What also tells a file from itself before it was written to, whatever its times were set to then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    print: Print,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(found: &Metadata) -> Self {
        Self { print: Print::of(found), changed: (found.ctime(), found.ctime_nsec()) }
    }
}
