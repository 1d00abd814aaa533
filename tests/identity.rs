//! One endpoint however its address is written, and answers that name the endpoint they come from.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use support::{Ask, Farm, settle};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Call, CircuitBreakerLayer, Endpoint, LeastRequest, Reply,
    connect::NameEndpointLayer,
    connect_fn,
    discover::{self, Memory},
    endpoint::Address,
};

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[test]
fn addresses_that_lead_to_the_same_place_are_equal() {
    let same: &[&[&str]] = &[
        &["http://a.example:80", "http://A.example:80/", "a.example:80", "HTTP://a.EXAMPLE"],
        &["https://a.example", "https://a.example:443/", "HTTPS://A.example:0443"],
        &["http://[::1]:8080", "[0:0:0:0:0:0:0:1]:8080", "http://[::0001]:8080/"],
        &["grpc://a.example:50051", "GRPC://A.example:50051"],
        &["http://a.example/api", "http://a.example:80/api"],
        &["unix:/run/tax.sock", "unix:///run/tax.sock"],
        &["http://[fe80::1%25eth0]:80", "[fe80:0::1%25eth0]:80", "http://[FE80::1%25eth0]/"],
        &["http://[fe80::1%25Eth0]:80"],
    ];
    for (index, group) in same.iter().enumerate() {
        for one in *group {
            assert_eq!(address(one).as_str(), *one, "the text stays as it was written");
            for other in *group {
                assert_eq!(address(one), address(other));
            }
            let others = same.iter().enumerate().filter(|(of, _)| *of != index);
            for other in others.flat_map(|(_, group)| *group) {
                assert_ne!(address(one), address(other));
            }
        }
    }
    for (one, other) in [
        ("http://a.example/api", "http://a.example/api/"),
        ("http://a.example/api", "http://a.example/API"),
        ("http://a.example:80", "https://a.example:80"),
        ("unix:/run/A.sock", "unix:/run/a.sock"),
    ] {
        assert_ne!(address(one), address(other));
    }
}

#[test]
fn an_endpoint_that_is_named_twice_in_two_forms_is_a_mistake() {
    let error = discover::fixed(["http://a.example:80", "a.example:80"]).unwrap_err();
    assert!(error.to_string().contains("a.example:80"), "{error}");
    // A key that is given is no address, though it looks like another's.
    let keyed = Endpoint::new("b:80").unwrap().with_key("a.example:80");
    let address = Endpoint::new("http://a.example").unwrap();
    let set = discover::fixed([keyed.clone(), address.clone()]).map(|_| ());
    assert_eq!(set.ok(), Some(()));
    let error = discover::fixed([keyed, Endpoint::new("a.example:80").unwrap()]).unwrap_err();
    assert!(error.to_string().contains("key"), "and the same key twice is a mistake: {error}");
    // With an id each, they are two.
    let endpoints = ["one", "two"].map(|key| Endpoint::new("a:80").unwrap().with_key(key));
    assert_eq!(discover::fixed(endpoints).map(|_| ()).ok(), Some(()));
}

#[tokio::test(start_paused = true)]
async fn another_form_of_an_address_is_the_same_member() {
    let farm = Farm::default();
    let source = Memory::new(["http://a.example:80"]).unwrap();
    let breaker = CircuitBreakerLayer::default();
    let set =
        BalanceLayer::new(source.clone(), LeastRequest::new()).layer(breaker.layer(farm.clone()));
    set.clone().oneshot(Ask::new(1)).await.unwrap();
    let before = set.handle().members()[0].clone();
    for form in ["A.example:80", "http://a.example/", "a.example:80"] {
        source.replace([Endpoint::new(form).unwrap().with_weight(7)]).unwrap();
        settle().await;
        let members = set.handle().members();
        assert!(std::sync::Arc::ptr_eq(&members[0], &before), "{form}");
        assert_eq!((members.len(), members[0].weight()), (1, 7));
        assert_eq!(members[0].endpoint().address().as_str(), form);
        assert!(breaker.handle_for(form).is_some());
        assert!(source.snapshot().get("http://a.example").is_some());
    }
    assert_eq!(farm.connects(), 1);
    source.insert("http://a.example:80").unwrap();
    assert_eq!(source.snapshot().len(), 1);
    assert!(source.remove("a.EXAMPLE:80") && !source.remove("a.EXAMPLE:80"));
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_transport_of_ones_own_name_their_endpoint() {
    let plugins = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .layer(NameEndpointLayer::new())
        .service(connect_fn(|_: &Endpoint| {
            service_fn(async |call: Call<u32>| Ok::<_, BoxError>(Reply::new(call.into_body())))
        }));
    let reply = plugins.oneshot(Call::new(7)).await.unwrap();
    assert_eq!((reply.endpoint(), *reply.body()), (Some("a:1"), 7));
    assert_eq!(Reply::new(7).at_endpoint("b:1").endpoint(), Some("b:1"));
    // Over a service there is none.
    let alone = NameEndpointLayer::new()
        .layer(service_fn(async |call: Call<u32>| Ok::<_, BoxError>(Reply::new(call.into_body()))));
    assert_eq!(alone.oneshot(Call::new(7)).await.unwrap().endpoint(), None);
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_response_carries_its_endpoint_as_an_extension() {
    use tower_upstream::http::AnsweredBy;
    let stack = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new()))
        .layer(NameEndpointLayer::new())
        .service(connect_fn(|_: &Endpoint| {
            service_fn(async |_: http::Request<()>| Ok::<_, BoxError>(http::Response::new(())))
        }));
    let response = stack.oneshot(http::Request::new(())).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&AnsweredBy("a:1".into())));
}
