//! reqwest as the transport of a balanced upstream.
//!
//! `cargo run --features http --example reqwest_client`

use axum::{Router, routing::post};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, CircuitBreakerLayer, Endpoint, FailoverLayer, LeastRequest,
    connect_fn, discover,
    http::{HttpClassify, OriginLayer},
    stack::check,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let up = format!("http://{}", listener.local_addr()?);
    let app = Router::new().route("/echo", post(async |body: String| body));
    tokio::spawn(async move { axum::serve(listener, app).await });
    // Nothing listens there any more.
    let down = format!("http://{}", TcpListener::bind("127.0.0.1:0").await?.local_addr()?);

    // One client and one pool for all endpoints: the layer below writes the address of each.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    let connector = connect_fn(move |_: &Endpoint| {
        let client = client.clone();
        service_fn(move |request: http::Request<Bytes>| {
            let client = client.clone();
            async move {
                let response = client.execute(request.try_into()?).await?;
                Ok::<http::Response<reqwest::Body>, reqwest::Error>(response.into())
            }
        })
    })
    // A connection that could not be made: even a POST may go elsewhere.
    .unsent_if(|error: &BoxError| error.downcast_ref().is_some_and(reqwest::Error::is_connect));

    let stack = ServiceBuilder::new()
        .layer(FailoverLayer::new(Attempts::up_to(3)).with_classify(HttpClassify))
        .layer(BalanceLayer::new(discover::fixed([up, down])?, LeastRequest::new()))
        .layer(CircuitBreakerLayer::default().with_classify(HttpClassify))
        .layer(OriginLayer::new())
        .service(connector);
    let stack = check::<http::Request<Bytes>, _>(stack);

    for number in 1..=20 {
        let body = Bytes::from(format!("hello {number}"));
        let response = stack.clone().oneshot(http::Request::post("/echo").body(body)?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        println!("{status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(())
}
