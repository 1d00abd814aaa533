//! An axum server with a quota and a circuit for each tenant.
//!
//! `cargo run --features http --example tenants`

use std::convert::Infallible;

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode},
};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Quota, RateLimitLayer,
    http::{AnswerLayer, HttpClassify},
};

/// What limits and circuits count requests by. All requests without the field are one tenant.
fn tenant(request: &Request<Body>) -> Option<HeaderValue> {
    request.headers().get("x-tenant").cloned()
}

/// Fails for one tenant alone, whose database is down.
async fn work(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::from("done"));
    if tenant(&request).is_some_and(|tenant| tenant == "broken") {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(response)
}

fn app() -> Router {
    // Three at once, then one a second: for each tenant.
    let limit = RateLimitLayer::new(Quota::per_second(1).burst(3)).by_key(tenant);
    // After two failures in a row, calls of that tenant are refused for a while.
    let circuit = CircuitBreakerLayer::new(CircuitBreakerConfig::consecutive(2))
        .with_classify(HttpClassify)
        .by_key(tenant);
    let service = ServiceBuilder::new()
        .layer(AnswerLayer::new().with_fields("tenant", limit.clone()))
        .layer(limit)
        .layer(circuit)
        .service(service_fn(work));
    Router::new().fallback_service(service)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let app = app();
    for tenant in ["blue", "blue", "blue", "blue", "green", "broken", "broken", "broken"] {
        let request = Request::get("/").header("x-tenant", tenant).body(Body::empty())?;
        let response = app.clone().oneshot(request).await?;
        let left = response.headers().get("ratelimit").cloned();
        println!("{tenant}: {}, {left:?}", response.status());
    }
    Ok(())
}
