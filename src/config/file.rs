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

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Flaw> {
    check_path(path.as_os_str())?;
    let flaw = |code, what: &str| Flaw::new(code, Place::Nowhere, what);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            flaw(Code::CONFIG_1701, "the file does not exist")
        }
        io::ErrorKind::PermissionDenied => flaw(Code::CONFIG_1707, "the file must not be read"),
        _ => flaw(Code::CONFIG_1706, &format!("the file cannot be read: {error}")),
    };
    let too_long = || flaw(Code::CONFIG_1706, "the file is longer than 10 MiB");
    // First, since a pipe waits for a writer when it is opened.
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(flaw(Code::CONFIG_1706, "this is no regular file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 {
        0 => Err(flaw(Code::CONFIG_1706, "the file has no content")),
        1..=MAX_FILE => Ok(bytes),
        _ => Err(too_long()),
    }
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
    Err(Flaw::new(Code::CONFIG_1705, Place::Nowhere, wrong))
}
