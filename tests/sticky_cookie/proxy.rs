//! A process with three endpoints, and clients of it.

use http::{
    HeaderName, Request, Response, StatusCode,
    header::{COOKIE, SET_COOKIE},
    request,
};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Endpoint, Error, FailoverLayer,
    balance::{BalanceHandle, RoundRobin, Sticky},
    connect_fn,
    discover::Memory,
    http::{HttpClassify, SessionCookieLayer},
};

pub(crate) const OLD: &str = "an old secret of 16 bytes";
pub(crate) const NEW: &str = "a new secret of 16 bytes";
pub(crate) const KEYS: [&str; 3] =
    ["http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"];

/// A process.
pub(crate) struct Proxy {
    pub(crate) stack: BoxCloneSyncService<Request<()>, Response<String>, Error>,
    pub(crate) endpoints: Memory,
    pub(crate) handle: BalanceHandle,
}

/// What an endpoint answered, and the cookie that came with it.
pub(crate) struct Answered {
    pub(crate) by: String,
    pub(crate) set: Option<String>,
}

impl Answered {
    /// What a client sends back.
    pub(crate) fn pair(&self) -> String {
        self.set.as_deref().expect("a cookie").split(';').next().unwrap().to_owned()
    }
}

impl Proxy {
    pub(crate) fn new(cookie: SessionCookieLayer) -> Self {
        Self::with(cookie.clone(), cookie)
    }

    pub(crate) fn with(cookie: SessionCookieLayer, sessions: SessionCookieLayer) -> Self {
        let endpoints = Memory::new(KEYS).unwrap();
        let strategy = Sticky::new(RoundRobin::new(), sessions);
        let balance = BalanceLayer::new(endpoints.clone(), strategy).with_classify(HttpClassify);
        let handle = balance.handle();
        let stack = ServiceBuilder::new()
            .layer(cookie)
            .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
            .layer(balance)
            .service(connect_fn(|endpoint: &Endpoint| {
                let key = endpoint.key().to_owned();
                service_fn(move |request: Request<()>| {
                    let mut response = Response::new(key.clone());
                    if request.headers().get("fail").is_some_and(|of| *of == *key || of == "all") {
                        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    }
                    if let Some(status) = request.headers().get("status") {
                        *response.status_mut() = status.to_str().unwrap().parse().unwrap();
                    }
                    for (name, value) in request.headers() {
                        // What the endpoint is to answer with.
                        if let Some(name) = name.as_str().strip_prefix("answer-") {
                            let name = HeaderName::try_from(name).unwrap();
                            response.headers_mut().append(name, value.clone());
                        }
                    }
                    std::future::ready(Ok::<_, BoxError>(response))
                })
            }));
        Self { stack: BoxCloneSyncService::new(stack), endpoints, handle }
    }

    pub(crate) fn of(secrets: &[&str]) -> Self {
        Self::new(SessionCookieLayer::new(secrets).unwrap())
    }

    pub(crate) async fn ask(&mut self, cookies: &[&str]) -> Answered {
        self.ask_failing(cookies, "").await
    }

    pub(crate) async fn ask_failing(&mut self, cookies: &[&str], fails: &str) -> Answered {
        let mut request = Request::get("/").header("fail", fails);
        for cookie in cookies {
            request = request.header(COOKIE, *cookie);
        }
        self.send(request).await
    }

    pub(crate) async fn respond(&mut self, request: request::Builder) -> Response<String> {
        let request = request.body(()).unwrap();
        self.stack.ready().await.unwrap().call(request).await.unwrap()
    }

    pub(crate) async fn send(&mut self, request: request::Builder) -> Answered {
        let response = self.respond(request).await;
        let mut set = response.headers().get_all(SET_COOKIE).iter();
        let first = set.next().map(|value| value.to_str().unwrap().to_owned());
        assert!(set.next().is_none());
        Answered { set: first, by: response.into_body() }
    }
}

/// Lets the tasks do what they have to do.
pub(crate) async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}
