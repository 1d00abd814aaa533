//! `GrpcTransport` over TLS: whom it trusts, what it shows, and what it speaks.
#![cfg(all(feature = "grpc", feature = "tls"))]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/tls.rs"]
mod certificates;
mod grpc;

use std::{net::SocketAddr, sync::Arc};

use certificates::{Authority, Files, acceptor};
use grpc::{Seen, well, within};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tower_upstream::{
    Call, Endpoint, Error, Reply,
    connect::Connect,
    dial::TlsConfig,
    error::Kind,
    member::Member,
    plugin::PluginStatus,
    transport::{GrpcConfig, GrpcTransport},
};

async fn serve(acceptor: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = service_fn(async |request| {
                    let seen = Seen::read(request).await;
                    Ok::<_, std::convert::Infallible>(match &*seen.path {
                        "/grpc.health.v1.Health/Check" => well("\u{8}\u{1}"),
                        _ => well(&(seen.number() * 2).to_string()),
                    })
                });
                let server = http2::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    address
}

async fn call(tls: TlsConfig, url: String) -> Result<u64, Error> {
    let transport = GrpcTransport::<u64, u64>::with_config(GrpcConfig::default().with_tls(tls));
    let plugin = transport.connect(&Member::new(Endpoint::new(url).unwrap()));
    let reply = within(plugin.clone().oneshot(Call::new(7))).await.map(Reply::into_body)?;
    assert_eq!(within(plugin.health()).await.status, PluginStatus::Healthy);
    Ok(reply)
}

#[tokio::test]
async fn a_plugin_is_reached_over_tls_if_it_is_trusted_and_trusts_us() {
    let (authority, clients, files) = (Authority::new(), Authority::new(), Files::new());
    let ca = files.write("ca.pem", &authority.pem);
    let trusts = || TlsConfig::default().with_ca_file(&ca);
    let address = serve(acceptor(authority.identity("localhost", |_| {}), None)).await;
    for scheme in ["grpc-tls", "grpcs", "https"] {
        let url = format!("{scheme}://localhost:{}", address.port());
        // Whatever the config says of HTTP/2: gRPC is that.
        assert_eq!(call(trusts().with_http2(false), url).await.unwrap(), 14, "{scheme}");
    }
    let url = format!("grpc-tls://127.0.0.1:{}", address.port());
    assert_eq!(call(trusts().with_server_name("localhost"), url.clone()).await.unwrap(), 14);
    let error = call(trusts(), url).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    let url = format!("grpc-tls://localhost:{}", address.port());
    let error = call(TlsConfig::default(), url).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");

    let identity = authority.identity("localhost", |_| {});
    let address = serve(acceptor(identity, Some(&clients))).await;
    let url = || format!("grpc-tls://localhost:{}", address.port());
    let error = call(trusts(), url()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    let own = clients.identity("tax-host", |_| {});
    let pair = (files.write("own.pem", &own.pem), files.write("own.key", &own.key_pem));
    assert_eq!(call(trusts().with_client_certificate(pair.0, pair.1), url()).await.unwrap(), 14);
}

#[tokio::test]
async fn a_server_without_http2_is_refused_before_a_byte_is_sent() {
    let (authority, files) = (Authority::new(), Files::new());
    let ca = files.write("ca.pem", &authority.pem);
    let acceptor = acceptor(authority.identity("localhost", |_| {}), None);
    let mut config = (**acceptor.config()).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let address = serve(TlsAcceptor::from(Arc::new(config))).await;
    let url = format!("grpc-tls://localhost:{}", address.port());
    let error = call(TlsConfig::default().with_ca_file(ca), url).await.unwrap_err();
    assert_eq!((error.kind(), error.is_unsent()), (Kind::Connection, true), "{error}");
    assert!(error.to_string().contains("HTTP/2"), "{error}");
}
