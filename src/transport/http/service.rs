use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{
        ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRAILER, TRANSFER_ENCODING, USER_AGENT,
    },
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    answer,
    config::HttpConfig,
    dial::Dial,
    exchange::{Exchange, Received},
    outgoing::Outgoing,
};
use crate::{
    call::{Call, Reply},
    endpoint::Address,
    error::{Error, Kind},
    member::Member,
    plugin::{HealthStatus, PluginInfo},
    time,
    wire::{Question, go_duration, to_json},
};

/// A plugin that is reached over HTTP. Made by [`HttpTransport`](super::HttpTransport), and by
/// [`Connect::connect`](crate::Connect::connect) where there is no balancer.
///
/// Always ready. Clones share the connections. Dropping a response future closes the connection of
/// an exchange that has begun; the plugin may have done the work.
///
/// # Example
/// ```no_run
/// use tower::ServiceExt;
/// use tower_upstream::{Call, Connect, Endpoint, Member, transport::HttpTransport};
///
/// # async fn example() -> Result<(), tower_upstream::Error> {
/// let member = Member::new("http://10.0.0.1:8080/rpc/tax".parse::<Endpoint>()?);
/// let plugin = HttpTransport::<u64, u64>::new().connect(&member);
/// println!("{}", plugin.health().await.status);
/// let reply = plugin.oneshot(Call::new(1_200)).await?;
/// # let _ = reply;
/// # Ok(())
/// # }
/// ```
pub struct HttpService<Req, Res> {
    client: Client<Dial, Outgoing>,
    target: Arc<Target>,
    types: PhantomData<fn(Req) -> Res>,
}

struct Target {
    key: Arc<str>,
    address: Address,
    /// Or why calls cannot be sent there.
    uri: Result<Uri, Error>,
    config: Arc<HttpConfig>,
}

impl<Req, Res> HttpService<Req, Res> {
    pub(super) fn new(member: &Arc<Member>, config: Arc<HttpConfig>) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .pool_max_idle_per_host(config.max_idle_connections)
            .http1_max_buf_size(config.max_header_bytes)
            // Go writes `X-Request-Id`, and some servers compare bytes.
            .http1_title_case_headers(true)
            .build(Dial::new(config.connect_timeout));
        let address = member.endpoint().address().clone();
        let target = Target {
            key: member.shared_key().clone(),
            uri: usable(&absolute(&address)),
            address,
            config,
        };
        Self {
            client,
            target: Arc::new(target),
            types: PhantomData,
        }
    }

    /// Asks the plugin how it does: a `GET` of [`HttpConfig::health_path`].
    ///
    /// A status of 2xx is healthy, unless the body is a JSON object whose `status` says otherwise;
    /// everything else is unhealthy, and the message says why. Takes at most
    /// [`HttpConfig::request_timeout`]. May be dropped at any point.
    pub async fn health(&self) -> HealthStatus {
        let start = time::now();
        let health = match self.target.health_uri() {
            Err(error) => {
                HealthStatus::unhealthy(format!("Failed to create health check request: {error}"))
            }
            Ok(uri) => match self.get(uri).await {
                Err(error) => {
                    HealthStatus::unhealthy(format!("Health check request failed: {error}"))
                }
                Ok(received) => self.target.read_health(&received),
            },
        };
        health.checked_at(
            SystemTime::now(),
            time::now().saturating_duration_since(start),
        )
    }

    /// Asks the plugin who it is: a `GET` of `info` below the endpoint.
    ///
    /// # Errors
    /// Those of a call. A plugin that does not tell answers 404, which is [`Kind::Plugin`].
    pub async fn info(&self) -> Result<PluginInfo, Error> {
        let info = async {
            let received = self
                .get(usable(&below(&self.target.address, "info"))?)
                .await?;
            answer::info(received, self.target.config.max_response_bytes)
        };
        info.await
            .map_err(|error| error.at_endpoint(&self.target.key))
    }

    async fn get(&self, uri: Uri) -> Result<Received, Error> {
        let request = request(Method::GET, uri, self.target.headers(), Bytes::new());
        let exchange = Exchange::begin(&self.client, request, None, &self.target.config);
        let received = match exchange {
            Ok(exchange) => exchange.await,
            Err(error) => Err(error),
        };
        received.map_err(|error| error.at_endpoint(&self.target.key))
    }
}

impl<Req: Serialize, Res> HttpService<Req, Res> {
    fn begin(&self, call: &Call<Req>) -> Result<Exchange, Error> {
        let uri = self.target.uri.clone()?;
        let id = call.id();
        let question = Question {
            data: call.body(),
            request_id: &id,
            timeout: go_duration(call.timeout().unwrap_or_default()),
            headers: call.headers(),
            metadata: call.metadata(),
        };
        let body = to_json(&question)
            .map_err(|error| unusable(format!("cannot write the call as JSON: {error}")))?;
        let mut headers = self.target.headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            HeaderName::from_static("x-request-id"),
            header_value("X-Request-Id", &id)?,
        );
        add_headers(&mut headers, call)?;
        let request = request(Method::POST, uri, headers, body.into());
        Exchange::begin(&self.client, request, call.deadline(), &self.target.config)
    }
}

