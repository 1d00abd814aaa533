use serde_json::{Value, json};

use super::*;

fn read(entries: &Value, query: &ConsulQuery) -> Vec<Endpoint> {
    endpoints(entries.to_string().as_bytes(), query).unwrap()
}

fn one(entry: Value) -> Endpoint {
    read(&json!([entry]), &ConsulQuery::default()).remove(0)
}

fn orders() -> Value {
    json!({
        "Node": {"ID": "n-1", "Node": "host-a", "Address": "10.0.0.9", "Datacenter": "dc1",
                 "Meta": {"zone": "eu-1a"}},
        "Service": {"ID": "orders-7", "Service": "orders", "Tags": ["v2"], "Address": "", "Port": 8443,
                    "Meta": {"version": "2.3.0", "farp_enabled": "true"},
                    "Weights": {"Passing": 10, "Warning": 1}, "Namespace": "default"},
        "Checks": [{"CheckID": "serfHealth", "ServiceID": "", "Status": "passing"},
                   {"CheckID": "service:orders-7", "ServiceID": "orders-7", "Status": "warning"}],
    })
}

fn with(mut entry: Value, pointer: &str, value: Value) -> Value {
    *entry.pointer_mut(pointer).unwrap() = value;
    entry
}

fn checked(status: &str, node: &str) -> Endpoint {
    one(with(
        orders(),
        "/Checks",
        json!([{"CheckID": "serfHealth", "Status": node}, {"CheckID": "x", "Status": status}]),
    ))
}

#[test]
fn an_instance_is_read_whole() {
    let endpoint = one(orders());
    assert_eq!((endpoint.key(), endpoint.address().as_str()), ("orders-7", "10.0.0.9:8443"));
    assert_eq!((endpoint.status(), endpoint.weight()), (Status::Warning, 1));
    assert_eq!((&*endpoint.locality().region, &*endpoint.locality().zone), ("dc1", "eu-1a"));
    assert_eq!(endpoint.tags(), ["v2"]);
    let metadata: Vec<_> = endpoint.metadata().iter().map(|(k, v)| (&**k, &**v)).collect();
    let expected = [
        ("farp.enabled", "true"),
        ("farp_enabled", "true"),
        ("name", "orders"),
        ("version", "2.3.0"),
    ];
    assert_eq!(metadata, expected);
    assert!(!endpoint.is_draining());
}

#[test]
fn the_worst_check_counts_that_of_the_node_too() {
    for (service, node, status, weight) in [
        ("passing", "passing", Status::Passing, 10),
        ("warning", "passing", Status::Warning, 1),
        ("passing", "critical", Status::Critical, 10),
        ("critical", "warning", Status::Critical, 10),
        ("something", "passing", Status::Passing, 10),
    ] {
        let endpoint = checked(service, node);
        assert_eq!((endpoint.status(), endpoint.weight()), (status, weight), "{service} {node}");
    }
    let unchecked = one(with(orders(), "/Checks", Value::Null));
    assert_eq!(unchecked.status(), Status::Passing);
}

#[test]
fn maintenance_drains_whatever_the_other_checks_say() {
    for id in ["_node_maintenance", "_service_maintenance:orders-7"] {
        for other in ["passing", "critical"] {
            let checks =
                json!([{"CheckID": "x", "Status": other}, {"CheckID": id, "Status": "critical"}]);
            let endpoint = one(with(orders(), "/Checks", checks));
            assert!(endpoint.is_draining());
            assert_eq!(endpoint.status() == Status::Critical, other == "critical");
        }
    }
}

#[test]
fn an_address_is_that_of_the_tag_of_the_service_or_of_the_node() {
    let entry = with(orders(), "/Service/Address", "::1".into());
    assert_eq!(one(entry.clone()).address().as_str(), "[::1]:8443");
    let mut entry = entry;
    entry["Service"]["TaggedAddresses"] = json!({
        "wan": {"Address": "192.0.2.1", "Port": 443}, "lan": {"Address": "10.1.1.1", "Port": 0},
    });
    for (tag, expected) in
        [("wan", "192.0.2.1:443"), ("lan", "10.1.1.1:8443"), ("wan_ipv6", "[::1]:8443")]
    {
        let query = ConsulQuery::default().with_tagged_address(tag);
        assert_eq!(read(&json!([entry]), &query)[0].address().as_str(), expected);
    }
    let query = ConsulQuery::default().with_scheme("https");
    assert_eq!(read(&json!([orders()]), &query)[0].address().as_str(), "https://10.0.0.9:8443");
    let mut entry = orders();
    entry["Service"]["Meta"]["protocol"] = "grpc".into();
    assert_eq!(read(&json!([entry]), &query)[0].address().as_str(), "grpc://10.0.0.9:8443");
}

