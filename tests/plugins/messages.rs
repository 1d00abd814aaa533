//! Plugins whose messages are Protocol Buffers, at a server of tonic.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use serde_json::json;
use tokio::{net::TcpListener, task::AbortHandle};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_upstream::{
    Call,
    config::{Config, PluginConfig},
    discover::Memory,
    error::{Code, Kind},
    plugin::Encoded,
    plugins::Plugins,
};

#[derive(Clone, PartialEq, prost::Message)]
struct Ask {
    #[prost(uint64, tag = "1")]
    net: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(uint64, tag = "1")]
    gross: u64,
    /// The time that the server was told.
    #[prost(string, tag = "2")]
    timeout: String,
}

/// The service of a plugin, as tonic's generated code would serve it.
#[derive(Clone)]
struct Tax(BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>);

impl NamedService for Tax {
    const NAME: &'static str = "plugin.PluginService";
}

impl Service<http::Request<Body>> for Tax {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future =
        <BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible> as Service<
            http::Request<Body>,
        >>::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

struct Running {
    address: SocketAddr,
    is_down: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn gross(request: Request<Ask>) -> Result<Response<Answer>, Status> {
    let timeout = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
    let timeout = timeout.unwrap_or_default().to_owned();
    match request.into_inner().net {
        13 => Err(Status::not_found("thirteen")),
        net => Ok(Response::new(Answer { gross: net * 2, timeout })),
    }
}

async fn server() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let is_down = Arc::new(AtomicBool::new(false));
    let down = is_down.clone();
    let tax = service_fn(move |request: http::Request<Body>| {
        let down = down.clone();
        async move {
            if request.uri().path() != "/plugin.PluginService/Execute" || down.load(Relaxed) {
                return Ok(Status::unavailable("down").into_http());
            }
            Ok(Grpc::new(ProstCodec::<Answer, Ask>::default())
                .unary(service_fn(gross), request)
                .await)
        }
    });
    let running = Server::builder()
        .add_service(Tax(BoxCloneSyncService::new(tax)))
        .serve_with_incoming(TcpIncoming::from(listener));
    Running { address, is_down, task: tokio::spawn(running).abort_handle() }
}

fn tax(sections: serde_json::Value) -> PluginConfig {
    crate::world::tax(sections)
}

#[tokio::test]
async fn one_call_registers_a_client_of_the_messages_of_a_tonic_server() {
    let server = server().await;
    let plugins = Plugins::<Encoded, Encoded>::new();
    let config = tax(json!({
        "transport": "grpc", "endpoint": server.address.to_string(), "timeout": "5s",
        "health_check": { "enabled": false },
    }));
    let registered = plugins.register_grpc::<Ask, Answer>(config.clone()).unwrap();
    let reply = registered.clone().oneshot(Call::new(Ask { net: 21 })).await.unwrap();
    assert_eq!(reply.body().gross, 42);
    assert!(!reply.body().timeout.is_empty(), "the sections are those of the plugin");
    // A message of zeros has no bytes.
    let reply = registered.clone().oneshot(Call::new(Ask { net: 0 })).await.unwrap();
    assert_eq!(reply.body().gross, 0);
    let error = registered.oneshot(Call::new(Ask { net: 13 })).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Plugin);
    assert_eq!(error.to_string().matches("thirteen").count(), 1, "{error}");
    assert_eq!(error.downcast::<Status>().unwrap().message(), "thirteen");

    // By its name, and with what a reload leaves alone.
    plugins.apply(Config::default()).unwrap();
    let by_name = plugins.typed_grpc::<Ask, Answer>("tax").unwrap();
    assert_eq!(by_name.oneshot(Call::new(Ask { net: 4 })).await.unwrap().body().gross, 8);
    assert!(plugins.typed_grpc::<Ask, Answer>("vat").is_none());
    // One of a file speaks JSON, and says what to do about a message.
    let vat = tax(json!({
        "name": "vat", "transport": "grpc", "endpoint": server.address.to_string(),
    }));
    plugins.apply(Config::default().with_plugin(vat)).unwrap();
    assert!(plugins.typed_grpc::<Ask, Answer>("vat").is_none());
    let message = Call::new(Encoded::protobuf(&b"7"[..]));
    let error = plugins.call("vat", message).await.unwrap_err();
    assert!(error.is_unsent() && error.to_string().contains("`Plugins::register_grpc`"), "{error}");
    assert_eq!(
        plugins.register_grpc::<Ask, Answer>(config).unwrap_err().code(),
        Code::REGISTRY_1901
    );
}

#[tokio::test]
async fn another_type_is_the_callers_mistake() {
    let server = server().await;
    let plugins = Plugins::<Encoded, Encoded>::new();
    let config = tax(json!({ "transport": "grpc", "endpoint": server.address.to_string() }));
    let registered = plugins.register_grpc::<Ask, Answer>(config).unwrap();
    let texts = plugins.typed_grpc::<Ask, Vec<u8>>("tax").unwrap();
    let error = texts.oneshot(Call::new(Ask { net: 1 })).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Transport, Code::RPC_2005));
    assert_eq!(error.endpoint(), Some(&*format!("grpc://{}", server.address)));
    // A body of JSON is no message.
    let json = plugins.typed::<u64, u64>("tax").unwrap();
    let error = json.oneshot(Call::new(1)).await.unwrap_err();
    assert!(error.is_unsent() && error.to_string().contains("JSON"), "{error}");
    registered.oneshot(Call::new(Ask { net: 1 })).await.unwrap();
    for (transport, known) in [("http", "must be `grpc` or `grpc-tls`, not `http`"), ("", "`grpc`")]
    {
        let config = tax(json!({ "name": "vat", "transport": transport }));
        let error = plugins.register_grpc::<Ask, Answer>(config).unwrap_err();
        assert_eq!(error.code(), Code::PLUGIN_1008);
        assert!(error.to_string().contains(known), "{error}");
    }
}

#[tokio::test]
async fn messages_are_found_by_discovery_and_kept_for_a_fallback() {
    let server = server().await;
    let plugins = Plugins::<Encoded, Encoded>::new();
    plugins.register_source("tax", Memory::new([server.address.to_string()]).unwrap());
    let config = tax(json!({
        "transport": "grpc", "discover": { "memory": {} },
        "fallback": { "strategy": "cached" }, "circuit_breaker": { "enabled": false },
    }));
    let registered = plugins.register_grpc::<Ask, Answer>(config).unwrap();
    let call = async |net| registered.clone().oneshot(Call::new(Ask { net })).await;
    assert_eq!(call(3).await.unwrap().body().gross, 6);
    server.is_down.store(true, Relaxed);
    let kept = call(3).await.unwrap();
    assert_eq!((kept.body().gross, &*kept.metadata()["fallback"]), (6, "true"));
    call(4).await.unwrap_err();
}
