//! Sockets on which a plugin is called.

#[cfg(unix)]
use std::os::unix::net;
use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

#[cfg(unix)]
use crate::dial::{
    Users,
    socket_path::{self, Found},
};
use crate::{
    dial::Socket,
    error::{Code, Error, Kind},
    wire::Network,
};

/// Where a listener is.
pub(super) enum Place {
    /// At this path.
    #[cfg(unix)]
    Unix(String),
    Tcp(SocketAddr),
    /// Its address is not known.
    Lost,
}

/// A socket that takes connections of the users or networks that are allowed.
pub(super) enum Listener {
    #[cfg(unix)]
    Unix {
        // Dropped first: once nothing listens, another server may put its own file there.
        file: file::SocketFile,
        listener: UnixListener,
        users: Users,
    },
    Tcp {
        listener: TcpListener,
        /// `None` takes all.
        networks: Option<Vec<Network>>,
    },
}

impl Listener {
    /// Listens at `host:port`, for all networks.
    pub(super) async fn tcp(address: &str) -> Result<Self, Error> {
        let bound = TcpListener::bind(address).await;
        let listener = bound.map_err(|error| cannot_listen(address, error))?;
        Ok(Self::Tcp { listener, networks: None })
    }

    /// Listens at a path, for these users.
    #[cfg(unix)]
    pub(super) async fn unix(path: &str, users: Users) -> Result<Self, Error> {
        socket_path::check(path)?;
        let cannot = |error| cannot_listen(path, error);
        match socket_path::find(path).map_err(cannot)? {
            Found::Nothing => {}
            Found::Socket => match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    // Its process has ended. Had another taken the place meanwhile, it would hold a
                    // socket that no client finds any more; so do not start two at once.
                    std::fs::remove_file(path).map_err(cannot)?;
                }
                _ => return Err(cannot(io::Error::other("another process listens there"))),
            },
            Found::Other => {
                return Err(cannot(io::Error::other("there is a file that is no socket")));
            }
        }
        let listener = UnixListener::bind(path).map_err(cannot)?;
        let file = file::SocketFile::new(path, users.has_others()).map_err(cannot)?;
        Ok(Self::Unix { file, listener, users })
    }

    /// Takes connections of these networks alone.
    pub(super) fn of_networks(self, allowed: Vec<Network>) -> Self {
        match self {
            Self::Tcp { listener, .. } => Self::Tcp { listener, networks: Some(allowed) },
            #[cfg(unix)]
            other => other,
        }
    }

    /// The next connection, or `None` for one that must not be. Its end is all that the other end sees.
    pub(super) async fn accept(&self) -> io::Result<Option<Socket>> {
        match self {
            #[cfg(unix)]
            Self::Unix { listener, users, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok(of_users(stream, users))
            }
            Self::Tcp { listener, networks } => {
                let (stream, from) = listener.accept().await?;
                Ok(of_networks(stream, from, networks.as_deref()))
            }
        }
    }

    /// Those that wait to be accepted. There are no more, since the file of the socket goes; over TCP more
    /// may come until this ends.
    pub(super) fn into_backlog(self) -> io::Result<Backlog> {
        Ok(match self {
            #[cfg(unix)]
            Self::Unix { file, listener, users } => {
                drop(file);
                Backlog::Unix { listener: listener.into_std()?, users }
            }
            Self::Tcp { listener, networks } => {
                Backlog::Tcp { listener: listener.into_std()?, networks }
            }
        })
    }

    pub(super) fn place(&self) -> Place {
        match self {
            #[cfg(unix)]
            Self::Unix { file, .. } => Place::Unix(file.path().to_owned()),
            Self::Tcp { listener, .. } => match listener.local_addr() {
                Ok(address) => Place::Tcp(address),
                Err(_) => Place::Lost,
            },
        }
    }
}

/// The connections that a listener which is used no more has yet to accept.
pub(super) enum Backlog {
    #[cfg(unix)]
    Unix {
        listener: net::UnixListener,
        users: Users,
    },
    Tcp {
        listener: std::net::TcpListener,
        networks: Option<Vec<Network>>,
    },
}

impl Backlog {
    /// The next connection, of which there is none if it must not be. `None` at the end.
    pub(super) fn accept(&self) -> Option<Option<Socket>> {
        match self.try_accept() {
            Ok(accepted) => Some(accepted),
            // It went before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Some(None),
            Err(_) => None,
        }
    }

    fn try_accept(&self) -> io::Result<Option<Socket>> {
        match self {
            #[cfg(unix)]
            Self::Unix { listener, users } => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(of_users(UnixStream::from_std(stream)?, users))
            }
            Self::Tcp { listener, networks } => {
                let (stream, from) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(of_networks(TcpStream::from_std(stream)?, from, networks.as_deref()))
            }
        }
    }
}

#[cfg(unix)]
fn of_users(stream: UnixStream, users: &Users) -> Option<Socket> {
    if let Err(error) = users.check(&stream) {
        tracing::warn!(%error, "closed a connection to a plugin");
        return None;
    }
    Some(Socket::Unix(stream))
}

fn of_networks(
    stream: TcpStream,
    from: SocketAddr,
    networks: Option<&[Network]>,
) -> Option<Socket> {
    let ip = from.ip().to_canonical();
    if networks.is_some_and(|networks| !networks.iter().any(|network| network.contains(ip))) {
        tracing::warn!(%from, "closed a connection to a plugin: not in `allowed_subnets`");
        return None;
    }
    // It fails for one that has closed already, of which its task will hear.
    let _ = stream.set_nodelay(true);
    Some(Socket::Tcp(stream))
}

fn cannot_listen(place: &str, error: io::Error) -> Error {
    Error::not_sent(Kind::InvalidConfig)
        .coded(Some(Code::RPC_2003))
        .message(format!("cannot listen on `{place}`"))
        .caused_by(error)
}

#[cfg(unix)]
mod file {
    use std::{
        fs, io,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    /// The file of a socket, which goes with the listener, unless another has taken its place.
    pub(in crate::serve) struct SocketFile {
        path: String,
        inode: (u64, u64),
    }

    impl SocketFile {
        /// Lets other users write to it, or not: without that they cannot connect.
        pub(super) fn new(path: &str, has_others: bool) -> io::Result<Self> {
            let mode = if has_others { 0o666 } else { 0o600 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            Ok(Self { path: path.to_owned(), inode: inode(path)? })
        }

        pub(super) fn path(&self) -> &str {
            &self.path
        }
    }

    fn inode(path: &str) -> io::Result<(u64, u64)> {
        let found = fs::symlink_metadata(path)?;
        Ok((found.dev(), found.ino()))
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            if inode(&self.path).is_ok_and(|found| found == self.inode) {
                let _ = fs::remove_file(&self.path);
            }
        }
    }
}
