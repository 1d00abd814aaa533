//! One connection to a member, over HTTP/2.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::{Response, Uri, uri::PathAndQuery};
use http_body::Frame;
use http_body_util::{BodyExt, combinators::MapFrame};
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use tonic::{Request, Status, Streaming, body::Body, client::Grpc, metadata::AsciiMetadataValue};
use tower_service::Service;

use super::{
    codec::{Codec, MAX_MESSAGE},
    server::Server,
};
use crate::{dial::Dialer, error::BoxError, wire::told::mend};

/// A quiet connection is probed after so long, and closed if there is no answer for [`PONG`]: a member that
/// is cut off would be waited for for ever.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

pub(super) struct Link {
    sender: SendRequest<Body>,
    origin: Uri,
    /// The member's number in the config.
    pub(super) member: usize,
    pub(super) url: String,
}

impl Link {
    /// The caller bounds it, by `limit`.
    pub(super) async fn connect(
        server: &Server,
        member: usize,
        dialer: &Dialer,
        limit: Duration,
    ) -> Result<Self, BoxError> {
        let origin = server.url.parse()?;
        let stream = dialer.connect(&server.way, true, limit).await?;
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .handshake(stream)
            .await?;
        // It ends with the last sender.
        tokio::spawn(driver);
        Ok(Self { sender, origin, member, url: server.url.clone() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// One message for one.
    pub(super) async fn ask<Q, A>(
        &self,
        path: &'static str,
        message: Q,
        token: Option<&AsciiMetadataValue>,
    ) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc().await?;
        let request = with_token(Request::new(message), token);
        let answer = grpc.unary(request, PathAndQuery::from_static(path), Codec::new());
        Ok(answer.await?.into_inner())
    }

    /// Many messages for many. A member that has no leader ends it.
    pub(super) async fn converse<Q, A>(
        &self,
        path: &'static str,
        messages: impl Stream<Item = Q> + Send + 'static,
        token: Option<&AsciiMetadataValue>,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc().await?;
        let mut request = with_token(Request::new(messages), token);
        request.metadata_mut().insert("hasleader", AsciiMetadataValue::from_static("true"));
        let answer = grpc.streaming(request, PathAndQuery::from_static(path), Codec::new());
        Ok(answer.await?.into_inner())
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Status> {
        let channel = Channel(self.sender.clone());
        let mut grpc =
            Grpc::with_origin(channel, self.origin.clone()).max_decoding_message_size(MAX_MESSAGE);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::from_error(Box::new(error)))?;
        Ok(grpc)
    }
}

fn with_token<T>(mut request: Request<T>, token: Option<&AsciiMetadataValue>) -> Request<T> {
    if let Some(token) = token {
        request.metadata_mut().insert("token", token.clone());
    }
    request
}

/// A connection as tonic wants one.
struct Channel(SendRequest<Body>);

impl Service<http::Request<Body>> for Channel {
    type Response = Response<MapFrame<Incoming, fn(Frame<Bytes>) -> Frame<Bytes>>>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sent = self.0.send_request(request);
        Box::pin(async move {
            let (mut parts, body) = sent.await?.into_parts();
            mend(&mut parts.headers);
            Ok(Response::from_parts(parts, body.map_frame(mended as fn(_) -> _)))
        })
    }
}

fn mended(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            mend(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("url", &self.url).finish_non_exhaustive()
    }
}
