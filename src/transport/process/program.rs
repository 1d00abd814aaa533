//! The program of an endpoint: what is executed, and whether that is still what the path leads to.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::Resource;

use super::{config::ProcessConfig, prepare::prepare};
use crate::{
    allow::{self, AllowList, Candidate, Checked, Print},
    endpoint::{Address, Endpoint},
    error::{Code, Error, Kind},
};

/// The path of the program at an address.
pub(super) fn path_of(address: &Address) -> Result<String, Error> {
    let error = Error::not_sent(Kind::InvalidConfig);
    let path = address.path();
    if address.scheme() != Some("exec") {
        return Err(error
            .message(format!("the process transport cannot reach `{address}`: use `exec:/path`")));
    }
    let shown = path.escape_debug();
    if path.contains(char::is_control) {
        return Err(error
            .coded(Some(Code::CONFIG_1705))
            .message(format!("cannot use the path `{shown}`: it holds a control character")));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(error
            .coded(Some(Code::SECURITY_1804))
            .message(format!("cannot use the path `{shown}`: it holds `..`")));
    }
    Ok(path.to_owned())
}

/// A file as it was when it was first executed. It stays open, so that it can be executed again after
/// another has taken its place.
#[derive(Debug)]
pub(super) struct Program {
    path: String,
    file: File,
    print: Print,
}

impl Program {
    pub(super) fn open(path: &str) -> Result<Self, Error> {
        let cannot = |error: io::Error| {
            Error::not_sent(Kind::Connection)
                .message(format!("cannot start the plugin `{}`", path.escape_debug()))
                .caused_by(error)
        };
        let file = open(path).map_err(cannot)?;
        let found = file.metadata().map_err(cannot)?;
        if !found.is_file() {
            return Err(cannot(io::Error::other("it is no file")));
        }
        Ok(Self { path: path.to_owned(), file, print: Print::of(&found) })
    }

    /// Whether the path leads to another file by now, or to none.
    pub(super) fn is_replaced(&self) -> bool {
        !fs::metadata(&self.path).is_ok_and(|found| Print::of(&found) == self.print)
    }

    /// Whether the file itself was written to, so that what was executed is nowhere any more.
    pub(super) fn is_rewritten(&self) -> bool {
        !self.file.metadata().is_ok_and(|found| Print::of(&found) == self.print)
    }

    /// Whether it may run, by the file itself.
    pub(super) fn check(&self, list: &AllowList, endpoint: &Endpoint) -> Result<Checked, Error> {
        let by_file = by_file(&self.file).map_err(cannot)?;
        let real_path = by_file.as_ref().and_then(|(path, _)| fs::read_link(path).ok());
        let metadata = |key| endpoint.metadata().get(key).map(String::as_str);
        let address = endpoint.address().to_string();
        let program = Candidate {
            plugin: metadata("plugin").unwrap_or(endpoint.key()),
            purpose: metadata("type"),
            version: metadata("version"),
            address: &address,
            path: &self.path,
            real_path: real_path.as_deref(),
            size: self.file.metadata().map_err(cannot)?.len(),
        };
        list.check(&program, || match &by_file {
            Some((path, _file)) => allow::open(Path::new(path)),
            None => Err(io::Error::other("this system cannot execute an open file")),
        })
    }

    /// How to execute it: by its path while that leads to it, and else, or if it `is_checked`, the file
    /// itself.
    pub(super) fn command(&self, config: &ProcessConfig, is_checked: bool) -> io::Result<Command> {
        let (mut command, file) = match by_file(&self.file)? {
            Some((path, file)) if is_checked || self.is_replaced() => {
                (Command::new(path), Some(file))
            }
            _ => (Command::new(&self.path), None),
        };
        command
            .arg0(&self.path)
            .args(&config.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // So that signals reach what it starts, and those of a terminal do not reach it.
            .process_group(0);
        if !config.work_dir.is_empty() {
            command.current_dir(&config.work_dir);
        }
        if !config.inherits_all() {
            command.env_clear();
            for name in &config.inherit_env {
                if let Some(value) = std::env::var_os(name) {
                    command.env(name, value);
                }
            }
        }
        for (name, value) in &config.env {
            command.env(name, value.expose());
        }
        command.envs(config.handshake.variables());
        let limits = [
            (Resource::As, config.max_memory_bytes),
            (Resource::Nofile, config.max_open_files),
            (Resource::Cpu, config.max_cpu_seconds),
        ];
        let limits = limits.into_iter().filter(|(_, most)| *most > 0).collect();
        prepare(&mut command, limits, file);
        Ok(command)
    }
}

/// The error for what the system refuses when a process is to be started.
pub(super) fn cannot(error: io::Error) -> Error {
    let missing = match error.kind() {
        // Its file is open.
        io::ErrorKind::NotFound => {
            "; the program is there, but not what runs it (the interpreter in its first line, or its \
             loader), or not its `work_dir`"
        }
        _ => "",
    };
    Error::not_sent(Kind::Connection)
        .message(format!("subprocess execution failed: cannot start the plugin's process{missing}"))
        .caused_by(error)
}

/// Without the right to read it, which a program need not have.
#[cfg(target_os = "linux")]
fn open(path: &str) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.into())
}

#[cfg(not(target_os = "linux"))]
fn open(path: &str) -> io::Result<File> {
    File::open(path)
}

/// A path that leads to the open file itself, and the file, which the child must keep open: a script is
/// opened once more by what runs it. `None` where the system has no such path.
fn by_file(file: &File) -> io::Result<Option<(String, OwnedFd)>> {
    let file = OwnedFd::from(file.try_clone()?);
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(Path::new(&path).exists().then_some((path, file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_reached() {
        let path = |address: &str| path_of(&address.parse().unwrap());
        assert_eq!(path("exec:/opt/tax").unwrap(), "/opt/tax");
        assert_eq!(path("exec:///opt/tax").unwrap(), "/opt/tax");
        for (address, code) in [
            ("http://a:1", Code::CONFIG_1703),
            ("unix:/opt/tax", Code::CONFIG_1703),
            ("exec:/opt/../tax", Code::SECURITY_1804),
            ("exec:/opt/t\nax", Code::CONFIG_1705),
        ] {
            let error = path(address).unwrap_err();
            assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, code), "{error}");
            assert!(error.is_unsent());
        }
    }
}
