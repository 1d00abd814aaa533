//! gRPC over a Unix socket, at both ends.
#![cfg(all(feature = "grpc", unix))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod grpc;
mod socket;

use std::{convert::Infallible, os::unix::fs::MetadataExt, sync::Arc};

use grpc::{connect, until, within};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, sync::oneshot};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{ServiceExt, service_fn};
use tower_upstream::{
    Call, Endpoint, Reply,
    auth::Credentials,
    connect::Connect,
    error::{Code, Kind},
    health::{Check, GrpcCheck, Verdict},
    member::Member,
    plugin::{PluginInfo, PluginStatus},
    serve,
    transport::{GrpcConfig, GrpcTransport, HttpTransport},
};

async fn double(call: Call<u64>) -> Result<Reply<u64>, Infallible> {
    Ok(Reply::new(call.body() * 2))
}

#[tokio::test]
async fn a_plugin_behind_a_socket_is_called_checked_and_stopped() {
    let path = socket::new_path().display().to_string();
    let plugin = serve::grpc(service_fn(double)).info(PluginInfo::new("double", "1.0.0"));
    let server = plugin.bind(format!("unix:{path}")).listen().await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let as_http = server.address();
    let running = tokio::spawn(server.run_until(async { drop(stopped.await) }));
    let address = as_http.replace("http+unix", "grpc+unix");
    assert!(address.starts_with("grpc+unix://%2F"), "{address}");
    for address in [&address, &as_http] {
        let transport = GrpcTransport::<u64, u64>::new();
        let service = transport.connect(&Member::new(address.parse::<Endpoint>().unwrap()));
        // Which cannot be read on the way.
        let call = || Call::new(7).with_credentials(Credentials::bearer("abc.def"));
        for _ in 0..3 {
            let reply = within(service.clone().oneshot(call())).await.unwrap();
            assert_eq!(reply.into_body(), 14);
        }
        assert_eq!(transport.handle().connections(), 1);
        assert_eq!(within(service.health()).await.status, PluginStatus::Healthy);
        assert_eq!(within(service.info()).await.unwrap().name, "double");
        let endpoint = Arc::new(address.parse::<Endpoint>().unwrap());
        let check = GrpcCheck::new().service("double");
        assert_eq!(check.problem(Some(&endpoint)), None);
        assert_eq!(within(check.check(Some(endpoint))).await, Verdict::Healthy);
    }
    // So does a client of tonic.
    let place = path.clone();
    let connector = service_fn(move |_| {
        let place = place.clone();
        async move { UnixStream::connect(place).await.map(TokioIo::new) }
    });
    let channel = Channel::from_static("http://localhost").connect_with_connector_lazy(connector);
    let told = within(HealthClient::new(channel).check(HealthCheckRequest::default())).await;
    assert_eq!(told.unwrap().into_inner().status, 1);

    let service = connect(GrpcConfig::default(), &address);
    assert!(within(service.clone().oneshot(Call::new(7))).await.is_ok());
    stop.send(()).unwrap();
    within(running).await.unwrap();
    let error = within(service.clone().oneshot(Call::new(7))).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    assert_eq!(within(service.health()).await.status, PluginStatus::Offline);
}

#[tokio::test]
async fn a_process_of_another_user_is_sent_nothing() {
    let path = socket::new_path();
    let server = serve::grpc(service_fn(double)).bind(format!("unix:{}", path.display()));
    let server = server.listen().await.unwrap();
    let address = server.address();
    tokio::spawn(server.run_until(std::future::pending()));
    let own = std::fs::metadata(&path).unwrap().uid();
    let others = GrpcConfig::default().with_allowed_uids([own + 1]);
    let error = within(connect(others.clone(), &address).oneshot(Call::new(7))).await.unwrap_err();
    assert_eq!((error.code(), error.is_unsent()), (Code::SECURITY_1801, true), "{error}");
    for may in [others.clone().with_allow_any_user(true), others.with_allowed_uids([own])] {
        assert!(within(connect(may, &address).oneshot(Call::new(7))).await.is_ok());
    }
}

#[tokio::test]
async fn connections_are_counted_until_they_are_closed() {
    let path = socket::new_path();
    let server = serve::grpc(service_fn(double)).bind(format!("unix:{}", path.display()));
    let server = server.listen().await.unwrap();
    let address = server.address();
    let running = tokio::spawn(server.run_until(std::future::pending()));
    let transport = GrpcTransport::<u64, u64>::new();
    let service = transport.connect(&Member::new(address.parse::<Endpoint>().unwrap()));
    assert!(within(service.clone().oneshot(Call::new(7))).await.is_ok());
    let handle = transport.handle();
    assert_eq!(handle.connections(), 1);
    running.abort();
    until("the connection closes", || handle.connections() == 0).await;
}

#[tokio::test]
async fn an_address_of_grpc_is_none_of_http() {
    let member = Member::new("grpc+unix://%2Frun%2Fa".parse::<Endpoint>().unwrap());
    let service = HttpTransport::<u64, u64>::new().connect(&member);
    let error = within(service.oneshot(Call::new(7))).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::PLUGIN_1008), "{error}");
}
