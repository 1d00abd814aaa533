//! A client that tries again what is worth it: an upload that streams, to a server that is busy.
//!
//! `cargo run --example retry --features http,tower`

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
};

use axum::{Router, body::Body, http::StatusCode, response::IntoResponse, routing::put};
use futures::stream;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{net::TcpListener, time::Instant};
use tower::{ServiceBuilder, ServiceExt, retry::RetryLayer};
use tower_upstream::{
    BoxError,
    http::{HttpClassify, ReplayBody, ReplayBodyLayer},
    retry::{RetryConfig, RetryPolicy},
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/", listener.local_addr()?);
    let server = tokio::spawn(axum::serve(listener, busy()).into_future());

    let policy = RetryPolicy::new(RetryConfig::up_to(3)).with_classify(HttpClassify);
    let client = ServiceBuilder::new()
        .layer(ReplayBodyLayer::new())
        .layer(RetryLayer::new(policy))
        .service(Client::builder(TokioExecutor::new()).build_http::<ReplayBody>());

    let parts = ["one ", "body ", "that ", "streams"].map(Ok::<_, Infallible>);
    let request = http::Request::put(address).body(Body::from_stream(stream::iter(parts)))?;
    let start = Instant::now();
    let response = client.oneshot(request).await?;

    println!("{} after {} s", response.status(), start.elapsed().as_secs());
    let body = axum::body::to_bytes(Body::new(response.into_body()), 1_024).await?;
    println!("{}", String::from_utf8_lossy(&body));
    server.abort();
    Ok(())
}

/// Asks the first to come back in a second.
fn busy() -> Router {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    Router::new().route(
        "/",
        put(|body: String| async move {
            match CALLS.fetch_add(1, Ordering::Relaxed) {
                0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
                _ => format!("got `{body}`").into_response(),
            }
        }),
    )
}
