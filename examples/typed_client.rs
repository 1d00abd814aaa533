//! A typed client over any service of HTTP, as kube's: the stack is a detail of how it is made.
//!
//! `cargo run --features http --example typed_client`

use axum::{Json, Router, extract::Path, routing::get};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerLayer, Endpoint, FailoverLayer, LeastRequest,
    boxed::BoxUpstream,
    connect_fn,
    dial::TcpConnector,
    discover,
    http::{HttpClassify, OriginBody, OriginLayer},
};

#[derive(Debug, Serialize, Deserialize)]
struct Pod {
    name: String,
    ready: bool,
}

type Answer = Response<OriginBody<hyper::body::Incoming>>;

/// Knows nothing of endpoints. A clone is cheap, and shares all state.
#[derive(Clone)]
struct Api<S = BoxUpstream<Request<Full<Bytes>>, Answer>> {
    service: S,
}

impl<S, B> Api<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body<Error: Into<BoxError>>,
{
    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, BoxError> {
        let request = Request::builder().method(method).uri(path).body(Full::default())?;
        let response = self.service.clone().oneshot(request).await.map_err(Into::into)?;
        let body = response.into_body().collect().await.map_err(Into::into)?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    async fn pod(&self, name: &str) -> Result<Pod, BoxError> {
        self.call(Method::GET, &format!("/pods/{name}")).await
    }
}

impl Api {
    fn new(addresses: &[String]) -> Result<Self, BoxError> {
        let client = legacy::Client::builder(TokioExecutor::new()).build(TcpConnector::new());
        let stack = ServiceBuilder::new()
            .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
            .layer(BalanceLayer::new(discover::fixed(addresses)?, LeastRequest::new()))
            .layer(CircuitBreakerLayer::default().with_classify(HttpClassify))
            .layer(OriginLayer::new())
            .service(connect_fn(move |_: &Endpoint| client.clone()));
        Ok(Self { service: BoxUpstream::new(stack) })
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let pod = async |Path(name): Path<String>| Json(Pod { name, ready: true });
    tokio::spawn(
        axum::serve(listener, Router::new().route("/pods/{name}", get(pod))).into_future(),
    );
    println!("{:?}", Api::new(&[address])?.pod("web-0").await?);
    Ok(())
}
