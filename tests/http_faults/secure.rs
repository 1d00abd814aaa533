//! TLS under HTTP, and what may be wrong with it.

use std::{path::PathBuf, sync::LazyLock};

use tokio::io::BufReader;
use tokio_rustls::TlsAcceptor;

use crate::{
    certificates::{Authority, Files, acceptor},
    faults::Fault,
    socket::{Connection, Stream},
};

/// Made once: keys take a while.
pub struct Certificates {
    files: Files,
    good: TlsAcceptor,
    of_another_name: TlsAcceptor,
    expired: TlsAcceptor,
    of_a_stranger: TlsAcceptor,
    for_clients_with_one: TlsAcceptor,
}

impl Certificates {
    pub fn get() -> &'static Self {
        static ALL: LazyLock<Certificates> = LazyLock::new(Certificates::new);
        &ALL
    }

    fn new() -> Self {
        const HOST: &str = "127.0.0.1";
        let (files, authority, stranger) = (Files::new(), Authority::new(), Authority::new());
        files.write("ca.pem", &authority.pem);
        let expired = authority.identity(HOST, |params| {
            params.not_before = rcgen::date_time_ymd(1999, 1, 1);
            params.not_after = rcgen::date_time_ymd(2000, 1, 1);
        });
        let good = || authority.identity(HOST, |_| {});
        Self {
            files,
            good: acceptor(good(), None),
            of_another_name: acceptor(authority.identity("other.test", |_| {}), None),
            expired: acceptor(expired, None),
            of_a_stranger: acceptor(stranger.identity(HOST, |_| {}), None),
            for_clients_with_one: acceptor(good(), Some(&authority)),
        }
    }

    /// The file of the authority that is trusted.
    pub fn ca(&self) -> PathBuf {
        self.files.0.join("ca.pem")
    }

    /// Agrees on TLS, with the fault if it is one of that; returns what is left of it.
    pub async fn accept(
        &self,
        fault: Option<Fault>,
        mut connection: Connection,
    ) -> Option<(Connection, Option<Fault>)> {
        let (acceptor, rest) = match fault {
            Some(Fault::WrongName) => (&self.of_another_name, None),
            Some(Fault::Expired) => (&self.expired, None),
            Some(Fault::UnknownAuthority) => (&self.of_a_stranger, None),
            Some(Fault::NoClientCertificate) => (&self.for_clients_with_one, None),
            other => (&self.good, other),
        };
        let nothing: Box<dyn Stream> =
            Box::new(tokio::io::join(tokio::io::empty(), tokio::io::sink()));
        let plain = std::mem::replace(&mut connection.stream, BufReader::new(nothing));
        let secured: Box<dyn Stream> = Box::new(acceptor.accept(plain).await.ok()?);
        connection.stream = BufReader::new(secured);
        Some((connection, rest))
    }
}
