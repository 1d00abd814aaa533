//! What went wrong in other clients and consumers, as their users have reported it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_upstream::{
    discover::{Discover, Kubernetes, KubernetesConfig, KubernetesQuery, WatchStream},
    endpoint::Status,
};

use crate::{
    double::{Double, Forgets, expired},
    objects::{Objects, Pod, pod, slice},
    reading::kubernetes,
    sets::{expect, keys, next, quiet},
    support::{ms, secs},
};

fn web(double: &Double) -> WatchStream {
    kubernetes(double).service("web").unwrap().discover()
}

fn put(double: &Double, slice: Value) {
    double.objects(|objects| objects.put(slice));
}

// kubernetes-client/java#2190, VictoriaMetrics/operator#1322, kubernetes/kubernetes#107133
#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_large_is_not_asked_for_without_an_end() {
    let double = Double::start().await;
    double.objects(|objects| objects.revision = 100_000);
    double.web("web-1", &[("a", Pod::Ready)]);
    double.refuses_watches_of_the_future();
    let mut sets = web(&double);
    expect(&mut sets, &["a"]).await;
    tokio::time::sleep(secs(30)).await;
    double.stop().await;
    double.objects(|objects| *objects = Objects::default());
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
    double.restart().await;
    let took = expect(&mut sets, &["a", "b"]).await;
    assert!(took < secs(31), "{took:?}");
    assert_eq!(double.lists(), 2);
    // Also within a watch.
    tokio::time::sleep(secs(70)).await;
    let cause = json!({"reason": "ResourceVersionTooLarge"});
    let object = json!({"code": 504, "reason": "Timeout", "details": {"causes": [cause]}});
    double.tells_watches(&json!({"type": "ERROR", "object": object}).to_string());
    tokio::time::sleep(secs(1)).await;
    assert_eq!(double.lists(), 3);
}

// fabric8io/kubernetes-client#7896, kubernetes/kubernetes#137089: there is no 410.
#[tokio::test(start_paused = true)]
async fn a_version_that_is_forgotten_without_a_word_is_not_asked_for_without_an_end() {
    for how in [Forgets::ByAnEnd, Forgets::Broken] {
        let double = Double::start().await;
        double.web("web-1", &[("a", Pod::Ready)]);
        double.forgets(how);
        let mut sets = web(&double);
        expect(&mut sets, &["a"]).await;
        tokio::time::sleep(secs(30)).await;
        double.stop().await;
        double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
        put(&double, slice("tax", "tax-1", 80, Vec::new()));
        double.objects(Objects::compact);
        double.restart().await;
        let took = expect(&mut sets, &["a", "b"]).await;
        assert!(took < secs(60), "{how:?}: {took:?}");
        // What it tells from there on is heard.
        double.web("web-2", &[("c", Pod::Ready)]);
        expect(&mut sets, &["a", "b", "c"]).await;
        assert_eq!(double.lists(), 2, "{how:?}");
    }
}

// apache/spark-kubernetes-operator#862: a balancer breaks each watch that is idle for 50 s.
#[tokio::test(start_paused = true)]
async fn watches_that_break_again_and_again_while_idle_make_no_event_late() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    double.sends_bookmarks(false);
    let endpoints = kubernetes(&double).service("web").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    expect(&mut sets, &["a"]).await;
    for number in 0..40 {
        tokio::time::sleep(secs(50)).await;
        double.cuts_watches();
        tokio::time::sleep(ms(1)).await;
        let uid = format!("b{number}");
        double.web("web-2", &[(&uid, Pod::Ready)]);
        let took = expect(&mut sets, &["a", &uid]).await;
        assert!(took < ms(500), "{number}: {took:?}");
    }
    assert_eq!((double.lists(), handle.failures()), (1, 0));
    // Nothing is told: a list now and then makes sure that the version is one.
    for _ in 0..40 {
        tokio::time::sleep(secs(50)).await;
        double.cuts_watches();
    }
    assert!((10..=25).contains(&double.lists()), "{}", double.lists());
    assert!(handle.last_error().is_none());
}

