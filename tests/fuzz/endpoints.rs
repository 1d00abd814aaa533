//! Lists of endpoints.

use std::{collections::HashSet, net::IpAddr};

use tower_upstream::{
    Endpoint,
    discover::{Difference, EndpointSet, Farp, Instance, diff},
    error::Kind,
};

/// What a registry has of an instance.
pub fn instance(bytes: &[u8]) {
    match Instance::from_json(bytes) {
        Ok(instance) => {
            // What is written of it is read as it is.
            let again = Instance::from_json(instance.to_json().as_bytes()).unwrap();
            assert_eq!(again.endpoint(), instance.endpoint());
            assert_eq!((again.service(), again.id()), (instance.service(), instance.id()));
        }
        Err(error) => assert_eq!(error.kind(), Kind::InvalidConfig),
    }
}

/// What a service says of itself, in its document or in its manifest.
pub fn farp(bytes: &[u8]) {
    let url = "http://10.0.0.5:9000";
    let good = br#"{"service_name":"tax"}"#;
    for told in [Farp::read(url, bytes, None), Farp::read(url, good, Some(bytes))] {
        match told {
            Ok(Some(endpoint)) => {
                let host = endpoint.address().host().parse::<IpAddr>();
                assert!(
                    host.is_err() || host.is_ok_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
                );
                assert!(endpoint.weight() <= 100 && endpoint.key().len() <= 255);
            }
            Ok(None) => {}
            Err(error) => assert_eq!(error.kind(), Kind::Transport),
        }
    }
}

/// What a file with endpoints says.
pub fn list(bytes: &[u8]) {
    let set = match EndpointSet::from_json(bytes, "") {
        Ok(set) => set,
        Err(error) => {
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(error.to_string().len() < 2_048);
            return;
        }
    };
    let keys: HashSet<&str> = set.iter().map(|endpoint| endpoint.key()).collect();
    assert_eq!(keys.len(), set.len());
    for endpoint in set.iter() {
        assert!(endpoint.address().as_str().parse::<Endpoint>().is_ok());
    }
    // The same bytes are the same set, and a key finds its endpoint.
    let again = EndpointSet::from_json(bytes, "").unwrap();
    assert!(diff(&set, &again).next().is_none());
    assert!(set.iter().all(|endpoint| set.get(endpoint.key()) == Some(endpoint)));
    let all = diff(&[], &set).filter(|change| matches!(change, Difference::Insert(_)));
    assert_eq!(all.count(), set.len());
}
