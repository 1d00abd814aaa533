//! A config file, if its path and what is there are fit to be read.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use super::value::{Flaw, Place};
use crate::error::Code;

/// No config file is longer, in bytes.
const MAX_FILE: u64 = 10 << 20;

/// No path is longer, in bytes.
const MAX_PATH: usize = 4_095;

/// The bytes of a config file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Flaw> {
    check_path(path.as_os_str())?;
    with_content(of_regular(path, MAX_FILE)?)
}

/// The bytes of a config that is no file.
pub(crate) fn read_from(reader: impl Read) -> Result<Vec<u8>, Flaw> {
    with_content(of_reader(reader, MAX_FILE)?)
}

fn with_content(bytes: Vec<u8>) -> Result<Vec<u8>, Flaw> {
    if bytes.is_empty() {
        Err(flaw(Code::CONFIG_1706, "the file has no content"))
    } else {
        Ok(bytes)
    }
}

/// The bytes of a regular file that is no longer than `most`.
pub(crate) fn of_regular(path: &Path, most: u64) -> Result<Vec<u8>, Flaw> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            flaw(Code::CONFIG_1701, "the file does not exist")
        }
        io::ErrorKind::PermissionDenied => flaw(Code::CONFIG_1707, "the file must not be read"),
        _ => flaw(Code::CONFIG_1706, &format!("the file cannot be read: {error}")),
    };
    // First, since a pipe waits for a writer when it is opened.
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(flaw(Code::CONFIG_1706, "this is no regular file"));
    }
    if metadata.len() > most {
        return Err(too_long(most));
    }
    of_reader(File::open(path).map_err(failed)?, most)
}

/// The bytes of what is no longer than `most`.
fn of_reader(reader: impl Read, most: u64) -> Result<Vec<u8>, Flaw> {
    let mut bytes = Vec::new();
    match reader.take(most + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() as u64 <= most => Ok(bytes),
        Ok(_) => Err(too_long(most)),
        Err(error) => Err(flaw(Code::CONFIG_1706, &format!("the file cannot be read: {error}"))),
    }
}

#[cold]
fn too_long(most: u64) -> Flaw {
    let most =
        if most >> 20 == 0 { format!("{} KiB", most >> 10) } else { format!("{} MiB", most >> 20) };
    flaw(Code::CONFIG_1706, &format!("the file is longer than {most}"))
}

fn flaw(code: Code, what: &str) -> Flaw {
    Flaw::new(code, Place::Nowhere, what)
}

/// In the order of the Go plugin manager.
fn check_path(path: &OsStr) -> Result<(), Flaw> {
    let bytes = path.as_encoded_bytes();
    let has = |part: &[u8]| bytes.windows(part.len()).any(|of| of.eq_ignore_ascii_case(part));
    let wrong = if bytes.is_empty() {
        "the path is empty"
    } else if bytes.contains(&0) {
        "the path holds a NUL"
    } else if has(b"..") || has(b"%2e%2e") {
        "the path holds `..`; write it without, such as from the root on"
    } else if bytes.len() > MAX_PATH {
        "the path is longer than 4095 bytes"
    } else if bytes.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        "the path holds a control character"
    } else {
        return Ok(());
    };
    Err(flaw(Code::CONFIG_1705, wrong))
}
