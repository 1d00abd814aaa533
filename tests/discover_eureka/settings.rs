//! Every key of the config has an effect.

use futures::StreamExt;
use serde_json::json;
use tower_upstream::{
    Endpoint,
    discover::{Discover, Eureka, EurekaConfig, EurekaFetch, Registry, WatchConfig},
    error::Kind,
};

use crate::{
    double::Double,
    reading::config,
    sets::next,
    support::{ms, secs},
    tls::{Files, secured},
};

fn read(json: &str) -> EurekaConfig {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_file_says_what_the_builders_say() {
    let config = read(
        r#"{"urls": ["http://10.0.0.1:8761/eureka"], "shuffle": true, "registry_fetch_interval": 10000000000,
            "instance_info_replication_interval": "1m", "lease_renewal_interval": "10s", "lease_duration": "30s",
            "request_timeout": "2s", "fetch": "application", "prefer_secure_port": true, "prefer_host_name": true,
            "username": "tax", "password": "s3cret", "allow_plaintext": true, "tls_ca_file": "/ca.pem",
            "tls_cert": "/c.pem", "tls_key": "/k.pem", "max_response_bytes": 1048576,
            "watch": {"empty_grace": "30s"}}"#,
    );
    let built = EurekaConfig::default()
        .with_urls(["http://10.0.0.1:8761/eureka"])
        .with_shuffle(true)
        .with_registry_fetch_interval(secs(10))
        .with_instance_info_replication_interval(secs(60))
        .with_lease(secs(10), secs(30))
        .with_request_timeout(secs(2))
        .with_fetch(EurekaFetch::Application)
        .with_prefer_secure_port(true)
        .with_prefer_host_name(true)
        .with_user("tax", "s3cret")
        .with_allow_plaintext(true)
        .with_tls_ca_file("/ca.pem")
        .with_tls_certificate("/c.pem", "/k.pem")
        .with_max_response_bytes(1 << 20)
        .with_watch(WatchConfig::default().with_empty_grace(secs(30)));
    assert_eq!(config, built);
    // All but the secret.
    let written = serde_json::to_string(&config).unwrap();
    assert!(!written.contains("s3cret") && !format!("{config:?}").contains("s3cret"));
    assert_eq!(read(&written), config.with_user("tax", ""));
    assert_eq!(read("{}"), EurekaConfig::default());
}

#[test]
fn mistakes_are_named_all_at_once() {
    let wrong = read(
        r#"{"urls": [], "registry_fetch_interval": "1ms", "instance_info_replication_interval": "48h",
            "lease_renewal_interval": "1500ms", "lease_duration": "1s", "request_timeout": "1h", "password": "s3cret",
            "tls_cert": "/c", "max_response_bytes": 1, "watch": {"max_removed": 2}}"#,
    );
    let error = Eureka::new(wrong).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    let text = error.to_string();
    for key in [
        "`urls`",
        "`registry_fetch_interval`",
        "`instance_info_replication_interval`",
        "whole seconds",
        "`lease_duration`",
        "`request_timeout`",
        "`password`",
        "`tls_key`",
        "`max_response_bytes`",
        "`max_removed`",
    ] {
        assert!(text.contains(key), "{key}: {text}");
    }
    assert!(!text.contains("s3cret"));
    for (json, part) in
        [(r#"{"url": "x:1"}"#, "url"), (r#"{"registry_fetch_interval": "x"}"#, "fetch_interval")]
    {
        let error = serde_json::from_str::<EurekaConfig>(json).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let eureka = Eureka::new(EurekaConfig::default()).unwrap();
    assert!(eureka.service("").is_err() && eureka.vip("").is_err());
}

#[tokio::test(start_paused = true)]
async fn user_and_password_are_sent_with_everything() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    let eureka = Eureka::new(config(&double).with_user("Aladdin", "open sesame")).unwrap();
    next(&mut eureka.service("tax").unwrap().discover()).await;
    let registry = Registry::new(eureka.registrar());
    let registration = registry.register("tax", Endpoint::new("10.0.0.1:80").unwrap()).unwrap();
    registration.registered(secs(5)).await.unwrap();
    registration.deregister(secs(5)).await.unwrap();
    for asked in double.asked() {
        assert_eq!(asked.headers["authorization"], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
    // Elsewhere, where they could be read on the way, they are not sent.
    let open = EurekaConfig::default().with_urls(["http://10.0.0.1:1"]).with_user("a", "s3cret");
    let error = Eureka::new(open.clone()).unwrap_err().to_string();
    assert!(error.contains("allow_plaintext") && !error.contains("s3cret"), "{error}");
    assert!(Eureka::new(open.with_allow_plaintext(true)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn name_and_secure_port_are_used_where_they_are_preferred() {
    let double = Double::start().await;
    let secure = json!({"securePort": {"$": "8443", "@enabled": "true"}, "hostName": "a.example"});
    double.put("tax", "tax-1", secure);
    for (secure, name, expected) in [
        (false, false, "http://127.0.0.1:80"),
        (true, false, "https://127.0.0.1:8443"),
        (false, true, "http://a.example:80"),
        (true, true, "https://a.example:8443"),
    ] {
        let config = config(&double).with_prefer_secure_port(secure).with_prefer_host_name(name);
        let eureka = Eureka::new(config).unwrap();
        let set = next(&mut eureka.service("tax").unwrap().discover()).await;
        assert_eq!(set[0].address().as_str(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_is_read_as_often_as_the_config_says_and_a_request_takes_no_longer() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    let config =
        config(&double).with_registry_fetch_interval(secs(5)).with_request_timeout(ms(700));
    let endpoints = Eureka::new(config).unwrap().service("tax").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    next(&mut sets).await;
    tokio::time::sleep(secs(100)).await;
    let asked = double.asked().len();
    assert!((18..=21).contains(&asked), "{asked}");
    double.partition();
    tokio::time::sleep(secs(7)).await;
    let error = format!("{:#}", handle.last_error().unwrap());
    assert!(error.contains("within 700ms"), "{error}");
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_is_used_with_the_authority_and_the_certificate_that_are_given() {
    let (double, files) = (Double::start().await, Files::new());
    double.up("tax", "tax-1", 1);
    let (address, ca, [cert, key]) = secured(double.address(), &files).await;
    let url = format!("https://localhost:{}/eureka", address.port());
    let trusting = EurekaConfig::default().with_urls([url]).with_tls_ca_file(&ca);
    let whole = trusting.clone().with_tls_certificate(&cert, &key);
    let mut sets = Eureka::new(whole).unwrap().service("tax").unwrap().discover();
    assert_eq!(sets.next().await.unwrap().len(), 1);
    let unknown = Eureka::new(trusting).unwrap().service("tax").unwrap();
    assert!(unknown.first_snapshot(ms(500)).await.is_err(), "it asks for a certificate");
}