// kubernetes/kubernetes#133810: what came before the error must not wait for the list.
#[tokio::test(start_paused = true)]
async fn what_a_watch_tells_before_it_ends_with_an_error_takes_effect_at_once() {
    for error in [
        expired("too old resource version"),
        json!({"type": "ERROR", "object": {"code": 500, "message": "no leader"}}).to_string(),
        "no JSON".to_owned(),
    ] {
        let double = Double::start().await;
        double.web("web-1", &[("a", Pod::Ready)]);
        let mut sets = web(&double);
        expect(&mut sets, &["a"]).await;
        tokio::time::sleep(secs(30)).await;
        let mut changed = slice("web", "web-1", 9001, vec![pod("b", "10.0.0.2", Pod::Ready)]);
        changed["metadata"]["resourceVersion"] = json!("900");
        let changed = json!({"type": "MODIFIED", "object": changed}).to_string();
        double.answers(Some((500, "etcdserver: no leader")));
        double.tells_watches(&format!("{changed}\n{error}"));
        let took = expect(&mut sets, &["b"]).await;
        assert!(took < ms(200), "{took:?}: {error}");
    }
}

// kubernetes/kubernetes#100878
#[tokio::test(start_paused = true)]
async fn a_watch_that_goes_on_and_leads_no_further_is_listed_anew() {
    for line in [
        "no event",
        r#"{"type":"DELETED","object":{}}"#,
        r#"{"type":"LATER","object":{}}"#,
        // As of a version that lies in the future, after a backup was restored.
        r#"{"type":"ERROR","object":{"code":504,"message":"Too large resource version"}}"#,
    ] {
        let double = Double::start().await;
        double.web("web-1", &[("a", Pod::Ready)]);
        let mut sets = web(&double);
        expect(&mut sets, &["a"]).await;
        tokio::time::sleep(secs(20)).await;
        double.refuses_watches(Some((200, line)));
        double.cuts_watches();
        tokio::time::sleep(secs(60)).await;
        // What comes before it is told by a list, however often it comes again.
        put(&double, slice("web", "web-2", 80, vec![pod("b", "10.0.0.2", Pod::Ready)]));
        let took = expect(&mut sets, &["a", "b"]).await;
        // Every other attempt is a list, and each waits for 33 s at most.
        assert!(took < secs(67), "{took:?}: {line}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_within_a_watch_says_when_to_come_back() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a"]).await;
    tokio::time::sleep(secs(30)).await;
    let object =
        json!({"code": 429, "reason": "TooManyRequests", "details": {"retryAfterSeconds": 40}});
    double.tells_watches(&json!({"type": "ERROR", "object": object}).to_string());
    tokio::time::sleep(secs(39)).await;
    assert_eq!((double.lists(), double.watches()), (1, 1));
    tokio::time::sleep(secs(60)).await;
    assert_eq!((double.lists(), double.watches()), (1, 2));
}

