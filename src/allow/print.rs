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

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        time::{Duration, SystemTime},
    };

    use super::*;

    #[test]
    fn a_file_is_another_by_its_inode_its_time_or_its_size() {
        let path = std::env::temp_dir().join(format!("tu-print-{}", std::process::id()));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let write = |text: &str, at: SystemTime| {
            fs::write(&path, text).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        };
        let print = || Print::of(&fs::metadata(&path).unwrap());
        write("abc", at);
        let first = print();
        write("xyz", at + Duration::from_nanos(1));
        assert_ne!(print(), first, "time");
        write("abcd", at);
        assert_ne!(print(), first, "size");
        write("abc", at);
        assert_eq!(print(), first);
        // The old one stays, so that its number is not given to the new one.
        let old = path.with_extension("old");
        fs::rename(&path, &old).unwrap();
        write("abc", at);
        assert_ne!(print(), first, "inode");
        let other = Print { device: first.device + 1, ..first.clone() };
        assert_ne!(other, first, "device");
        let _ = (fs::remove_file(&path), fs::remove_file(&old));
    }
}
