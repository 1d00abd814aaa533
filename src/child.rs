//! A child process: started, waited for and reaped by a thread of its own.
//!
//! The system ends a child when the *thread* that started it ends, so that thread must live as long as the
//! child. It waits for it meanwhile, so a child is reaped whatever becomes of the runtime.

use std::{
    io,
    process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::oneshot;

use crate::{error::Error, sync::lock};

/// A child that was started. Dropping it kills it, and all of its process group.
#[derive(Debug)]
pub(crate) struct Child {
    group: Arc<Group>,
    exit: oneshot::Receiver<io::Result<ExitStatus>>,
}

/// Its ends of the pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    #[cfg_attr(not(feature = "process"), allow(dead_code))]
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

/// The processes of the child's group.
#[derive(Debug)]
struct Group {
    pid: Pid,
    /// Its number may belong to others by now.
    is_gone: Mutex<bool>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        let is_gone = lock(&self.is_gone);
        if !*is_gone {
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Waits until the child has ended, and ends what it left behind in its group.
    fn reap(&self, child: &mut std::process::Child) -> io::Result<ExitStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let wait = || waitid(WaitId::Pid(self.pid), options);
        while matches!(wait(), Err(rustix::io::Errno::INTR)) {}
        // Until it is reaped, no other process or group can get its number.
        let mut is_gone = lock(&self.is_gone);
        let _ = kill_process_group(self.pid, Signal::KILL);
        *is_gone = true;
        child.wait()
    }
}

/// Starts what `make` says, and returns what else that says. What the system refuses is the error that `cannot`
/// makes of it.
///
/// # Cancel safety
/// Dropping the future kills the child, if there is one by then.
pub(crate) async fn start<T: Send + 'static>(
    make: impl FnOnce() -> Result<(Command, T), Error> + Send + 'static,
    cannot: impl Fn(io::Error) -> Error + Clone + Send + 'static,
) -> Result<(Child, Pipes, T), Error> {
    let (tell, told) = oneshot::channel();
    let refused = cannot.clone();
    let run = move || {
        let (tell_exit, exit) = oneshot::channel();
        let started = make().and_then(|(mut command, more)| {
            let child = command.spawn().map_err(&refused)?;
            // In here are files that were opened for the child alone.
            drop(command);
            Ok((child, more))
        });
        let (mut child, more) = match started {
            Ok(started) => started,
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        let pipes = Pipes {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
        };
        let group = Arc::new(Group { pid: Pid::from_child(&child), is_gone: Mutex::new(false) });
        // If this is not wanted any more, it is dropped here, and so killed.
        let _ = tell.send(Ok((Child { group: group.clone(), exit }, pipes, more)));
        let _ = tell_exit.send(group.reap(&mut child));
    };
    let thread = thread::Builder::new().name("upstream-child".to_owned());
    thread.stack_size(256 << 10).spawn(run).map_err(&cannot)?;
    // The thread always tells, unless it panicked.
    told.await.unwrap_or_else(|_| Err(cannot(io::ErrorKind::Other.into())))
}

impl Child {
    #[cfg(feature = "process")]
    pub(crate) fn pid(&self) -> i32 {
        self.group.pid.as_raw_nonzero().get()
    }

    /// Sends a signal to all of its process group.
    pub(crate) fn signal(&self, signal: Signal) {
        self.group.signal(signal);
    }

    /// Polls for its end, by which it is reaped.
    pub(crate) fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        let exit = std::pin::Pin::new(&mut self.exit);
        exit.poll(cx).map(|exit| exit.unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
