//! What a program writes, from its start to its end.

use std::{
    future::poll_fn,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    pin::pin,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use futures_util::future::{Either, select, try_join};
use tokio::{
    io::{AsyncReadExt, Take},
    net::unix::pipe::Receiver,
    time::timeout,
};
use zeroize::Zeroizing;

use super::program::Program;
use crate::{
    child::{self, Child},
    error::{Error, cut},
};

/// Most that it may write. A certificate has some thousand bytes.
const MAX_TOLD: usize = 256 << 10;
/// How long its output is waited for when it has ended: something that it left behind may hold it open.
const LAST_BREATH: Duration = Duration::from_secs(1);
/// How much is kept of the end of what it says on stderr, and how much of its last line is told on.
const MAX_SAID: usize = 4 << 10;
const MAX_LINE: usize = 256;

/// What it writes, if it ends well.
pub(super) async fn output(program: &Arc<Program>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (own, named) = (program.clone(), program.clone());
    let make = move || {
        let mut command = own.command()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // So that what it starts ends with it.
        command.process_group(0);
        Ok((command, ()))
    };
    let cannot = move |error: io::Error| named.failed("cannot be run").caused_by(error);
    let (mut child, pipes, ()) = child::start(make, cannot.clone()).await?;
    let stdout = receiver(pipes.stdout.map(OwnedFd::from)).map_err(&cannot)?;
    let stderr = receiver(pipes.stderr.map(OwnedFd::from)).map_err(&cannot)?;
    let unread = |error: io::Error| program.failed("cannot be read").caused_by(error);
    // With room for all, so that it is nowhere else in the memory.
    let mut told = Zeroizing::new(Vec::with_capacity(MAX_TOLD + 64));
    let mut said = Vec::with_capacity(2 * MAX_SAID);
    let mut stdout = stdout.take(MAX_TOLD as u64 + 1);
    let status = {
        let reading = pin!(try_join(whole(&mut stdout, &mut told), tail(stderr, &mut said)));
        let exit = pin!(exit(&mut child));
        match select(exit, reading).await {
            Either::Left((status, reading)) => {
                if let Ok(read) = timeout(LAST_BREATH, reading).await {
                    read.map_err(unread)?;
                }
                status
            }
            Either::Right((read, exit)) => {
                read.map_err(unread)?;
                exit.await
            }
        }
    };
    let status = status.map_err(&cannot)?;
    if !status.success() {
        let line = last_line(&said);
        let line = if line.is_empty() { line } else { format!(": {line}") };
        return Err(program.failed(&format!("ends with {status}{line}")));
    }
    Ok(told)
}

fn receiver(pipe: Option<OwnedFd>) -> io::Result<Receiver> {
    Receiver::from_owned_fd(pipe.ok_or(io::ErrorKind::BrokenPipe)?)
}

async fn exit(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    poll_fn(|cx| child.poll_exit(cx)).await
}

async fn whole(from: &mut Take<Receiver>, into: &mut Vec<u8>) -> io::Result<()> {
    from.read_to_end(into).await?;
    match into.len() > MAX_TOLD {
        true => Err(io::Error::other(format!("it writes more than {MAX_TOLD} bytes"))),
        false => Ok(()),
    }
}

/// Reads all, and keeps the end of it.
async fn tail(mut from: Receiver, into: &mut Vec<u8>) -> io::Result<()> {
    while from.read_buf(into).await? > 0 {
        let surplus = into.len().saturating_sub(MAX_SAID);
        into.drain(..surplus);
    }
    Ok(())
}

fn last_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    cut(line.unwrap_or_default(), MAX_LINE).escape_debug().collect()
}
