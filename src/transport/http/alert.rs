//! Tells an endpoint that does not accept the certificate of this side from one that fails.
//!
//! With TLS 1.3 it says so when this side may send already, and reads nothing of that (RFC 8446 §4.4.2.4). What
//! sends hears only that the connection broke, so what reads keeps it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio_rustls::rustls::{AlertDescription, Error};

/// A connection that keeps the alert.
pub(super) struct Alerted<T> {
    io: T,
    alert: Arc<OnceLock<String>>,
    /// Why nothing can be written any more.
    closed: Option<io::Error>,
}

impl<T: Read + Write + Unpin> Alerted<T> {
    pub(super) fn new(io: T) -> (Self, Arc<OnceLock<String>>) {
        let alert = Arc::default();
        (Self { io, alert: Arc::clone(&alert), closed: None }, alert)
    }

    /// Writes. If the other side has closed, what it said before that comes first.
    fn writing<R>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let error = match self.closed.take() {
            Some(error) => error,
            None => match write(Pin::new(&mut self.io), cx) {
                Poll::Ready(Err(error)) => error,
                result => return result,
            },
        };
        let mut bytes = [0];
        let mut bytes = ReadBuf::new(&mut bytes);
        if self.as_mut().poll_read(cx, bytes.unfilled()).is_pending() {
            self.closed = Some(error);
            return Poll::Pending;
        }
        Poll::Ready(Err(error))
    }
}

impl<T: Read + Unpin> Read for Alerted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, into));
        Poll::Ready(result.inspect_err(|error| {
            if let Some(alert) = of_handshake(error) {
                let _ = self.alert.set(alert.to_string());
            }
        }))
    }
}

impl<T: Read + Write + Unpin> Write for Alerted<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writing(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing(cx, T::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing(cx, |io, cx| io.poll_write_vectored(cx, slices))
    }
}

/// The alert, if it is one that comes before the handshake is over.
#[cold]
fn of_handshake(error: &io::Error) -> Option<&Error> {
    use AlertDescription::{
        AccessDenied, BadCertificate, CertificateExpired, CertificateRequired, CertificateRevoked,
        CertificateUnknown, HandshakeFailure, UnknownCA, UnsupportedCertificate,
    };
    let error = error.get_ref()?.downcast_ref()?;
    let Error::AlertReceived(alert) = error else { return None };
    let is_of_handshake = matches!(
        alert,
        AccessDenied
            | BadCertificate
            | CertificateExpired
            | CertificateRequired
            | CertificateRevoked
            | CertificateUnknown
            | HandshakeFailure
            | UnknownCA
            | UnsupportedCertificate
    );
    is_of_handshake.then_some(error)
}
