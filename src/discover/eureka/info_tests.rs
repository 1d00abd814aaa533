use super::*;
use crate::endpoint::Status;

fn info(json: &str) -> Info {
    let whole = format!(
        r#"{{"instanceId":"tax-1","hostName":"a.example","ipAddr":"10.0.0.1","port":{{"$":80,"@enabled":"true"}},{json}}}"#
    );
    serde_json::from_str::<Info>(&whole).unwrap().of_app("tax")
}

fn read(json: &str) -> Endpoint {
    info(json).endpoint(Prefer::default()).unwrap()
}

#[test]
fn an_address_is_that_of_the_ip_unless_the_name_or_the_secure_port_is_preferred() {
    let both = r#""securePort":{"$":"443","@enabled":"true"}"#;
    for (host_name, secure_port, expected) in [
        (false, false, "http://10.0.0.1:80"),
        (true, false, "http://a.example:80"),
        (false, true, "https://10.0.0.1:443"),
        (true, true, "https://a.example:443"),
    ] {
        let endpoint = info(both).endpoint(Prefer { host_name, secure_port }).unwrap();
        assert_eq!(endpoint.address().as_str(), expected);
    }
    let secure = Prefer { secure_port: true, ..Prefer::default() };
    for (json, expected) in [
        (r#""securePort":{"$":443,"@enabled":"false"}"#, "http://10.0.0.1:80"),
        (r#""metadata":{"protocol":"grpc"}"#, "grpc://10.0.0.1:80"),
    ] {
        assert_eq!(info(json).endpoint(secure).unwrap().address().as_str(), expected);
    }
    let v6: Info =
        serde_json::from_str(r#"{"hostName":"h","ipAddr":"::1","port":"8080","securePort":{}}"#)
            .unwrap();
    let v6 = v6.of_app("tax").endpoint(Prefer::default()).unwrap();
    assert_eq!((v6.key(), v6.address().as_str()), ("h", "http://[::1]:8080"));
    let only_secure = r#"{"instanceId":"x","hostName":"h","port":{"$":80,"@enabled":false},"securePort":{"$":443,"@enabled":true}}"#;
    let only_secure: Info = serde_json::from_str(only_secure).unwrap();
    let only_secure = only_secure.endpoint(Prefer::default()).unwrap();
    assert_eq!(only_secure.address().as_str(), "https://h:443");
}

#[test]
fn what_cannot_be_reached_says_why() {
    for (json, why) in [
        (r#"{"instanceId":"x","hostName":"h","port":{"$":80,"@enabled":"false"}}"#, "no port"),
        (r#"{"instanceId":"x","hostName":"h","port":{"$":0,"@enabled":"true"}}"#, "no port"),
        (r#"{"instanceId":"x","port":80}"#, "no address"),
        (r#"{"ipAddr":"10.0.0.1","port":80}"#, "no id"),
    ] {
        let info: Info = serde_json::from_str(json).unwrap();
        let error = info.endpoint(Prefer::default()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_status_and_its_override_decide_whether_it_gets_calls() {
    for (json, status, is_draining) in [
        (r#""status":"UP""#, Status::Passing, false),
        (r#""status":"DOWN""#, Status::Critical, false),
        (r#""status":"STARTING""#, Status::Unknown, true),
        (r#""status":"OUT_OF_SERVICE""#, Status::Critical, true),
        (r#""status":"UNKNOWN""#, Status::Unknown, false),
        (r#""status":"UP","overriddenstatus":"OUT_OF_SERVICE""#, Status::Critical, true),
        (
            r#""status":"UP","overriddenStatus":"UNKNOWN","overriddenstatus":"DOWN""#,
            Status::Critical,
            false,
        ),
        (r#""status":"UP","overriddenStatus":"UNKNOWN""#, Status::Passing, false),
    ] {
        let endpoint = read(json);
        assert_eq!((endpoint.status(), endpoint.is_draining()), (status, is_draining), "{json}");
    }
}

#[test]
fn metadata_tells_weight_tags_and_place() {
    let endpoint = read(
        r#""status":"UP","vipAddress":"tax","dataCenterInfo":{"name":"Amazon","metadata":{"availability-zone":"us-1c"}},
           "metadata":{"@class":"java.util.HashMap","weight":7,"tags":"v2, eu","region":"eu","zone":"eu-1a","version":"2.3.0"}"#,
    );
    assert_eq!((endpoint.weight(), endpoint.tags()), (7, &["v2".to_owned(), "eu".to_owned()][..]));
    assert_eq!((&*endpoint.locality().region, &*endpoint.locality().zone), ("eu", "eu-1a"));
    let keys: Vec<_> = endpoint.metadata().keys().map(String::as_str).collect();
    assert_eq!(keys, ["name", "region", "version", "zone"]);
    assert_eq!(endpoint.metadata()["name"], "tax");
    let amazon = read(r#""dataCenterInfo":{"metadata":{"availability-zone":"us-1c"}}"#);
    assert_eq!((&*amazon.locality().zone, &*amazon.metadata()["name"]), ("us-1c", "TAX"));
    // It does not make itself another service.
    assert_eq!(read(r#""metadata":{"name":"vat"}"#).metadata()["name"], "TAX");
    // A weight that is none stays what it is.
    assert_eq!(read(r#""metadata":{"weight":"much"}"#).metadata()["weight"], "much");
}

#[test]
fn an_instance_without_an_id_has_that_of_the_server() {
    for (json, id) in [
        (
            r#"{"instanceId":"a","hostName":"h","dataCenterInfo":{"metadata":{"instance-id":"i-1"}}}"#,
            "a",
        ),
        (
            r#"{"instanceId":"","hostName":"h","dataCenterInfo":{"metadata":{"instance-id":"i-1"}}}"#,
            "i-1",
        ),
        (
            r#"{"hostName":"h","dataCenterInfo":{"name":"Amazon","metadata":{"instance-id":""}}}"#,
            "h",
        ),
        (r#"{"instanceId":null,"hostName":"h","dataCenterInfo":null}"#, "h"),
        (r#"{"instanceId":7,"hostName":"h","dataCenterInfo":""}"#, "7"),
    ] {
        assert_eq!(serde_json::from_str::<Info>(json).unwrap().id(), id, "{json}");
    }
}

#[test]
fn what_says_nothing_costs_no_instance() {
    // As servers and clients in several languages write it.
    for json in [
        r#""metadata":"","dataCenterInfo":"","leaseInfo":{"renewalIntervalInSecs":0,"durationInSecs":0}"#,
        r#""metadata":null,"dataCenterInfo":null,"leaseInfo":null,"securePort":null,"vipAddress":null"#,
        r#""metadata":{"a":null},"dataCenterInfo":{"metadata":null},"overriddenstatus":"","securePort":"""#,
        r#""statusPageUrl":["x"],"countryId":"1","isCoordinatingDiscoveryServer":{},"lastUpdatedTimestamp":true"#,
        r#""status":"UP","overriddenStatus":"UNKNOWN","overriddenstatus":"UNKNOWN","lastDirtyTimestamp":-1"#,
    ] {
        let endpoint = read(json);
        assert_eq!(endpoint.address().as_str(), "http://10.0.0.1:80", "{json}");
        assert!(!endpoint.is_draining(), "{json}");
    }
}

#[test]
fn an_address_of_ipv6_is_put_in_brackets_however_it_is_written() {
    for (ip, address) in [
        ("2001:db8::1", "http://[2001:db8::1]:80"),
        // As Java writes it.
        ("2001:db8:0:0:0:0:0:1", "http://[2001:db8:0:0:0:0:0:1]:80"),
        ("[2001:db8::1]", "http://[2001:db8::1]:80"),
    ] {
        let json = format!(r#"{{"instanceId":"x","ipAddr":"{ip}","port":80}}"#);
        let info: Info = serde_json::from_str(&json).unwrap();
        let endpoint = info.endpoint(Prefer::default()).unwrap();
        assert_eq!(endpoint.address().as_str(), address);
    }
}

#[test]
fn a_virtual_address_is_one_of_a_list() {
    let info = info(r#""vipAddress":"tax, orders","secureVipAddress":"tax-tls""#);
    assert!(info.is_at("tax", false) && info.is_at("ORDERS", false));
    assert!(!info.is_at("tax-tls", false) && info.is_at("tax-tls", true));
}

#[test]
fn an_instance_leads_to_no_socket_no_program_and_no_path() {
    for (host, protocol) in [
        ("10.0.0.1", "exec:/bin/sh"),
        ("10.0.0.1", "unix:/run/a.sock"),
        ("%2Frun%2Fa.sock/", "http+unix"),
        ("10.0.0.1/admin", "http"),
        ("10.0.0.1:22/", "http"),
        ("10.0.0.1", "http://10.0.0.9:80/x"),
        ("0.0.0.0", "http"),
        ("0:0:0:0:0:0:0:0", "http"),
    ] {
        let json = format!(
            r#"{{"instanceId":"x","ipAddr":"{host}","port":80,"metadata":{{"protocol":"{protocol}"}}}}"#
        );
        let info: Info = serde_json::from_str(&json).unwrap();
        let endpoint = info.endpoint(Prefer::default());
        assert!(endpoint.is_err(), "{host} {protocol}: {endpoint:?}");
    }
}
