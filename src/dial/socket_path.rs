//! Paths of sockets.

use std::{fs, io};

use crate::error::{Code, Error, Kind};

/// Longest path that a socket can have on Linux; other systems allow a little less.
const MAX_PATH: usize = 107;

/// Checks a path as it is written.
pub(crate) fn check(path: &str) -> Result<(), Error> {
    let error = Error::not_sent(Kind::InvalidConfig);
    if path.is_empty() {
        let error = error.coded(Some(Code::PLUGIN_1006));
        return Err(error.message("socket path (endpoint) is required"));
    }
    let shown = path.escape_debug();
    let problem = if !path.starts_with('/') {
        "it is not absolute".to_owned()
    } else if path.len() > MAX_PATH {
        format!("it has {} bytes, and a socket can have at most {MAX_PATH}", path.len())
    } else if path.contains(char::is_control) {
        "it holds a control character".to_owned()
    } else if path.split('/').any(|part| part == "..") {
        return Err(error
            .coded(Some(Code::SECURITY_1804))
            .message(format!("cannot use the socket path `{shown}`: it holds `..`")));
    } else {
        return Ok(());
    };
    Err(error.message(format!("cannot use the socket path `{shown}`: {problem}")))
}

/// Refuses a link in the place of the socket, which may lead anywhere by the time that it is used.
pub(crate) fn check_file(path: &str) -> Result<(), Error> {
    if is_link(path) {
        return Err(Error::not_sent(Kind::Connection)
            .coded(Some(Code::SECURITY_1804))
            .message(format!("`{path}` is a symbolic link, not a socket")));
    }
    Ok(())
}

fn is_link(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_symlink())
}

/// What stands in the place where a socket shall be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Socket,
    Other,
}

/// Looks at the file itself, never where a link leads.
pub(crate) fn find(path: &str) -> io::Result<Found> {
    use std::os::unix::fs::FileTypeExt;
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(Found::Socket),
        Ok(_) => Ok(Found::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_cannot_be_or_lead_elsewhere_are_refused() {
        let long = format!("/{}", "x".repeat(106));
        assert!(check(&long).is_ok() && check("/run/tax..v2/a.sock").is_ok());
        for (path, part, code) in [
            ("", "socket path (endpoint) is required", Code::PLUGIN_1006),
            ("run/tax.sock", "not absolute", Code::CONFIG_1703),
            (&format!("{long}x"), "108 bytes", Code::CONFIG_1703),
            ("/run/a\nb", "control character", Code::CONFIG_1703),
            ("/run/../etc/x", "`..`", Code::SECURITY_1804),
            ("/run/..", "`..`", Code::SECURITY_1804),
        ] {
            let error = check(path).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!((error.code(), error.is_unsent()), (code, true));
        }
    }
}
