use std::time::Duration;

use super::*;
use crate::endpoint::{Endpoint, Locality};

fn instance(change: impl FnOnce(Endpoint) -> Endpoint) -> Instance {
    let endpoint = Endpoint::new("https://10.1.4.9:8443").unwrap().with_key("orders-7");
    Instance::new("orders", change(endpoint)).unwrap()
}

fn body(change: impl FnOnce(Endpoint) -> Endpoint) -> Result<Value, Error> {
    registration(&instance(change), &ConsulCheck::default(), &Scope::default())
}

fn check(check: ConsulCheck) -> Value {
    registration(&instance(|endpoint| endpoint), &check, &Scope::default()).unwrap()["Check"]
        .clone()
}

#[test]
fn an_instance_is_written_whole() {
    let scope = Scope {
        datacenter: Some("dc1".to_owned()),
        namespace: Some("team".to_owned()),
        partition: Some("p".to_owned()),
    };
    let instance = instance(|endpoint| {
        endpoint
            .with_tag("v2")
            .with_weight(7)
            .with_locality(Locality::of_zone("eu-1a"))
            .with_metadata("version", "2.3.0")
            .with_metadata("farp.enabled", "true")
            .with_metadata("name", "orders")
    });
    let body = registration(&instance, &ConsulCheck::default(), &scope).unwrap();
    let expected = json!({
        "ID": "orders-7", "Name": "orders", "Tags": ["v2"], "Port": 8443, "Address": "10.1.4.9",
        "Meta": {"protocol": "https", "zone": "eu-1a", "version": "2.3.0", "farp_enabled": "true"},
        "Weights": {"Passing": 7, "Warning": 7},
        "Check": {"TTL": "30s", "DeregisterCriticalServiceAfter": "1m0s", "Status": "passing"},
        "Namespace": "team", "Partition": "p",
    });
    assert_eq!(body, expected);
}

#[test]
fn every_kind_of_check_is_written() {
    let of = |kind| ConsulCheck::default().with_kind(kind).with_deregister_after(None);
    let often = |mut body: Value| {
        let more = json!({"Interval": "10s", "Timeout": "5s", "Status": "passing"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    assert_eq!(check(of(ConsulCheckKind::None)), Value::Null);
    assert_eq!(check(of(ConsulCheckKind::Ttl)), json!({"TTL": "30s", "Status": "passing"}));
    assert_eq!(check(of(ConsulCheckKind::Tcp)), often(json!({"TCP": "10.1.4.9:8443"})));
    let http = of(ConsulCheckKind::Http)
        .with_path("ready")
        .with_method("POST")
        .with_body("ping".to_owned())
        .with_headers(BTreeMap::from([("X-Probe".to_owned(), vec!["1".to_owned()])]))
        .with_tls_skip_verify(true)
        .with_tls_server_name("orders.internal".to_owned())
        .with_success_before_passing(2_u32)
        .with_failures_before_critical(3_u32);
    let expected = json!({
        "HTTP": "https://10.1.4.9:8443/ready", "Method": "POST", "Body": "ping", "Header": {"X-Probe": ["1"]},
        "TLSSkipVerify": true, "TLSServerName": "orders.internal", "SuccessBeforePassing": 2,
        "FailuresBeforeCritical": 3,
    });
    assert_eq!(check(http), often(expected));
    let grpc = of(ConsulCheckKind::Grpc).with_grpc_service("orders".to_owned());
    let expected = json!({"GRPC": "10.1.4.9:8443/orders", "GRPCUseTLS": true});
    assert_eq!(check(grpc), often(expected));
    let expected = json!({"H2PING": "10.1.4.9:8443", "H2PingUseTLS": true});
    assert_eq!(check(of(ConsulCheckKind::H2ping)), often(expected));
}

#[test]
fn what_consul_has_no_place_for_is_refused_with_the_reason() {
    type Change = fn(Endpoint) -> Endpoint;
    let at = |address: &str| Endpoint::new(address).unwrap().with_key("orders-7");
    let many = |endpoint: Endpoint| {
        (0..65).fold(endpoint, |endpoint, n| endpoint.with_metadata(format!("k{n}"), "v"))
    };
    let changes: [(Change, &str); 6] = [
        (|endpoint| endpoint.with_metadata("ü", "v"), "letters"),
        (|endpoint| endpoint.with_metadata("consul-x", "v"), "`consul-`"),
        (|endpoint| endpoint.with_metadata("k", "v".repeat(513)), "512"),
        (|endpoint| endpoint.with_metadata("a.b", "1").with_metadata("a_b", "2"), "`a_b`"),
        (|endpoint| endpoint.with_weight(0), "weight"),
        (|endpoint| endpoint.with_weight(65_536), "weight"),
    ];
    for (change, part) in changes {
        let error = body(change).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(body(many).unwrap_err().to_string().contains("64 pairs"));
    for (address, part) in [
        ("http://a:1/v1", "has a path"),
        ("unix:/run/x.sock", "no host"),
        ("http+unix://%2Frun%2Fx.sock", "no host"),
        ("grpc://a", "no port"),
    ] {
        let error = body(|_| at(address)).unwrap_err().to_string();
        assert!(error.contains(part), "{address}: {error}");
    }
    assert_eq!(body(|_| at("http://a")).unwrap()["Port"], 80);
    // As it was read.
    let both = |of: Endpoint| of.with_metadata("farp.x", "1").with_metadata("farp_x", "1");
    assert_eq!(body(both).unwrap()["Meta"]["farp_x"], "1");
}

#[test]
fn intervals_are_clamped_to_what_consul_takes() {
    let check = ConsulCheck::default()
        .with_ttl(Duration::ZERO)
        .with_interval(Duration::ZERO)
        .with_timeout(Duration::ZERO)
        .with_deregister_after(Duration::from_secs(1))
        .clamped();
    let [ttl, interval, timeout] = [check.ttl, check.interval, check.timeout].map(go_duration);
    assert_eq!((&*ttl, &*interval, &*timeout), ("3s", "1s", "1ms"));
    assert_eq!(check.deregister_after, Some(Duration::from_secs(60)));
}