// kubernetes/kubernetes#121556, nginx/nginx-gateway-fabric#253
#[tokio::test(start_paused = true)]
async fn an_address_that_is_twice_in_a_slice_is_one_endpoint_the_better_one() {
    let double = Double::start().await;
    let bare =
        |host: &str, ready: bool| json!({"addresses": [host], "conditions": {"ready": ready}});
    let twice = vec![
        bare("10.0.0.1", false),
        bare("10.0.0.1", true),
        bare("10.0.0.2", true),
        bare("10.0.0.2", true),
    ];
    put(&double, slice("web", "web-1", 80, twice));
    let set = next(&mut web(&double)).await;
    assert_eq!(keys(&set), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(set.iter().all(|of| of.is_passing()));
}

// kubernetes/kubernetes#135266: the pod that had the address before is still there, and ends.
#[tokio::test(start_paused = true)]
async fn an_address_that_another_pod_has_now_leads_to_that_pod() {
    for before in [Pod::NotReady, Pod::Terminating] {
        let double = Double::start().await;
        let before = pod("before", "10.0.0.1", before);
        put(&double, slice("web", "web-1", 80, vec![before.clone()]));
        put(&double, slice("web", "web-2", 80, vec![pod("a", "10.0.0.1", Pod::Ready)]));
        let mut sets = web(&double);
        let set = next(&mut sets).await;
        assert_eq!(keys(&set), ["a"]);
        assert!(set[0].is_passing() && !set[0].is_draining());
        // In one slice, in whichever order.
        tokio::time::sleep(secs(30)).await;
        let now = pod("b", "10.0.0.1", Pod::Ready);
        for pods in [vec![before.clone(), now.clone()], vec![now, before]] {
            put(&double, slice("web", "web-1", 80, pods));
        }
        double.delete("web-2");
        expect(&mut sets, &["b"]).await;
        quiet(&mut sets, secs(60)).await;
    }
}

// sercand/kuberesolver#66, zeromicro/go-zero#5659, linkerd/linkerd2#10370
#[tokio::test(start_paused = true)]
async fn a_slice_that_becomes_empty_or_goes_takes_only_its_own_endpoints_along() {
    let double = Double::start().await;
    for number in 0..5 {
        double.web(&format!("web-{number}"), &[(&format!("p{number}"), Pod::Ready)]);
    }
    let mut sets = web(&double);
    expect(&mut sets, &["p0", "p1", "p2", "p3", "p4"]).await;
    tokio::time::sleep(secs(30)).await;
    double.web("web-1", &[]);
    expect(&mut sets, &["p0", "p2", "p3", "p4"]).await;
    double.delete("web-1");
    double.delete("web-3");
    expect(&mut sets, &["p0", "p2", "p4"]).await;
    double.web("web-4", &[("p5", Pod::Ready)]);
    expect(&mut sets, &["p0", "p2", "p5"]).await;
}

// traefik/traefik#8156: of a port by its name, the pods of a new version may listen at another number.
#[tokio::test(start_paused = true)]
async fn each_slice_has_the_number_of_a_port_for_itself() {
    let double = Double::start().await;
    put(&double, slice("web", "web-1", 8080, vec![pod("old", "10.0.0.1", Pod::Ready)]));
    put(&double, slice("web", "web-2", 9090, vec![pod("new", "10.0.0.2", Pod::Ready)]));
    let mut other = slice("web", "web-3", 7070, vec![pod("other", "10.0.0.3", Pod::Ready)]);
    other["ports"][0]["name"] = json!("metrics");
    put(&double, other);
    let query = KubernetesQuery::default().with_port("http");
    let watched = kubernetes(&double).service_with("web", query).unwrap();
    let set = next(&mut watched.discover()).await;
    let addresses: Vec<_> = set.iter().map(|of| of.address().as_str()).collect();
    assert_eq!(addresses, ["10.0.0.2:9090", "10.0.0.1:8080"]);
}

// kubernetes/kubernetes#114155: an address with two ports, in a slice for each.
#[tokio::test(start_paused = true)]
async fn of_an_address_with_its_ports_in_two_slices_the_wanted_port_counts() {
    let double = Double::start().await;
    for (name, port) in [("nginx-8989", 8080), ("nginx-4444", 8082)] {
        let bare = json!({"addresses": ["10.40.0.2"], "conditions": {"ready": true}});
        let mut slice = slice("web", name, port, vec![bare]);
        slice["ports"][0]["name"] = json!(name);
        put(&double, slice);
    }
    for (port, expected) in [
        ("nginx-8989", "10.40.0.2:8080"),
        ("nginx-4444", "10.40.0.2:8082"),
        ("8082", "10.40.0.2:8082"),
    ] {
        let query = KubernetesQuery::default().with_port(port);
        let watched = kubernetes(&double).service_with("web", query).unwrap();
        assert_eq!(keys(&next(&mut watched.discover()).await), [expected]);
    }
}

// kubernetes/ingress-nginx#9141, zalando/skipper#3151: of a port by its name, which not all the pods have that are selected.
#[tokio::test(start_paused = true)]
async fn a_pod_without_the_port_of_its_service_gets_no_calls_though_a_number_is_wanted() {
    for ports in [json!([]), json!(null), json!([{"name": "", "port": null}])] {
        let double = Double::start().await;
        double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
        let mut other = slice("web", "web-2", 9001, vec![pod("other", "10.0.0.9", Pod::Ready)]);
        other["ports"] = ports;
        put(&double, other);
        let query = KubernetesQuery::default().with_port("9001");
        let watched = kubernetes(&double).service_with("web", query).unwrap();
        let mut sets = watched.discover();
        expect(&mut sets, &["a", "b"]).await;
        tokio::time::sleep(secs(30)).await;
        // Nor while there is none that has it.
        for left in [&["b"][..], &[]] {
            let pods: Vec<_> = left.iter().map(|name| (*name, Pod::Ready)).collect();
            double.web("web-1", &pods);
            expect(&mut sets, left).await;
        }
    }
}

// kubernetes/kubernetes#55158, #67622
#[tokio::test(start_paused = true)]
async fn a_headless_service_without_ports_needs_a_number_and_says_so() {
    let double = Double::start().await;
    for ports in [json!([]), json!(null)] {
        let mut slice = slice("web", "web-1", 80, vec![pod("a", "10.0.0.1", Pod::Ready)]);
        slice["ports"] = ports;
        put(&double, slice);
        let query = KubernetesQuery::default().with_port("9000");
        let watched = kubernetes(&double).service_with("web", query).unwrap();
        let set = next(&mut watched.discover()).await;
        assert_eq!(set[0].address().as_str(), "10.0.0.1:9000");
        let watched = kubernetes(&double).service("web").unwrap();
        let error = watched.first_snapshot(secs(5)).await.unwrap_err();
        assert!(format!("{error:#}").contains("no port of TCP"), "{error:#}");
    }
}

// envoyproxy/gateway#1922, kubernetes/kubernetes#105172
#[tokio::test(start_paused = true)]
async fn names_of_a_slice_are_endpoints_beside_addresses() {
    let double = Double::start().await;
    put(&double, slice("web", "web-1", 80, vec![pod("a", "10.0.0.1", Pod::Ready)]));
    let bare = json!([{"addresses": ["db.example.com"]}, {"addresses": ["other.example.com"]}]);
    let mut names = slice("web", "web-2", 443, Vec::new());
    (names["addressType"], names["endpoints"]) = (json!("FQDN"), bare);
    put(&double, names);
    let set = next(&mut web(&double)).await;
    assert_eq!(keys(&set), ["a", "db.example.com:443", "other.example.com:443"]);
}

// traefik/traefik#12389, coredns/coredns#4632, #13481: what is left out of a slice that was written manually.
#[tokio::test(start_paused = true)]
async fn an_endpoint_without_conditions_is_ready_and_ports_may_have_no_name() {
    let double = Double::start().await;
    let all = vec![
        json!({"addresses": ["10.0.0.1"]}),
        json!({"addresses": ["10.0.0.2"], "conditions": {}}),
        json!({"addresses": ["10.0.0.3"], "conditions": {"ready": null, "serving": null}}),
        // The least that says that it ends.
        json!({"addresses": ["10.0.0.4"], "conditions": {"ready": false, "terminating": true}}),
    ];
    let mut bare = slice("web", "web-1", 80, all);
    bare["ports"] = json!([{"name": null, "port": null}, {"port": 80}]);
    put(&double, bare);
    let set = next(&mut web(&double)).await;
    assert_eq!(keys(&set), ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
    assert!(set.iter().all(|of| of.status() == Status::Passing && !of.is_draining()));
}

// envoyproxy/gateway#4946, traefik/traefik#13290: the only pod of a Service ends while the next one starts.
#[tokio::test(start_paused = true)]
async fn a_service_of_one_pod_has_an_endpoint_throughout_a_rollout() {
    let double = Double::start().await;
    double.web("web-1", &[("old", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["old"]).await;
    tokio::time::sleep(secs(30)).await;
    let mut seen = Vec::new();
    for pods in [
        &[("old", Pod::Terminating)][..],
        &[("old", Pod::Terminating), ("young", Pod::NotReady)],
        &[("old", Pod::Terminating), ("young", Pod::Ready)],
        &[("young", Pod::Ready)],
    ] {
        double.web("web-1", pods);
        while let Ok(set) = tokio::time::timeout(secs(5), next(&mut sets)).await {
            seen.push(set);
        }
    }
    for set in &seen {
        assert!(set.iter().any(|of| !of.is_draining()), "{set:?}");
    }
    assert_eq!(keys(seen.last().unwrap()), ["young"]);
}

// linkerd/linkerd2#10003: an endpoint that cannot be used keeps no other from leaving.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_cannot_be_used_keeps_nothing_else_as_it_was() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready), ("b", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a", "b"]).await;
    tokio::time::sleep(secs(30)).await;
    let broken = json!({"addresses": ["10.0.0.9/admin"], "targetRef": {"kind": "Pod", "uid": "x"}});
    put(&double, slice("web", "web-1", 9001, vec![broken, pod("c", "10.0.0.3", Pod::Ready)]));
    assert!(expect(&mut sets, &["c"]).await < ms(200));
}

// kubernetes/kubernetes#85353: a slice that is made anew, and one that is about to be deleted.
#[tokio::test(start_paused = true)]
async fn a_slice_that_is_made_anew_is_another_and_one_that_waits_for_its_end_still_counts() {
    let double = Double::start().await;
    let mut leaving = slice("web", "web-1", 80, vec![pod("a", "10.0.0.1", Pod::Ready)]);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-30T10:00:00Z");
    leaving["metadata"]["finalizers"] = json!(["example.com/wait"]);
    put(&double, leaving);
    let mut sets = web(&double);
    expect(&mut sets, &["a"]).await;
    tokio::time::sleep(secs(30)).await;
    let event = |kind: &str, uid: &str, version: &str| {
        let mut slice = slice("web", "web-1", 80, vec![pod(uid, "10.0.0.1", Pod::Ready)]);
        slice["metadata"]["resourceVersion"] = json!(version);
        json!({"type": kind, "object": slice}).to_string()
    };
    // In one piece, by the same name, and with a version that seems older.
    let (gone, made) = (event("DELETED", "a", "901"), event("ADDED", "b", "900"));
    double.tells_watches(&format!("{gone}\n{made}"));
    expect(&mut sets, &["b"]).await;
    // A DELETED of what is not there, and a MODIFIED of what was not added.
    let (gone, made) =
        (event("DELETED", "x", "902").replace("web-1", "web-9"), event("MODIFIED", "c", "903"));
    tokio::time::sleep(secs(30)).await;
    double.tells_watches(&format!(
        "{gone}\n{}",
        made.replace("web-1", "web-2").replace("10.0.0.1", "10.0.0.2")
    ));
    expect(&mut sets, &["b", "c"]).await;
}

// kubernetes/kubernetes#65012, kubernetes-client/python#2527: nothing is heard of a server that was stopped.
// folio-pro/kdashboard#59, apache/airflow#23521: see `a_watch_that_is_refused_with_410_before_it_begins_is_listed_anew`.
#[tokio::test(start_paused = true)]
async fn bookmarks_alone_keep_an_idle_watch_from_being_too_old() {
    let double = Double::start().await;
    double.web("web-1", &[("a", Pod::Ready)]);
    let mut sets = web(&double);
    expect(&mut sets, &["a"]).await;
    for _ in 0..20 {
        // Others change all the time, and the log is cut short behind them.
        put(&double, slice("tax", "tax-1", 80, Vec::new()));
        tokio::time::sleep(secs(70)).await;
        double.objects(Objects::compact);
        double.ends_watches();
    }
    quiet(&mut sets, secs(60)).await;
    assert_eq!(double.lists(), 1);
}

// ovn-kubernetes/ovn-kubernetes#2990: of a Service that stands for a name there may be slices, with nothing in them.
#[tokio::test(start_paused = true)]
async fn slices_without_endpoints_take_no_external_name_away() {
    let double = Double::start().await;
    let service = json!({"spec": {"type": "ExternalName", "externalName": "db.example.com", "ports": [{"port": 5432}]}});
    double.objects(|objects| objects.put_service("default", "web", service));
    let bare = |name: &str| {
        let mut bare = slice("web", name, 80, Vec::new());
        (bare["endpoints"], bare["ports"]) = (Value::Null, Value::Null);
        put(&double, bare);
    };
    bare("web-4");
    let mut sets = web(&double);
    expect(&mut sets, &["db.example.com:5432"]).await;
    tokio::time::sleep(secs(30)).await;
    bare("web-6");
    bare("web-4");
    quiet(&mut sets, secs(600)).await;
    // As soon as it has pods, it is one like the others.
    double.web("web-4", &[("a", Pod::Ready)]);
    expect(&mut sets, &["a"]).await;
    double.web("web-4", &[("a", Pod::NotReady)]);
    expect(&mut sets, &[]).await;
}

/// Answers lists, and then watches with bytes, each in a chunk of its own. Tells what was asked for.
async fn drips(list: &'static str, watch: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (told, watch) = (told.clone(), watch.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
                        return;
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let is_watch = head.contains("watch=true");
                told.lock().unwrap().push(head.lines().next().unwrap().to_owned());
                let body = if is_watch { watch.as_bytes() } else { list.as_bytes() };
                let start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(start.as_bytes()).await.unwrap();
                for byte in body {
                    stream.write_all(&[b"1\r\n", &[*byte][..], b"\r\n"].concat()).await.unwrap();
                    stream.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
                if is_watch {
                    // It stays open.
                    let _ = stream.read(&mut [0]).await;
                }
                let _ = stream.write_all(b"0\r\n\r\n").await;
            });
        }
    });
    (address, asked)
}