#[test]
fn of_several_ports_the_default_one_is_used() {
    let address = |ports: Value| {
        let mut entry = with(orders(), "/Service/Port", 0.into());
        entry["Service"]["Ports"] = ports;
        let found = endpoints(json!([entry]).to_string().as_bytes(), &ConsulQuery::default());
        found.ok().map(|found| found[0].address().as_str().to_owned())
    };
    let (http, grpc) = (json!({"Name": "http", "Port": 80}), json!({"Name": "grpc", "Port": 81}));
    let default = json!({"Name": "x", "Port": 82, "Default": true});
    for (ports, expected) in [
        (json!([http, default, grpc]), Some("10.0.0.9:82")),
        (json!([grpc, http]), Some("10.0.0.9:81")),
        (json!([]), None),
        (Value::Null, None),
        // Whatever it may be, it costs no other instance.
        (json!({"http": 80}), None),
        (json!([7, {"Port": "80"}]), None),
        (json!([{"Port": 70_000}]), None),
    ] {
        assert_eq!(address(ports.clone()).as_deref(), expected, "{ports}");
    }
    let mut one = orders();
    one["Service"]["Ports"] = json!([default]);
    assert_eq!(self::one(one).address().as_str(), "10.0.0.9:8443");
}

#[test]
fn an_instance_with_an_odd_port_or_protocol_costs_no_other_one() {
    let good = with(orders(), "/Service/ID", "orders-8".into());
    let keys = |odd: Value| -> Vec<String> {
        let found = read(&json!([odd, good]), &ConsulQuery::default());
        found.iter().map(|endpoint| endpoint.key().to_owned()).collect()
    };
    for port in [-1_i64, 0, 65_536, 70_000, i64::MAX] {
        assert_eq!(keys(with(orders(), "/Service/Port", port.into())), ["orders-8"], "{port}");
    }
    // What leads to a socket or a program of this host.
    for protocol in
        ["unix", "http+unix", "GRPC+UNIX", "exec", "http+unix://%2Frun%2Fa.sock/x", "a b"]
    {
        let odd = with(orders(), "/Service/Meta", json!({"protocol": protocol}));
        assert_eq!(keys(odd), ["orders-8"], "{protocol}");
    }
    // What leads to whatever listens at this host.
    for address in ["0.0.0.0", "::", "[::]"] {
        assert_eq!(keys(with(orders(), "/Service/Address", address.into())), ["orders-8"]);
    }
    let mut tagged = orders();
    tagged["Service"]["TaggedAddresses"] = json!({"wan": {"Address": "192.0.2.1", "Port": 70_000}});
    assert_eq!(keys(tagged), ["orders-7", "orders-8"], "another address is used");
}

#[test]
fn an_instance_does_not_say_that_it_is_another_service() {
    let named = one(with(orders(), "/Service/Meta", json!({"name": "tax"})));
    assert_eq!(named.metadata()["name"], "orders");
}

#[test]
fn an_id_that_is_not_unique_is_told_apart_by_its_node() {
    let other = with(orders(), "/Node/Node", "host-b".into());
    let keys = |entries: Value| -> Vec<String> {
        let found = read(&entries, &ConsulQuery::default());
        found.iter().map(|endpoint| endpoint.key().to_owned()).collect()
    };
    assert_eq!(keys(json!([orders(), other])), ["host-a/orders-7", "host-b/orders-7"]);
    // A service that was given no id has that of its name on all nodes: it does not change as they come.
    let unnamed = with(orders(), "/Service/ID", "orders".into());
    assert_eq!(keys(json!([unnamed])), ["host-a/orders"]);
}

#[test]
fn the_place_of_the_service_comes_before_that_of_its_node() {
    let mut entry = orders();
    entry["Service"]["Meta"]["zone"] = "eu-1b".into();
    assert_eq!(one(entry.clone()).locality().zone, "eu-1b");
    entry["Node"]["Locality"] = json!({"Region": "eu", "Zone": "eu-1c"});
    let place = one(entry).locality().clone();
    assert_eq!((&*place.region, &*place.zone), ("eu", "eu-1c"));
}

#[test]
fn what_cannot_be_reached_is_left_out_unless_it_is_all() {
    let without_port = with(with(orders(), "/Service/Port", 0.into()), "/Service/ID", "x".into());
    let mut proxy = orders();
    proxy["Service"]["Kind"] = "connect-proxy".into();
    let found = read(&json!([without_port, orders(), proxy]), &ConsulQuery::default());
    assert_eq!(found.len(), 1);
    let error = endpoints(json!([without_port]).to_string().as_bytes(), &ConsulQuery::default());
    assert!(error.unwrap_err().to_string().contains("no port"));
    assert!(read(&json!([proxy]), &ConsulQuery::default()).is_empty());
}

#[test]
fn null_is_the_same_as_nothing_and_anything_else_is_an_error() {
    assert!(read(&Value::Null, &ConsulQuery::default()).is_empty());
    let empty = json!({"Service": {"ID": "a", "Address": "h", "Port": 1, "Tags": null, "Meta": null,
                       "Weights": null, "TaggedAddresses": null, "Kind": null}, "Checks": null});
    assert_eq!(one(empty).key(), "a");
    for text in ["", "{}", "[{]", "[1]", &"[".repeat(100_000), r#"[{"Service":{"Port":"x"}}]"#] {
        let error = endpoints(text.as_bytes(), &ConsulQuery::default()).unwrap_err().to_string();
        assert!(error.contains("Consul") && error.len() < 500, "{error}");
    }
    let services = services(br#"{"consul": [], "web": ["v1"], "x": null}"#).unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["consul", "web", "x"]);
}
