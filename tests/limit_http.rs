//! What clients are told of a limit.
#![cfg(all(feature = "test-util", feature = "http"))]
#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use tokio::time::advance;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, ConcurrencyLimitLayer, Error, Quota,
    RateLimitLayer,
    error::Kind,
    http::{AnswerLayer, ClientIp},
};

const SECOND: Duration = Duration::from_secs(1);

fn field<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn get_root() -> Request<Body> {
    Request::get("/").body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_answer_of_an_axum_server_says_how_it_stands() {
    let limit = RateLimitLayer::new(Quota::per_minute(100).burst(2));
    let app: Router = Router::new().route("/", get(async || "hello")).layer(
        ServiceBuilder::new()
            .layer(AnswerLayer::new().with_fields("a\"p\\i", limit.clone()))
            .layer(limit.clone()),
    );
    let call = async || app.clone().oneshot(get_root()).await.unwrap();
    let first = call().await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(field(&first, "ratelimit-policy"), Some("\"api\";q=3;w=2"));
    assert_eq!(field(&first, "ratelimit"), Some("\"api\";r=1;t=1"));
    assert_eq!(field(&first, "retry-after"), None);
    call().await;
    let refused = call().await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(&refused, "ratelimit"), Some("\"api\";r=0;t=2"));
    assert_eq!(field(&refused, "retry-after"), Some("1"), "0.6 s, rounded up");
    advance(SECOND).await;
    assert_eq!(call().await.status(), StatusCode::OK);
    limit.handle().set([Quota::per_second(10), Quota::per_minute(100)]);
    let both = call().await;
    let policies = "\"api\";q=10;w=1, \"api-2\";q=100;w=60";
    assert_eq!(field(&both, "ratelimit-policy"), Some(policies));
    assert!(field(&both, "ratelimit").unwrap().contains(", \"api-2\";r=99;t="));
}

#[tokio::test(start_paused = true)]
async fn each_client_is_told_of_its_own_quota() {
    let client = ClientIp::new(|extensions| extensions.get::<IpAddr>().copied());
    let limit =
        RateLimitLayer::new(Quota::per_minute(5)).by_key(client.trust(["10.0.0.0/8"]).unwrap());
    let app: Router = Router::new().route("/", get(async || "hello")).layer(
        ServiceBuilder::new()
            .layer(AnswerLayer::new().with_fields("client", limit.clone()))
            .layer(limit.clone()),
    );
    let call = async |peer: [u8; 4], forwarded: &str| {
        let mut request = get_root();
        request.extensions_mut().insert(IpAddr::from(peer));
        request.headers_mut().insert("x-forwarded-for", forwarded.parse().unwrap());
        let response = app.clone().oneshot(request).await.unwrap();
        field(&response, "ratelimit").unwrap().to_owned()
    };
    assert_eq!(call([198, 51, 100, 1], "203.0.113.9").await, "\"client\";r=4;t=12");
    assert_eq!(call([198, 51, 100, 1], "203.0.113.10").await, "\"client\";r=3;t=24");
    assert_eq!(call([10, 1, 1, 1], "6.6.6.6, 203.0.113.9").await, "\"client\";r=4;t=12");
    assert_eq!(call([10, 2, 2, 2], "7.7.7.7, 203.0.113.9").await, "\"client\";r=3;t=24");
    let known = Some(IpAddr::from([203, 0, 113, 9]));
    assert_eq!(limit.handle().remaining(&known), 3);
}

#[tokio::test(start_paused = true)]
async fn a_grpc_client_gets_trailers_only() {
    let limit = RateLimitLayer::new(Quota::per_second(1).burst(1));
    let service = ServiceBuilder::new().layer(AnswerLayer::new()).layer(limit).service(service_fn(
        async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::from("message"))),
    ));
    let call = async |content: &'static str| {
        let request = Request::post("/a.B/C").header(CONTENT_TYPE, content).body(()).unwrap();
        service.clone().oneshot(request).await.unwrap()
    };
    assert_eq!(field(&call("application/grpc+proto").await, "grpc-status"), None);
    advance(Duration::from_nanos(999_100_000)).await;
    let refused = call("application/grpc+proto").await;
    assert_eq!((refused.status(), refused.body().as_str()), (StatusCode::OK, ""));
    assert_eq!(field(&refused, "content-type"), Some("application/grpc+proto"));
    assert_eq!(field(&refused, "grpc-status"), Some("8"));
    assert_eq!(field(&refused, "grpc-message"), Some("[RATELIMIT_1501] rate limit exceeded"));
    assert_eq!(field(&refused, "grpc-retry-pushback-ms"), Some("1"), "0.9 ms, rounded up");
    assert_eq!(field(&refused, "ratelimit"), None);
    let refused = call("application/json").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(field(&refused, "grpc-status"), None);
}