// kubernetes-client/python#2100, #1325, dagster-io/dagster#33362; and versions are texts: #133810.
#[tokio::test]
async fn events_may_come_byte_by_byte_and_versions_may_be_any_text() {
    let list = r#"{"metadata":{"resourceVersion":"v 1&é"},"items":[{"metadata":{"name":"a"},
        "ports":[{"port":80}],"endpoints":[{"addresses":["10.0.0.1"],"zone":"Zürich"}]}]}"#;
    let event = json!({"type": "ADDED", "object": {
        "metadata": {"name": "b", "resourceVersion": "v 2", "labels": {"note": "日本語 🦀"}},
        "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.2"], "zone": "Köln"}],
    }});
    let (address, asked) = drips(list, format!("{event}\n")).await;
    let query = KubernetesQuery::default().with_label_prefix("note");
    let config = KubernetesConfig::default().with_address(format!("http://{address}"));
    let watched = Kubernetes::new(config.with_query(query)).unwrap().service("web").unwrap();
    let mut sets = watched.discover();
    assert_eq!(next(&mut sets).await[0].locality().zone, "Zürich");
    let set = next(&mut sets).await;
    let new = set.get("10.0.0.2:80").unwrap();
    assert_eq!((&*new.locality().zone, &*new.metadata()["note"]), ("Köln", "日本語 🦀"));
    let asked = asked.lock().unwrap();
    assert!(asked.last().unwrap().contains("&resourceVersion=v%201%26%C3%A9&"), "{asked:?}");
}
