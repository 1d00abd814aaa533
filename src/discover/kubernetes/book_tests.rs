use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A pod, or an address without one, with a state.
#[derive(Debug, Clone)]
struct Pod {
    uid: Option<u8>,
    host: u8,
    ready: bool,
    serving: bool,
    terminating: bool,
}

#[derive(Debug, Clone)]
enum Told {
    Put { slice: u8, is_ipv6: bool, pods: Vec<Pod> },
    Delete(u8),
}

fn pods() -> impl Strategy<Value = Vec<Pod>> {
    let pod = (prop::option::of(0_u8..4), 0_u8..4, any::<[bool; 3]>());
    let pod = pod.prop_map(|(uid, host, [ready, serving, terminating])| Pod {
        uid,
        host,
        ready,
        serving,
        terminating,
    });
    prop::collection::vec(pod, 0..4)
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        4 => (0_u8..4, any::<bool>(), pods())
            .prop_map(|(slice, is_ipv6, pods)| Told::Put { slice, is_ipv6, pods }),
        1 => (0_u8..4).prop_map(Told::Delete),
    ]
}

fn host(is_ipv6: bool, host: u8) -> String {
    if is_ipv6 { format!("fd00::{host}") } else { format!("10.0.0.{host}") }
}

fn slice(name: u8, is_ipv6: bool, pods: &[Pod]) -> EndpointSlice {
    let endpoint = |pod: &Pod| -> Value {
        let target = pod.uid.map(|uid| json!({"kind": "Pod", "uid": format!("u-{uid}")}));
        json!({
            "addresses": [host(is_ipv6, pod.host)],
            "conditions": {"ready": pod.ready, "serving": pod.serving, "terminating": pod.terminating},
            "targetRef": target,
        })
    };
    let value = json!({
        "metadata": {"name": format!("s-{name}")},
        "addressType": if is_ipv6 { "IPv6" } else { "IPv4" },
        "ports": [{"port": 80}],
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
    });
    serde_json::from_value(value).unwrap()
}

/// Key, address, and whether it drains, warns or is critical.
type Seen = (String, String, bool, Status);

