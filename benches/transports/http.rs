//! HTTP/1.1.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::Client as Hyper,
    rt::{TokioExecutor, TokioTimer},
};
use tower::Service;
use tower_upstream::{
    Call, Endpoint,
    connect::Connect,
    dial::TcpConnector,
    member::Member,
    transport::{HttpService, HttpTransport},
};

use crate::client::{Answer, Caller, Client, ID, Question, caller, echoed};

pub(crate) fn contenders(url: &str) -> [Caller; 3] {
    [caller(Bare::new(url)), caller(Ours::new(url)), caller(Bare::new(url))]
}

pub(crate) struct Ours(HttpService<String, String>);

impl Ours {
    fn new(url: &str) -> Self {
        Self::of(&HttpTransport::new(), url)
    }

    pub(crate) fn of(transport: &HttpTransport<String, String>, url: &str) -> Self {
        let member = Member::new(Endpoint::new(url).expect("a URL"));
        Self(transport.connect(&member))
    }
}

impl Client for Ours {
    fn call(&self) -> impl Future<Output = usize> + 'static {
        let mut service = self.0.clone();
        async move {
            let call = service.call(Call::new(echoed()).with_id(ID));
            call.await.expect("it answers").into_body().len()
        }
    }
}

struct Bare {
    client: Hyper<TcpConnector, Full<Bytes>>,
    url: http::Uri,
}

impl Bare {
    fn new(url: &str) -> Self {
        let client = Hyper::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(64)
            .http1_max_buf_size(64 << 10)
            .http1_title_case_headers(true)
            .build(TcpConnector::new());
        Self { client, url: url.parse().expect("a URL") }
    }
}

impl Client for Bare {
    fn call(&self) -> impl Future<Output = usize> + 'static {
        let (client, url) = (self.client.clone(), self.url.clone());
        async move {
            let data = echoed();
            let question =
                Question { operation: None, request_id: ID, data: &data, timeout: Some("0s") };
            let body = serde_json::to_vec(&question).expect("it can be written");
            let request = http::Request::post(url)
                .header("content-type", "application/json")
                .header("user-agent", "go-plugins/1.0")
                .header("x-request-id", ID)
                .header("accept-encoding", "gzip")
                .body(Full::from(body))
                .expect("a request");
            let exchange = async {
                let response = client.request(request).await.expect("it answers");
                let body = Limited::new(response.into_body(), 16 << 20).collect().await;
                let body = body.expect("all of it").to_bytes();
                serde_json::from_slice::<Answer>(&body).expect("an answer").data.len()
            };
            tokio::time::timeout(Duration::from_secs(30), exchange).await.expect("in time")
        }
    }
}
