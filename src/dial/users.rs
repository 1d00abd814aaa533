//! The users whose processes may be at the other end of a socket.

use tokio::net::UnixStream;

use crate::error::{Code, Error, Kind};

const ROOT: u32 = 0;

/// Whose process may be at the other end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Users {
    /// None of them: this process's user, and root.
    pub(crate) uids: Vec<u32>,
    pub(crate) any: bool,
}

impl Users {
    /// Asks the operating system whose process is at the other end of `stream`, before a byte is
    /// exchanged.
    pub(crate) fn check(&self, stream: &UnixStream) -> Result<(), Error> {
        if self.any {
            return Ok(());
        }
        let uid = uid_of(stream)?;
        // The other end of a pair is this process.
        let allowed = match self.uids.as_slice() {
            [] => {
                uid == ROOT
                    || UnixStream::pair().map_err(unknown).and_then(|pair| uid_of(&pair.0))? == uid
            }
            uids => uids.contains(&uid),
        };
        if allowed {
            return Ok(());
        }
        Err(Error::not_sent(Kind::Connection).coded(Some(Code::SECURITY_1801)).message(format!(
            "the process at the other end of the socket belongs to the user {uid}, which \
             `allowed_uids` does not name"
        )))
    }

    /// Whether any user but this process's own may be there.
    pub(crate) fn has_others(&self) -> bool {
        self.any || !self.uids.is_empty()
    }
}

fn uid_of(stream: &UnixStream) -> Result<u32, Error> {
    Ok(stream.peer_cred().map_err(unknown)?.uid())
}

fn unknown(error: std::io::Error) -> Error {
    Error::not_sent(Kind::Connection)
        .coded(Some(Code::SECURITY_1801))
        .message("cannot tell to which user the other end of the socket belongs")
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_those_that_are_named_are_let_in() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let own = uid_of(&stream).unwrap();
        let users = |uids: &[u32]| Users { uids: uids.to_vec(), any: false };
        assert!(users(&[]).check(&stream).is_ok() && users(&[own]).check(&stream).is_ok());
        let error = users(&[own + 1]).check(&stream).unwrap_err();
        assert!(error.is_unsent() && error.code() == Code::SECURITY_1801);
        assert!(error.to_string().contains(&format!("user {own}")), "{error}");
        assert!(Users { any: true, ..users(&[own + 1]) }.check(&stream).is_ok());
    }
}
