use serde_json::{Value, json};

use super::*;

fn slice(value: Value) -> EndpointSlice {
    serde_json::from_value(value).unwrap()
}

/// The endpoint of the example in the documentation.
fn orders() -> Value {
    json!({
        "metadata": {"name": "orders-abc", "namespace": "shop", "resourceVersion": "1001",
                     "labels": {"kubernetes.io/service-name": "orders", "example.com/team": "a"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}],
        "endpoints": [{
            "addresses": ["10.1.4.9", "10.1.4.10"],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": "n1", "zone": "eu-1a", "hints": {"forZones": [{"name": "eu-1a"}]},
            "targetRef": {"kind": "Pod", "name": "orders-7", "namespace": "shop", "uid": "u-7"},
        }],
    })
}

fn found(value: Value, query: &KubernetesQuery) -> Vec<Candidate> {
    candidates(slice(value), query, None).all
}

#[test]
fn an_endpoint_has_what_its_slice_says() {
    let query = KubernetesQuery::default().with_label_prefix("example.com/");
    let all = found(orders(), &query);
    let [Candidate { endpoint, availability: Availability::Ready, rank: 0 }] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!((endpoint.key(), endpoint.address().as_str()), ("u-7", "http://10.1.4.9:8080"));
    assert_eq!((endpoint.status(), endpoint.is_draining()), (Status::Passing, false));
    assert_eq!((&*endpoint.locality().zone, endpoint.weight()), ("eu-1a", 1));
    assert_eq!(endpoint.zone_hints(), ["eu-1a"]);
    let metadata: Vec<_> =
        endpoint.metadata().iter().map(|(key, value)| (&**key, &**value)).collect();
    let expected = [
        ("example.com/team", "a"),
        ("name", "orders"),
        ("namespace", "shop"),
        ("node", "n1"),
        ("pod", "orders-7"),
        ("port", "http"),
        ("protocol", "http"),
    ];
    assert_eq!(metadata, expected);
}

#[test]
fn the_conditions_table() {
    use Availability::{NotReady, Ready, Terminating};
    let (yes, no) = (Some(true), Some(false));
    for (ready, serving, terminating, expected) in [
        (yes, yes, no, Ready),
        (yes, no, no, Ready),
        // As of a Service that publishes what is not ready.
        (yes, yes, yes, Ready),
        (no, yes, yes, Terminating),
        (no, no, yes, NotReady),
        (no, no, no, NotReady),
        (no, yes, no, NotReady),
        (None, None, None, Ready),
        (None, no, yes, Ready),
        (no, None, yes, NotReady),
        (no, None, None, NotReady),
        (no, yes, None, NotReady),
    ] {
        let conditions = Conditions { ready, serving, terminating };
        assert_eq!(availability(conditions), expected, "{conditions:?}");
    }
}

#[test]
fn what_is_null_is_as_if_it_was_not_there() {
    let bare = json!({
        "metadata": {"name": "a", "labels": null, "resourceVersion": null},
        "addressType": "IPv6", "ports": [{"port": 80, "name": null, "protocol": null}],
        "endpoints": [{"addresses": ["fd00::1"], "conditions": null, "hints": null, "zone": null,
                       "targetRef": null, "nodeName": null}, {"addresses": []}, {"addresses": null}],
    });
    let read = candidates(slice(bare), &KubernetesQuery::default(), None);
    assert_eq!(read.all.len(), 1);
    let endpoint = &read.all[0].endpoint;
    assert_eq!((endpoint.key(), endpoint.address().as_str()), ("[fd00::1]:80", "[fd00::1]:80"));
    assert!(endpoint.is_passing() && endpoint.metadata().is_empty());
    assert!(read.problem.unwrap().contains("no address"));
    for empty in [json!({}), json!({"endpoints": null, "ports": null}), json!({"endpoints": []})] {
        assert_eq!(
            candidates(slice(empty), &KubernetesQuery::default(), None),
            Candidates::default()
        );
    }
}

