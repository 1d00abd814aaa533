//! An axum server whose handler calls a balanced upstream.
//!
//! What the stack refuses becomes 429 or 503 with `Retry-After`; the handler does nothing for it.
//!
//! ```text
//! cargo run --features http --example axum_gateway -- http://127.0.0.1:9001 http://127.0.0.1:9002
//! curl -i 'http://127.0.0.1:3000/tax?net=100'
//! ```
//! Without arguments it starts a plugin of its own, calls itself a few times, shows the answers, and
//! ends.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_upstream::{
    Attempts, BalanceLayer, BoxError, Call, CircuitBreakerConfig, CircuitBreakerLayer, Error,
    FailoverLayer, PeakEwma, Quota, RateLimitLayer, Reply, discover, serve,
    transport::HttpTransport,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct TaxRequest {
    net: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct TaxReply {
    gross: u64,
}

/// The stack has a long type; a box gives it a short one, for an allocation per call.
type Plugins = BoxCloneSyncService<Call<TaxRequest>, Reply<TaxReply>, Error>;

fn plugins(addresses: &[String]) -> Result<Plugins, Error> {
    let stack = ServiceBuilder::new()
        .layer(RateLimitLayer::new(Quota::per_second(5).burst(5)))
        .layer(FailoverLayer::new(Attempts::up_to(3).with_overall(Duration::from_secs(2))))
        .layer(BalanceLayer::new(discover::fixed(addresses)?, PeakEwma::default()))
        .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::default()))
        .service(HttpTransport::<TaxRequest, TaxReply>::new());
    Ok(BoxCloneSyncService::new(stack))
}

/// Makes a response of an error: its status, and when to come back.
struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_response::<Body>()
    }
}

async fn tax(
    State(plugins): State<Plugins>,
    Query(request): Query<TaxRequest>,
) -> Result<Json<TaxReply>, Refusal> {
    let reply = plugins.oneshot(Call::new(request).idempotent()).await?;
    Ok(Json(reply.into_body()))
}

fn gateway(plugins: Plugins) -> Router {
    Router::new().route("/tax", get(tax)).with_state(plugins)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let addresses: Vec<String> = std::env::args().skip(1).collect();
    if !addresses.is_empty() {
        let listener = TcpListener::bind("127.0.0.1:3000").await?;
        println!("http://{}/tax?net=100", listener.local_addr()?);
        return Ok(axum::serve(listener, gateway(plugins(&addresses)?)).await?);
    }

    // A plugin that doubles as the only endpoint.
    let plugin = service_fn(|call: Call<TaxRequest>| async move {
        Ok::<_, BoxError>(Reply::new(TaxReply { gross: call.body().net * 122 / 100 }))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let server = Router::new().fallback_service(serve::http(plugin));
    tokio::spawn(async move { axum::serve(listener, server).await });

    // Five calls are within the quota, the sixth is not.
    let gateway = gateway(plugins(&[address])?);
    for number in 1..=6 {
        let request = http::Request::get("/tax?net=100").body(Body::empty())?;
        show(number, gateway.clone().oneshot(request).await?).await?;
    }
    Ok(())
}

async fn show(number: u32, response: Response) -> Result<(), BoxError> {
    let status = response.status();
    let retry_after = response.headers().get(http::header::RETRY_AFTER).cloned();
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await?;
    let body = String::from_utf8_lossy(&body);
    println!("{number}: {status}, Retry-After {retry_after:?}, {body}");
    Ok(())
}
