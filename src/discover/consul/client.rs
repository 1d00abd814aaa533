//! One request over HTTP/1.1, on a connection of its own.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};

use super::config::ConsulConfig;
use crate::{
    dial::TcpConnector,
    endpoint::Address,
    error::{BoxError, Error, Kind},
};

/// What is read of an answer's head, at most.
const MAX_HEAD: usize = 64 << 10;

/// What came back, whatever its status.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

pub(super) struct Client {
    host: String,
    port: u16,
    authority: String,
    /// For errors.
    name: String,
    max_bytes: usize,
    #[cfg(feature = "tls")]
    tls: Option<(std::sync::Arc<crate::dial::Tls>, crate::dial::TlsConfig)>,
}

impl Client {
    pub(super) fn new(config: &ConsulConfig) -> Result<Self, Error> {
        let address: Address = config.address.parse()?;
        let default = if config.uses_tls() { 443 } else { 80 };
        Ok(Self {
            host: address.host().to_owned(),
            port: address.port().unwrap_or(default),
            authority: address.authority().to_owned(),
            name: format!("Consul at `{}`", config.address),
            max_bytes: config.max_response_bytes,
            #[cfg(feature = "tls")]
            tls: config.uses_tls().then(|| (std::sync::Arc::default(), config.tls())),
        })
    }

    pub(super) async fn send(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Error> {
        let exchange = self.exchange(method, target, headers, body);
        match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let text =
                    format!("{}: the answer is longer than {} bytes", self.name, self.max_bytes);
                Err(Error::failed(Kind::Transport).message(text))
            }
            Ok(Err(error)) => {
                let failed = Error::failed(Kind::Connection);
                Err(failed.message(format!("{} does not answer", self.name)).caused_by(error))
            }
            Err(_) => {
                let text = format!("{} has not answered within {limit:?}", self.name);
                Err(Error::failed(Kind::Timeout).message(text))
            }
        }
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, BoxError> {
        let mut request = Request::builder().method(method).uri(target).body(Full::new(body))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(http::header::HOST, self.authority.parse()?);
        let stream = TcpConnector::new().connect(&self.host, self.port).await?;
        #[cfg(feature = "tls")]
        if let Some((tls, config)) = &self.tls {
            let (secured, _) = tls.secure(config, &self.host, stream).await?;
            return self.over(secured, request).await;
        }
        self.over(stream, request).await
    }

    async fn over(
        &self,
        stream: impl Read + Write + Send + Unpin,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, BoxError> {
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(MAX_HEAD).handshake(stream).await?;
        let conversation = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.max_bytes).collect().await?.to_bytes();
            Ok::<_, BoxError>(Answer { status: head.status, headers: head.headers, body })
        };
        match select(pin!(conversation), pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            // The connection is over, so the rest is there, or why there is none.
            Either::Right((_, conversation)) => conversation.await,
        }
    }
}