#[test]
fn a_port_is_found_by_name_by_number_or_by_what_it_is() {
    let ports = |ports: Value| -> Vec<Port> { serde_json::from_value(ports).unwrap() };
    let two = || {
        json!([{"name": "metrics", "port": 9090}, {"name": "http", "port": 8080},
               {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "sctp", "port": null, "protocol": "SCTP"}])
    };
    for (all, wanted, expected) in [
        (two(), None, Ok(8080)),
        (two(), Some("metrics"), Ok(9090)),
        (two(), Some("9090"), Ok(9090)),
        (two(), Some("grpc"), Err("`metrics` (9090), `http` (8080)")),
        (two(), Some("53"), Err("no port `53` of TCP")),
        (two(), Some("sctp"), Err("no port `sctp`")),
        (json!([{"name": "any", "port": null}]), Some("any"), Err("no port `any`")),
        (json!([{"port": 7}]), None, Ok(7)),
        (json!([{"name": "", "port": 7}]), Some("7"), Ok(7)),
        (json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]), None, Ok(1)),
        (json!([{"name": "a", "port": 70_000}]), None, Err("no port of TCP")),
        (json!([{"name": "a", "port": 0}]), None, Err("no port of TCP")),
        (json!([]), None, Err("no port of TCP")),
        (json!([]), Some("http"), Err("no port `http` of TCP")),
        // Of a headless Service that tells none.
        (json!([]), Some("9090"), Ok(9090)),
        (json!([]), Some("0"), Err("no port `0` of TCP")),
        // All ports, which is not none.
        (json!([{"name": "any"}, {"name": "http", "port": 8080}]), Some("9090"), Ok(9090)),
        (json!([{"port": null}]), Some("9090"), Ok(9090)),
        (json!([{"port": null}]), Some("0"), Err("no port `0` of TCP")),
        (json!([{"port": null}]), None, Err("no port of TCP")),
        (json!([{"port": null, "protocol": "UDP"}]), Some("9090"), Err("no port `9090`")),
    ] {
        let all = ports(all);
        let chosen = choose(&all, wanted).map(|(_, number)| number);
        match expected {
            Ok(expected) => assert_eq!(chosen, Ok(expected), "{all:?} {wanted:?}"),
            Err(part) => assert!(chosen.unwrap_err().contains(part), "{all:?} {wanted:?}"),
        }
    }
}

#[test]
fn a_scheme_is_that_of_the_port_or_of_the_query() {
    for (told, asked, expected) in [
        (Some("https"), None, "https://10.1.4.9:8080"),
        (Some("HTTPS"), Some("http"), "https://10.1.4.9:8080"),
        (Some("kubernetes.io/wss"), None, "https://10.1.4.9:8080"),
        (Some("grpc"), None, "grpc://10.1.4.9:8080"),
        (Some("example.com/own"), None, "10.1.4.9:8080"),
        (None, Some("https"), "https://10.1.4.9:8080"),
        (None, None, "10.1.4.9:8080"),
    ] {
        let mut value = orders();
        value["ports"][0]["appProtocol"] = json!(told);
        let query =
            KubernetesQuery { scheme: asked.map(str::to_owned), ..KubernetesQuery::default() };
        assert_eq!(found(value, &query)[0].endpoint.address().as_str(), expected);
    }
}

#[test]
fn which_family_of_addresses_is_used() {
    use KubernetesFamily::{OnlyIpv4, OnlyIpv6, PreferIpv4, PreferIpv6};
    for (family, four, six) in [
        (PreferIpv4, Some(0), Some(1)),
        (PreferIpv6, Some(1), Some(0)),
        (OnlyIpv4, Some(0), None),
        (OnlyIpv6, None, Some(0)),
    ] {
        assert_eq!((rank("IPv4", family), rank("IPv6", family)), (four, six), "{family:?}");
        assert_eq!(rank("FQDN", family), Some(2));
        assert_eq!(rank("IPv9", family), None);
    }
}

#[test]
fn what_is_not_ready_is_left_out_or_critical() {
    let mut value = orders();
    value["endpoints"][0]["conditions"] = json!({"ready": false, "serving": false});
    assert!(found(value.clone(), &KubernetesQuery::default()).is_empty());
    let all = found(value.clone(), &KubernetesQuery::default().with_only_passing(false));
    assert_eq!(all[0].endpoint.status(), Status::Critical);
    value["endpoints"][0]["conditions"] =
        json!({"ready": false, "serving": true, "terminating": true});
    let all = found(value, &KubernetesQuery::default());
    assert!(all[0].endpoint.is_draining() && all[0].availability == Availability::Terminating);
}

#[test]
fn an_address_that_would_lead_elsewhere_is_left_out() {
    for host in ["10.1.4.9/admin", "10.1.4.9:22/", "unix:/run/a.sock", "a@10.1.4.9", "a b", "[::1"]
    {
        let mut value = orders();
        value["endpoints"][0]["addresses"] = json!([host]);
        assert!(found(value, &KubernetesQuery::default()).is_empty(), "{host}");
    }
}

#[test]
fn a_label_makes_no_other_service_of_an_endpoint() {
    let mut value = orders();
    value["metadata"]["labels"]["name"] = json!("vat");
    value["metadata"]["labels"]["node"] = json!("elsewhere");
    value["metadata"]["labels"]["note"] = json!("x");
    let all = found(value, &KubernetesQuery::default().with_label_prefix("n"));
    let metadata = all[0].endpoint.metadata();
    assert_eq!((&*metadata["name"], &*metadata["note"]), ("orders", "x"));
    assert_ne!(metadata["node"], "elsewhere");
}