impl<Req, Res> Service<Call<Req>> for HttpService<Req, Res>
where
    Req: Serialize,
    Res: DeserializeOwned,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = HttpFuture<Res>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<Req>) -> HttpFuture<Res> {
        let state = match self.begin(&call) {
            Ok(exchange) => State::Exchanging { exchange },
            Err(error) => State::Unsent { error: Some(error) },
        };
        HttpFuture {
            state,
            call: call.map(drop),
            target: self.target.clone(),
            types: PhantomData,
        }
    }
}

impl<Req, Res> Clone for HttpService<Req, Res> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            target: self.target.clone(),
            types: PhantomData,
        }
    }
}

impl<Req, Res> fmt::Debug for HttpService<Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService")
            .field("endpoint", &self.target.key)
            .field("address", &self.target.address)
            .field("config", &self.target.config)
            .finish()
    }
}

pin_project! {
    /// The response of an [`HttpService`]. Dropping it ends the exchange.
    pub struct HttpFuture<Res> {
        #[pin]
        state: State,
        call: Call<()>,
        target: Arc<Target>,
        types: PhantomData<fn() -> Res>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        // For the answer.
        Exchanging { #[pin] exchange: Exchange },
        // For nothing: the call could not be sent.
        Unsent { error: Option<Error> },
    }
}

impl<Res: DeserializeOwned> Future for HttpFuture<Res> {
    type Output = Result<Reply<Res>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = match this.state.project() {
            StateProj::Exchanging { exchange } => ready!(exchange.poll(cx)),
            StateProj::Unsent { error } => match error.take() {
                Some(error) => Err(error),
                None => return Poll::Pending,
            },
        };
        let target = &**this.target;
        Poll::Ready(
            result
                .and_then(|received| answer::read(received, target.config.max_response_bytes))
                .map(|reply| reply.answering(this.call, target.key.clone()))
                .map_err(|error| error.at_endpoint(&target.key)),
        )
    }
}

impl<Res> fmt::Debug for HttpFuture<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFuture")
            .field("endpoint", &self.target.key)
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

impl Target {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("go-plugins/1.0"));
        if self.config.compression {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers
    }

    fn health_uri(&self) -> Result<Uri, Error> {
        match self.config.health_path.as_str() {
            "" => usable(&below(&self.address, "health")),
            url if url.contains("://") => usable(url),
            path if path.starts_with('/') => {
                let address = absolute(&self.address);
                let root = &address[..address.len() - self.address.path().len()];
                usable(&format!("{root}{path}"))
            }
            path => usable(&below(&self.address, path)),
        }
    }

    fn read_health(&self, received: &Received) -> HealthStatus {
        let status = received.parts.status;
        let limit = self.config.max_response_bytes;
        if !status.is_success() {
            let mut message = format!("Health check failed with status {}", status.as_u16());
            if let Some(said) = answer::said(received, limit) {
                message.push_str(": ");
                message.push_str(&said);
            }
            return HealthStatus::unhealthy(message);
        }
        answer::unzip(&received.parts.headers, received.body.clone(), limit)
            .ok()
            .and_then(|body| HealthStatus::read(&answer::text(&body)))
            .unwrap_or_else(HealthStatus::healthy)
    }
}

/// The address as a URL. Without a scheme it is one of HTTP.
fn absolute(address: &Address) -> String {
    match address.scheme() {
        Some(_) => address.as_str().to_owned(),
        None => format!("http://{address}"),
    }
}

fn below(address: &Address, name: &str) -> String {
    format!("{}/{name}", absolute(address).trim_end_matches('/'))
}

/// The URL, if this transport can reach it.
fn usable(url: &str) -> Result<Uri, Error> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(unusable(format!(
            "the HTTP transport cannot reach `{url}`: it speaks `http` without TLS, not \
             `{scheme}`; use an `http` address, or `OriginLayer` over a client that speaks it"
        )));
    }
    url.parse()
        .map_err(|error| unusable(format!("cannot use the URL `{url}`: {error}")))
}

fn request(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}

/// Adds the headers of the call, except those that say how the body is sent.
fn add_headers<Req>(headers: &mut HeaderMap, call: &Call<Req>) -> Result<(), Error> {
    for (name, value) in call.headers() {
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            let name: String = name.escape_debug().take(64).collect();
            unusable(format!(
                "the call has a header whose name cannot be sent: `{name}`"
            ))
        })?;
        if [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER].contains(&parsed) {
            continue;
        }
        let mut value = header_value(name, value)?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(())
}

/// Names the header, never the value, which may be a secret.
fn header_value(name: &str, value: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
        unusable(format!(
            "the header `{name}` holds a control character, so it cannot be sent"
        ))
    })
}

fn unusable(problem: String) -> Error {
    Error::unsent(Kind::InvalidConfig).message(problem)
}
