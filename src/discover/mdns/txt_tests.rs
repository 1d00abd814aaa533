use proptest::prelude::*;

use super::*;
use crate::endpoint::Locality;

fn said(strings: &[&str]) -> Said {
    let split = |text: &&'static str| match text.split_once('=') {
        Some((key, value)) => (key, Some(value.as_bytes())),
        None => (*text, None),
    };
    // As long as the test.
    let strings: Vec<&'static str> =
        strings.iter().map(|text| &*Box::leak((*text).to_owned().into_boxed_str())).collect();
    Said::read(strings.iter().map(split).collect::<Vec<_>>())
}

fn kind() -> ServiceType {
    ServiceType::parse("_tax._tcp").unwrap()
}

fn of(endpoint: Endpoint) -> Instance {
    Instance::new("tax", endpoint).unwrap()
}

#[test]
fn the_first_of_two_strings_with_one_key_counts() {
    let said = said(&["name=tax", "id=tax-7", "ID=evil", "=x", "ssl", "k=a=b", "\u{e9}=1"]);
    assert_eq!(said.id(), Some("tax-7"));
    let endpoint = said.of(Endpoint::new("a:1").unwrap());
    let metadata: Vec<_> =
        endpoint.metadata().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(metadata, [("k", "a=b"), ("name", "tax"), ("ssl", "true")]);
}

#[test]
fn a_record_of_the_go_library_is_read() {
    let said = said(&[
        "name=orders",
        "version=2.3.0",
        "id=orders-7",
        "zone=eu-1a",
        "tags=v2,eu",
        "mdns.service_type=_orders._tcp",
        "farp.meta.team=blue",
    ]);
    let endpoint = said.of(Endpoint::new("a:1").unwrap());
    assert_eq!(endpoint.tags(), ["v2", "eu"]);
    assert_eq!(endpoint.locality().zone, "eu-1a");
    assert_eq!(endpoint.metadata()["version"], "2.3.0");
    assert_eq!(endpoint.metadata()["team"], "blue");
    assert!(!endpoint.metadata().contains_key("mdns.service_type"));
}

#[test]
fn a_record_is_written_in_the_order_of_the_go_library() {
    let endpoint = Endpoint::new("https://10.0.0.1:8443/v1").unwrap().with_key("tax-1");
    let endpoint = endpoint.with_metadata("version", "2").with_metadata("team", "blue");
    let endpoint = endpoint.with_tag("v2").with_tag("eu").with_weight(3).with_draining(true);
    let written = write(&of(endpoint), &kind()).unwrap();
    let strings: Vec<_> =
        written.pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(
        strings,
        [
            "name=tax",
            "version=2",
            "id=tax-1",
            "team=blue",
            "tags=v2,eu",
            "mdns.service_type=_tax._tcp",
            "protocol=https",
            "path=/v1",
            "weight=3",
            "draining=true",
        ]
    );
    assert!(written.left_out.is_empty());
}

#[test]
fn metadata_that_does_not_fit_is_left_out_and_named() {
    let mut endpoint = Endpoint::new("10.0.0.1:1").unwrap().with_key("tax-1");
    for (key, value) in [
        ("id", "evil".to_owned()),
        ("Tags", "evil".to_owned()),
        ("name", "evil".to_owned()),
        ("k\u{e9}y", "1".to_owned()),
        ("a=b", "1".to_owned()),
        ("long", "x".repeat(251)),
        ("one", "x".repeat(250)),
        ("two", "x".repeat(250)),
        ("twp", "x".repeat(250)),
        ("twq", "x".repeat(250)),
        ("twr", "x".repeat(250)),
    ] {
        endpoint = endpoint.with_metadata(key, value);
    }
    let written = write(&of(endpoint.with_tag("a,b").with_tag("good")), &kind()).unwrap();
    assert_eq!(written.left_out, ["Tags", "a=b", "id", "k\u{e9}y", "long", "name", "twr", "a,b"]);
    let bytes: usize = written.pairs.iter().map(|(key, value)| size(key, value)).sum();
    assert!(bytes <= 1_300 && written.pairs.contains(&("tags".to_owned(), "good".to_owned())));
}

#[test]
fn a_name_that_does_not_fit_is_refused() {
    let long = Endpoint::new(format!("10.0.0.1:1/{}", "p".repeat(255))).unwrap().with_key("tax-1");
    let error = write(&of(long), &kind()).unwrap_err().to_string();
    assert!(error.contains("`path` is too long"), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_it_is(
        weight in 0_u32..9, priority in 0_u32..3, draining: bool,
        tags in prop::collection::vec("[a-z]{1,9}", 0..4),
        metadata in prop::collection::btree_map("[x-z.]{1,9}", "\\PC{0,20}", 0..4),
        zone in "[a-z]{0,3}",
    ) {
        let mut endpoint = Endpoint::new("10.0.0.1:1").unwrap().with_key("tax-1")
            .with_weight(weight).with_priority(priority).with_draining(draining)
            .with_locality(Locality { zone, ..Locality::default() })
            .with_metadata("name", "tax");
        endpoint = tags.into_iter().fold(endpoint, Endpoint::with_tag);
        for (key, value) in metadata {
            endpoint = endpoint.with_metadata(key, value);
        }
        let written = write(&of(endpoint.clone()), &kind()).unwrap();
        prop_assert!(written.left_out.is_empty());
        let pairs = written.pairs.iter().map(|(key, value)| (&**key, Some(value.as_bytes())));
        let read = Said::read(pairs).of(Endpoint::new("10.0.0.1:1").unwrap().with_key("tax-1"));
        prop_assert_eq!(read, endpoint);
    }
}