#[tokio::test(start_paused = true)]
async fn too_many_at_once_is_exhausted_over_grpc_and_unavailable_over_http() {
    let limit = ConcurrencyLimitLayer::new(1);
    let _place = limit.handle().take().unwrap();
    let service = ServiceBuilder::new().layer(AnswerLayer::new()).layer(limit).service(service_fn(
        async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())),
    ));
    let request = Request::post("/").header(CONTENT_TYPE, "application/grpc").body(()).unwrap();
    let refused = service.clone().oneshot(request).await.unwrap();
    assert_eq!(field(&refused, "grpc-status"), Some("8"));
    let refused = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn other_errors_are_answers_too() {
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default());
    let service = ServiceBuilder::new().layer(AnswerLayer::new()).layer(breaker.clone()).service(
        service_fn(async |_: Request<()>| Err::<Response<String>, BoxError>("broken".into())),
    );
    let call = async || service.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(call().await.status(), StatusCode::BAD_GATEWAY);
    breaker.handle().force_open();
    assert_eq!(call().await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_dead_service_is_answered_for_and_not_asked_again() {
    #[derive(Clone, Default)]
    struct Dead(u32);

    impl Service<Request<()>> for Dead {
        type Response = Response<String>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Response<String>, BoxError>>;

        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            self.0 += 1;
            assert_eq!(self.0, 1, "asked again");
            std::task::Poll::Ready(Err("dead".into()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            unreachable!("called without being ready")
        }
    }

    let mut service = AnswerLayer::new().layer(Dead::default());
    for _ in 0..3 {
        let answer = service.ready().await.unwrap().call(Request::new(())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    }
}

// What is told of an error that becomes a response.

/// A response body that has no `Default`.
#[derive(Debug)]
struct Odd(String);

fn fails(
    error: &'static str,
) -> impl Service<Request<Body>, Response = Response<Odd>, Error = BoxError> + Clone {
    service_fn(move |_: Request<Body>| async move { Err::<Response<Odd>, BoxError>(error.into()) })
}

#[tokio::test(start_paused = true)]
async fn the_error_behind_a_response_is_told_to_a_closure() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let told = told.clone();
        move |error: &Error| {
            // With gRPC, the source of a refusal is its status, for tonic.
            let source = std::error::Error::source(error).filter(|_| !error.is_refused());
            let source = source.map(|source| source.to_string());
            told.lock().unwrap().push((error.kind(), error.is_refused(), source));
        }
    };
    let limit = RateLimitLayer::new(Quota::per_minute(1).burst(1));
    let service = ServiceBuilder::new()
        .layer(AnswerLayer::new().with_fields("api", limit.clone()).on_error(listener))
        .layer(limit)
        .service(service_fn(async |request: Request<Body>| match request.uri().path() {
            "/" => Ok(Response::new(Body::from("hello"))),
            _ => Err(BoxError::from("the disk is full")),
        }));
    let call = async |path: &str, content: &'static str| {
        let request = Request::get(path).header(CONTENT_TYPE, content).body(Body::empty());
        service.clone().oneshot(request.unwrap()).await.unwrap().status()
    };
    assert_eq!(call("/", "text/plain").await, StatusCode::OK);
    assert!(told.lock().unwrap().is_empty(), "a good answer is no error");
    assert_eq!(call("/", "text/plain").await, StatusCode::TOO_MANY_REQUESTS);
    advance(SECOND * 60).await;
    assert_eq!(call("/x", "text/plain").await, StatusCode::BAD_GATEWAY);
    // Of gRPC, too.
    assert_eq!(call("/x", "application/grpc").await, StatusCode::OK);
    let told = told.lock().unwrap();
    let disk = Some("the disk is full".to_owned());
    assert_eq!(
        *told,
        [
            (Kind::RateLimited, true, None),
            (Kind::Service, false, disk),
            (Kind::RateLimited, true, None),
        ]
    );
}

#[tokio::test]
async fn a_body_without_a_default_is_made_by_a_closure() {
    let made = AnswerLayer::new().with_body(|| Odd(String::new())).on_error(|_| {});
    for content in ["text/plain", "application/grpc"] {
        let request = Request::get("/").header(CONTENT_TYPE, content).body(Body::empty()).unwrap();
        let response = made.layer(fails("broken")).oneshot(request).await.unwrap();
        assert_eq!(response.body().0, "");
        let grpc = field(&response, "grpc-status");
        assert_eq!(
            (response.status() == 502, grpc),
            match content {
                "text/plain" => (true, None),
                _ => (false, Some("2")),
            }
        );
    }
}

/// What is logged, as level and text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(tracing::Level, String)>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, of: &tracing::Metadata<'_>) -> bool {
        of.target().starts_with("tower_upstream::http")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl tracing::field::Visit for Text {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0.push_str(&format!("{}={value:?} ", field.name()));
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn the_error_behind_a_response_is_logged_with_its_sources_by_how_bad_it_is() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let spent = RateLimitLayer::new(Quota::per_minute(1).burst(1));
    spent.handle().take(1).unwrap();
    let answer = AnswerLayer::new().with_body(|| Odd(String::new()));
    let refused = ServiceBuilder::new().layer(answer.clone()).layer(spent).service(fails("never"));
    refused.oneshot(get_root()).await.unwrap();
    answer.layer(fails("the disk is full")).oneshot(get_root()).await.unwrap();
    // A closure is told instead.
    answer.on_error(|_| {}).layer(fails("not logged")).oneshot(get_root()).await.unwrap();
    let log = log.0.lock().unwrap();
    let levels: Vec<_> = log.iter().map(|(level, _)| *level).collect();
    assert_eq!(levels, [tracing::Level::DEBUG, tracing::Level::WARN]);
    assert!(log[0].1.contains("RATELIMIT_1501"), "{log:?}");
    assert!(log[1].1.contains("the disk is full"), "{log:?}");
}
