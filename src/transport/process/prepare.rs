//! What a child does before it becomes the plugin. This is the only file of the crate with unsafe code.
#![allow(unsafe_code)]

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::Command,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Resource, Rlimit, getpid, getppid, setrlimit},
};

/// Most that the child may use of a resource.
pub(super) type Limit = (Resource, u64);

/// Has the child bound itself by `limits`, keep `file` open, and die with the thread that starts it, where
/// the system can do that.
pub(super) fn prepare(command: &mut Command, limits: Vec<Limit>, file: Option<OwnedFd>) {
    let host = getpid();
    let before_exec = move || {
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        }
        // It may have died before.
        if getppid() != Some(host) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if let Some(file) = &file {
            fcntl_setfd(file, FdFlags::empty())?;
        }
        for (resource, most) in &limits {
            let most = Some(*most);
            setrlimit(*resource, Rlimit { current: most, maximum: most })?;
        }
        Ok(())
    };
    // SAFETY: between `fork` and `exec`, only what is safe in a signal handler may be done, since another
    // thread may have held any lock. The closure makes system calls of `rustix`, which take no lock and
    // allocate nothing; so does an `io::Error` of a kind or of a number of the system. What it reads was
    // allocated before, and it drops nothing.
    unsafe {
        command.pre_exec(before_exec);
    }
}
