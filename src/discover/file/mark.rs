//! What tells one state of a file from another without reading it.

use std::{
    fs::Metadata,
    time::{Duration, SystemTime},
};

/// A file with another mark has other bytes, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    length: u64,
    modified: Option<SystemTime>,
    /// Device and file, and when anything of that changed: a rename puts another file in its place, and a link may
    /// lead to another one.
    #[cfg(unix)]
    file: (u64, u64, i64, i64),
}

/// Time within which a file system may give two changes the same moment.
const GRAIN: Duration = Duration::from_secs(2);

impl Mark {
    pub(super) fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            file: (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether a change from `now` on gives another mark: not if the last one was just before.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let since = self.modified.and_then(|at| now.duration_since(at).ok());
        since.is_some_and(|since| since >= GRAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_was_just_before_may_not_be_the_last_with_its_mark() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let mark = Mark {
            length: 1,
            modified: Some(at),
            #[cfg(unix)]
            file: (0, 0, 0, 0),
        };
        assert!(mark.is_settled(at + GRAIN) && !mark.is_settled(at + GRAIN / 2));
        // From the future, or unknown.
        assert!(!mark.is_settled(at - GRAIN));
        assert!(!Mark { modified: None, ..mark }.is_settled(at + GRAIN));
    }
}
