//! A check that asks over gRPC.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::ready,
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{
    HeaderValue, Method, Request,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tonic::{Code, Status};

use super::{
    check::{Check, NO_ENDPOINT, Verdict},
    probe::limit,
};
use crate::{
    dial::{Dialer, Way},
    endpoint::Endpoint,
    error::BoxError,
    grpc::{
        frame::{framed, unframe},
        messages::{HealthCheckRequest, HealthCheckResponse},
        scheme,
    },
    wire::{
        Cut, Gather,
        told::{ending, told},
        without_zone,
    },
};

/// What is read of an answer, at most.
const MAX_ANSWER: usize = 4 << 10;

/// Check of each endpoint by `grpc.health.v1.Health/Check`, for a gate below a balancer: healthy if it is
/// `SERVING`.
///
/// For servers of tonic and others. Each check makes a connection of its own, so it also detects an endpoint
/// that accepts no new connections. For plugins, which may have a health method of their own instead, use
/// [`PluginCheck`](super::PluginCheck) with a [`GrpcTransport`](crate::transport::GrpcTransport).
///
/// # Bounds
/// Reads at most 4 KiB of an answer.
///
/// # Example
/// ```
/// use tower_upstream::{HealthGateLayer, health::GrpcCheck};
/// let layer = HealthGateLayer::new(GrpcCheck::new().service("tax.v1.Tax"));
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Default)]
pub struct GrpcCheck {
    service: String,
    dialer: Dialer,
    /// What is wrong with what was given to the builder.
    mistake: Option<String>,
}

impl GrpcCheck {
    /// Creates a check of the server as a whole.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the service whose health is asked for. Default: empty, which is the server as a whole.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = name.into();
        self
    }

    /// Sets the authorities to trust and the certificate to show, for `grpc-tls` and `https`.
    ///
    /// Default: the authorities of the system, and no certificate.
    ///
    /// ```
    /// use tower_upstream::{dial::TlsConfig, health::GrpcCheck};
    /// let check = GrpcCheck::new().tls(TlsConfig::default().with_ca_file("/etc/plugins/ca.pem"));
    /// # let _ = check;
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::dial::TlsConfig) -> Self {
        if let Some(mistake) = tls.mistake() {
            self.mistake = Some(format!("the health check cannot use its TLS: {mistake}"));
        }
        self.dialer.config = tls;
        self
    }

    async fn ask(&self, endpoint: &Endpoint) -> Result<Verdict, BoxError> {
        let address = endpoint.address();
        let is_secure = scheme::is_secure(address.scheme()).ok_or("it is none of gRPC")?;
        let (way, authority) = match address.socket_path() {
            Some(path) => (Way::Socket(path), "localhost".into()),
            None => (
                Way::tcp(address.host(), address.port(), is_secure),
                without_zone(address.authority()),
            ),
        };
        let (scheme, asked) = (if is_secure { "https" } else { "http" }, self.service.clone());
        let message = HealthCheckRequest { service: asked }.encode_to_vec();
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{scheme}://{authority}/grpc.health.v1.Health/Check"))
            .header(TE, HeaderValue::from_static("trailers"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
            .body(Full::new(framed(&message)))?;
        // The time of the check bounds it.
        let stream = self.dialer.connect(&way, true, limit()).await?;
        let (mut sender, connection) =
            http2::Builder::new(TokioExecutor::new()).handshake(stream).await?;
        let conversation = pin!(async move {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let mut body = pin!(Gather::new(body, MAX_ANSWER));
            let (message, trailers) = poll_fn(|cx| {
                let message = ready!(body.as_mut().poll_gather(cx));
                let trailers = Pin::as_mut(&mut body).trailers();
                message.map(|message| (message, trailers)).into()
            })
            .await
            .map_err(|cut| match cut {
                Cut::TooLong => "the answer is too long".into(),
                Cut::Broken(error) => BoxError::from(error),
            })?;
            let status = ending(&parts.headers, &message, trailers.as_deref()).and_then(told);
            verdict(status, message)
        });
        match select(conversation, pin!(connection)).await {
            Either::Left((verdict, _)) => verdict,
            // The connection is over, so the rest is there, or why there is none.
            Either::Right((_, conversation)) => conversation.await,
        }
    }
}

fn verdict(status: Option<Status>, message: Bytes) -> Result<Verdict, BoxError> {
    let status = status.ok_or("this is no answer of gRPC")?;
    Ok(match status.code() {
        Code::Ok => match HealthCheckResponse::decode(unframe(message)?)?.problem() {
            None => Verdict::Healthy,
            Some(problem) => Verdict::Unhealthy(problem.into()),
        },
        Code::Unimplemented => Verdict::Unhealthy("it has no `grpc.health.v1`".into()),
        code => Verdict::Unhealthy(format!("{code:?}: {}", status.message()).into()),
    })
}

impl Check for GrpcCheck {
    async fn check(&self, endpoint: Option<Arc<Endpoint>>) -> Verdict {
        let Some(endpoint) = endpoint else {
            return Verdict::Skipped;
        };
        match self.ask(&endpoint).await {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Unhealthy(format!("request failed: {error}").into()),
        }
    }

    fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        let Some(endpoint) = endpoint else { return Some(NO_ENDPOINT.to_owned()) };
        let (address, scheme) = (endpoint.address(), endpoint.address().scheme());
        let unknown = || {
            let scheme = scheme.unwrap_or_default();
            format!("`GrpcCheck` cannot reach a `{scheme}` endpoint")
        };
        match scheme::is_secure(scheme) {
            None => Some(unknown()),
            Some(true) if !cfg!(feature = "tls") => Some("TLS needs the feature `tls`".to_owned()),
            Some(_) if address.socket_path().is_some() && !cfg!(unix) => Some(unknown()),
            Some(_) => self.mistake.clone(),
        }
    }
}
