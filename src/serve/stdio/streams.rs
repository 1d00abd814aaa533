//! The stdin and stdout of this process, taken for the answers alone.

use std::{
    fs::File,
    io::{self, Write},
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    pin::Pin,
    task::{Context, Poll},
    thread,
};

use rustix::{
    fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat},
    io::fcntl_dupfd_cloexec,
    stdio::{dup2_stdin, dup2_stdout, stderr, stdin, stdout},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        UnixStream,
        unix::pipe::{Receiver, Sender},
    },
};

/// What was stdin and stdout. Until this is dropped, stdin is empty, so that no child of this process reads
/// what is meant for it, and what is printed goes to stderr, so that it does not stand between answers.
pub(super) struct Taken {
    stdin: OwnedFd,
    stdout: OwnedFd,
}

impl Taken {
    pub(super) fn new() -> io::Result<(Self, Input, Output)> {
        // Not over 0, 1 or 2, should those be closed.
        let taken = Self {
            stdin: fcntl_dupfd_cloexec(stdin(), 3)?,
            stdout: fcntl_dupfd_cloexec(stdout(), 3)?,
        };
        let input = Input::new(taken.stdin.try_clone()?)?;
        let output = Output::new(taken.stdout.try_clone()?)?;
        dup2_stdin(File::open("/dev/null")?)?;
        io::stdout().flush()?;
        dup2_stdout(stderr())?;
        Ok((taken, input, output))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = io::stdout().flush();
        for file in [&self.stdin, &self.stdout] {
            if let Ok(flags) = fcntl_getfl(file) {
                let _ = fcntl_setfl(file, flags - OFlags::NONBLOCK);
            }
        }
        let _ = dup2_stdin(&self.stdin);
        let _ = dup2_stdout(&self.stdout);
    }
}

/// What hosts connect is a pipe, or a socket, as of Node.
fn is_a(file: &OwnedFd, kind: FileType) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(file)?.st_mode) == kind)
}

fn socket(file: OwnedFd) -> io::Result<UnixStream> {
    let stream = StdStream::from(file);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

pub(super) enum Input {
    Pipe(Receiver),
    Socket(UnixStream),
}

impl Input {
    fn new(file: OwnedFd) -> io::Result<Self> {
        if is_a(&file, FileType::Socket)? {
            return Ok(Self::Socket(socket(file)?));
        }
        if is_a(&file, FileType::Fifo)? {
            return Ok(Self::Pipe(Receiver::from_owned_fd(file)?));
        }
        // A terminal or a file, which a thread reads. It ends with the process.
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (mut from, mut to) = (File::from(file), File::from(write));
        thread::Builder::new()
            .name("upstream-stdin".to_owned())
            .spawn(move || io::copy(&mut from, &mut to))?;
        Ok(Self::Pipe(Receiver::from_owned_fd(read)?))
    }
}

impl AsyncRead for Input {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buffer),
            Self::Socket(socket) => Pin::new(socket).poll_read(cx, buffer),
        }
    }
}

pub(super) enum Output {
    Pipe(Sender),
    Socket(UnixStream),
    /// A terminal or a file, which is written at once.
    File(File),
}

impl Output {
    fn new(file: OwnedFd) -> io::Result<Self> {
        if is_a(&file, FileType::Socket)? {
            return Ok(Self::Socket(socket(file)?));
        }
        if is_a(&file, FileType::Fifo)? {
            return Ok(Self::Pipe(Sender::from_owned_fd(file)?));
        }
        Ok(Self::File(file.into()))
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Pipe(pipe) => Pin::new(pipe).poll_write(cx, bytes),
            Self::Socket(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::File(file) => Poll::Ready(file.write(bytes)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Pipe(pipe) => Pin::new(pipe).poll_write_vectored(cx, slices),
            Self::Socket(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::File(file) => Poll::Ready(file.write_vectored(slices)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
