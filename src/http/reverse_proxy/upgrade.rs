//! Requests that change the protocol of their connection, such as to a WebSocket.

use futures_util::future::join as join_both;
use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, UPGRADE},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, runtime::Handle};

use crate::{
    error::{Error, Kind},
    http::connection::ConnectionSlot,
    wire::{has_token, tokens},
};

/// A client's connection, and the protocols that it asked for.
pub(super) struct Asked {
    client: OnUpgrade,
    protocols: HeaderValue,
}

impl Asked {
    /// Takes the connection out of a request that asks for another protocol, if the server can hand it out.
    ///
    /// Not for `h2c`, which speaks of this connection alone and which no server has to accept.
    pub(super) fn take<B>(request: &mut Request<B>) -> Option<Self> {
        let headers = request.headers();
        let may_ask = request.version() == Version::HTTP_11;
        if !may_ask || !has_token(headers, &CONNECTION, "upgrade") {
            return None;
        }
        let is_h2c = |protocol: &&str| protocol.eq_ignore_ascii_case("h2c");
        let protocols: Vec<_> = tokens(headers, &UPGRADE).filter(|of| !is_h2c(of)).collect();
        let protocols = HeaderValue::try_from(protocols.join(", ")).ok()?;
        if protocols.is_empty() {
            return None;
        }
        let client = request.extensions_mut().remove()?;
        Some(Self { client, protocols })
    }

    /// Asks the endpoint for the same.
    pub(super) fn ask<B>(&self, request: &mut Request<B>) {
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocols.clone());
    }

    fn includes(&self, protocol: &HeaderValue) -> bool {
        let asked = self.protocols.as_bytes().split(|byte| *byte == b',');
        asked.map(<[u8]>::trim_ascii).any(|asked| asked.eq_ignore_ascii_case(protocol.as_bytes()))
    }
}

/// The protocol that an endpoint changed to.
pub(super) fn answered<B>(response: &Response<B>) -> Option<HeaderValue> {
    let headers = response.headers();
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    Some(headers.get(UPGRADE).cloned().unwrap_or(HeaderValue::from_static("")))
}

/// Joins both connections, now that the endpoint has changed to `protocol`.
#[cold]
pub(super) fn join<B>(
    response: &mut Response<B>,
    asked: Option<Asked>,
    protocol: HeaderValue,
) -> Result<(), Error> {
    let asked = asked.filter(|asked| asked.includes(&protocol));
    let Some(Asked { client, .. }) = asked else {
        return Err(Error::failed(Kind::Transport).message(format!(
            "the endpoint changed its connection to {protocol:?}, for which the request did not ask"
        )));
    };
    let Some(endpoint) = response.extensions_mut().remove::<OnUpgrade>() else {
        return Err(Error::failed(Kind::Transport).message(
            "the client below does not hand out connections that were upgraded; use one of hyper",
        ));
    };
    let Ok(runtime) = Handle::try_current() else {
        return Err(Error::failed(Kind::Unavailable));
    };
    // What counts the call goes on as long as the connection, if that does not end it itself.
    let slot = response.extensions_mut().remove::<ConnectionSlot>();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
    runtime.spawn(async move {
        let _slot = slot;
        // Both, so that what an endpoint sends first waits until the client got its 101.
        if let (Ok(client), Ok(endpoint)) = join_both(client, endpoint).await {
            let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
            // An end by an error and an end in peace are the same to both: their connection closes.
            let _ = copy_bidirectional(&mut client, &mut endpoint).await;
        }
    });
    Ok(())
}