fn seen(set: &EndpointSet) -> Vec<Seen> {
    let mut all: Vec<Seen> = set
        .iter()
        .map(|of| (of.key().into(), of.address().as_str().into(), of.is_draining(), of.status()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Says again what holds after all events, the long way round.
fn model(events: &[Told], only_passing: bool) -> Vec<Seen> {
    let mut last: BTreeMap<u8, (bool, &[Pod])> = BTreeMap::new();
    for event in events {
        match event {
            Told::Put { slice, is_ipv6, pods } => drop(last.insert(*slice, (*is_ipv6, pods))),
            Told::Delete(slice) => drop(last.remove(slice)),
        }
    }
    // State (0 is the best), family, address, key.
    let mut all: Vec<(u8, bool, String, String)> = Vec::new();
    for (is_ipv6, pods) in last.into_values() {
        for pod in pods {
            let state = match pod {
                Pod { ready: true, .. } => 0,
                Pod { serving: true, terminating: true, .. } => 1,
                _ if only_passing => continue,
                _ => 2,
            };
            let host = host(is_ipv6, pod.host);
            let address = if is_ipv6 { format!("[{host}]:80") } else { format!("{host}:80") };
            let key = pod.uid.map_or(address.clone(), |uid| format!("u-{uid}"));
            all.push((state, is_ipv6, address, key));
        }
    }
    // The best of each key, and of those the best of each address.
    let of_key: Vec<_> =
        all.iter().filter(|of| !all.iter().any(|other| other.3 == of.3 && other < of)).collect();
    let mut best: Vec<_> = of_key
        .iter()
        .filter(|of| !of_key.iter().any(|other| other.2 == of.2 && other < *of))
        .collect();
    best.sort_by(|a, b| a.3.cmp(&b.3));
    best.dedup();
    let has_ready = best.iter().any(|of| of.0 == 0);
    best.into_iter()
        .map(|(state, _, address, key)| {
            let status = match state {
                1 if !has_ready => Status::Warning,
                2 => Status::Critical,
                _ => Status::Passing,
            };
            (key.clone(), address.clone(), *state == 1 && has_ready, status)
        })
        .collect()
}

fn apply(book: &mut Book, event: &Told, query: &KubernetesQuery) -> bool {
    match event {
        Told::Put { slice: name, is_ipv6, pods } => {
            book.put(slice(*name, *is_ipv6, pods), query).unwrap()
        }
        Told::Delete(name) => {
            let name = Some(format!("s-{name}"));
            book.delete(&Metadata { name, ..Metadata::default() })
        }
    }
}

proptest! {
    #[test]
    fn events_make_the_set_that_the_slices_say(
        events in prop::collection::vec(told(), 0..16),
        only_passing in any::<bool>(),
    ) {
        let query = KubernetesQuery::default().with_only_passing(only_passing);
        let mut book = Book::default();
        let mut before = seen(&book.set("0").unwrap());
        for (at, event) in events.iter().enumerate() {
            let is_new = apply(&mut book, event, &query);
            let now = seen(&book.set("1").unwrap());
            prop_assert_eq!(&now, &model(&events[..=at], only_passing));
            prop_assert!(is_new || now == before, "a change that is none");
            before = now;
        }
        let count: usize = book.slices.values().map(|of| of.all.len()).sum();
        prop_assert_eq!(book.count, count);
        // What is told twice changes nothing.
        if let Some(event) = events.last() {
            apply(&mut book, event, &query);
            prop_assert!(!apply(&mut book, event, &query));
            prop_assert_eq!(seen(&book.set("2").unwrap()), before);
        }
    }
}

#[test]
fn a_slice_that_cannot_be_read_keeps_what_is_known_of_its_ports() {
    let query = KubernetesQuery::default().with_port("9001");
    let told = |name: &str, ports: Value, hosts: &[&str]| -> EndpointSlice {
        let endpoints: Vec<_> = hosts.iter().map(|host| json!({"addresses": [host]})).collect();
        let value = json!({
            "metadata": {"name": name}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        });
        serde_json::from_value(value).unwrap()
    };
    let keys = |book: &Book| -> Vec<String> {
        book.set("1").unwrap().iter().map(|of| of.key().to_owned()).collect()
    };
    for name in ["web-1", "web-2"] {
        let mut book = Book::default();
        let with_port = told("web-1", json!([{"port": 9001}]), &["10.0.0.1", "10.0.0.2"]);
        // Of a pod that does not have the port.
        let without = told("web-2", json!(null), &["10.0.0.9"]);
        assert_eq!((book.put(with_port, &query), book.put(without, &query)), (Ok(true), Ok(true)));
        assert_eq!(keys(&book), ["10.0.0.1:9001", "10.0.0.2:9001"]);
        let mut unreadable = told(name, json!(null), &[]);
        unreadable.problem = Some("it is torn".to_owned());
        // In place of what was there, and in a list that follows it.
        let mut listed = Book::default();
        for slice in book.slices.keys().filter(|of| *of != name) {
            let known = book.slices[slice].clone();
            listed.count += known.all.len();
            listed.slices.insert(slice.clone(), known);
        }
        assert_eq!(listed.put_after(Some(&book), unreadable.clone(), &query), Ok(true));
        assert_eq!(book.put(unreadable, &query), Ok(true));
        for book in [&book, &listed] {
            assert_eq!(keys(book), ["10.0.0.1:9001", "10.0.0.2:9001"], "{name}");
            assert_eq!(book.count, 3);
        }
        // Nor does that one join whose slice tells of another port.
        let other = told("web-2", json!([{"port": 80}]), &["10.0.0.9"]);
        book.put(other, &query).unwrap();
        assert_eq!(keys(&book), ["10.0.0.1:9001", "10.0.0.2:9001"], "{name}");
    }
}

#[test]
fn there_is_a_most_of_slices_and_of_endpoints() {
    let query = KubernetesQuery::default();
    let pods: Vec<Pod> = (0..=255)
        .map(|host| Pod { uid: None, host, ready: true, serving: true, terminating: false })
        .collect();
    let mut book = Book::default();
    let full = |name: usize| {
        let mut slice = slice(0, false, &pods);
        slice.metadata.name = Some(format!("full-{name}"));
        slice
    };
    let fits = MAX_ENDPOINTS / pods.len();
    for name in 0..fits {
        assert_eq!(book.put(full(name), &query), Ok(true));
    }
    assert_eq!(book.put(full(fits), &query), Err(TooMany));
    // One that is known already may change.
    assert_eq!(book.put(slice(1, false, &pods[..1]), &query), Ok(true));
    let mut book = Book::default();
    for name in 0..MAX_SLICES {
        let mut empty = slice(0, false, &[]);
        empty.metadata.name = Some(format!("empty-{name}"));
        assert_eq!(book.put(empty, &query), Ok(true));
    }
    assert_eq!(book.put(slice(1, false, &[]), &query), Err(TooMany));
}
