//! Every key of the config has an effect.

use std::time::Duration;

use tower_upstream::{
    discover::{
        Discover, Kubernetes, KubernetesConfig, KubernetesFamily, KubernetesQuery, WatchConfig,
    },
    error::{Code, Kind},
};

use crate::{
    double::Double,
    objects::{Pod, pod, slice},
    reading::config,
    sets::{keys, next},
    support::secs,
};

fn read(json: &str) -> KubernetesConfig {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_file_says_what_the_builders_say() {
    let config = read(
        r#"{"address": "https://10.0.0.1:6443", "namespace": "shop", "token": "s3cret",
            "allow_exec": ["aws"], "allow_plaintext": true, "allow_insecure_tls": true, "tls_ca_file": "/ca.pem",
            "tls_cert": "/c.pem", "tls_key": "/k.pem", "request_timeout": "5s",
            "max_response_bytes": 1048576, "label_selector": "c=d",
            "query": {"namespace": "team", "port": "grpc", "scheme": "https", "family": "prefer_ipv6",
                      "only_passing": false, "label_selector": "a=b", "label_prefix": "x/", "wait": "1m"},
            "watch": {"empty_grace": "30s"}}"#,
    );
    let query = KubernetesQuery::default()
        .with_namespace("team")
        .with_port("grpc")
        .with_scheme("https")
        .with_family(KubernetesFamily::PreferIpv6)
        .with_only_passing(false)
        .with_label_selector("a=b")
        .with_label_prefix("x/")
        .with_wait(secs(60));
    let built = KubernetesConfig::default()
        .with_address("https://10.0.0.1:6443")
        .with_namespace("shop")
        .with_token("s3cret")
        .with_allow_exec(["aws"])
        .with_allow_plaintext(true)
        .with_allow_insecure_tls(true)
        .with_tls_ca_file("/ca.pem")
        .with_tls_certificate("/c.pem", "/k.pem")
        .with_request_timeout(secs(5))
        .with_max_response_bytes(1 << 20)
        .with_label_selector("c=d")
        .with_query(query)
        .with_watch(WatchConfig::default().with_empty_grace(secs(30)));
    assert_eq!(config, built);
    let written = serde_json::to_string(&config).unwrap();
    assert!(!written.contains("s3cret") && !format!("{config:?}").contains("s3cret"));
    assert_eq!(read(&written), config.with_token(""));
    assert_eq!(read("{}"), KubernetesConfig::default());
    let of_go = read(r#"{"in_cluster": false, "kubeconfig_path": "/config", "context": "dev"}"#);
    let built = KubernetesConfig::default().with_in_cluster(false).with_context("dev");
    assert_eq!(of_go, built.with_kubeconfig_path("/config"));
    // Left out, the removal of what a watch tells is not doubted.
    assert_eq!(KubernetesConfig::default().watch.empty_grace, Duration::ZERO);
}

#[test]
fn mistakes_are_named_all_at_once() {
    let wrong = read(
        r#"{"address": "x:1", "in_cluster": true, "context": "dev", "namespace": "A", "token": "a\nb",
            "token_file": "/t", "tls_cert": "/c", "max_response_bytes": 1, "request_timeout": "1ms", "label_selector": "",
            "query": {"wait": "0s"}, "watch": {"max_removed": 2}}"#,
    );
    let error = Kubernetes::new(wrong).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    let text = error.to_string();
    for key in [
        "`address`",
        "`in_cluster`",
        "`namespace`",
        "`token`",
        "`token_file`",
        "`tls_key`",
        "`max_response_bytes`",
        "`request_timeout`",
        "`label_selector`",
        "`wait`",
        "`max_removed`",
    ] {
        assert!(text.contains(key), "{key}: {text}");
    }
    for (json, part) in
        [(r#"{"adress": "x:1"}"#, "adress"), (r#"{"query": {"wait": "x"}}"#, "query.wait")]
    {
        let error = serde_json::from_str::<KubernetesConfig>(json).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for address in ["", "ftp://x:1", "https://user:pw@x:1"] {
        let config = KubernetesConfig::default().with_address(address);
        assert!(Kubernetes::new(config).is_err(), "{address}");
    }
    let kubernetes =
        Kubernetes::new(KubernetesConfig::default().with_address("10.0.0.1:6443")).unwrap();
    for name in ["", "a/b/c", "../x", "A", "shop/"] {
        assert!(kubernetes.service(name).is_err(), "{name}");
    }
    let bad = KubernetesQuery::default().with_port("-");
    assert!(kubernetes.service_with("web", bad).is_err());
}

#[test]
fn a_token_is_not_sent_where_it_can_be_read() {
    let with_token =
        |address: &str| KubernetesConfig::default().with_address(address).with_token("s3cret");
    let error = Kubernetes::new(with_token("http://10.0.0.1:8080")).unwrap_err();
    assert_eq!(error.code(), Code::AUTH_1105);
    assert!(!error.to_string().contains("s3cret") && error.to_string().contains("allow_plaintext"));
    for good in [
        with_token("http://127.0.0.1:8001"),
        with_token("10.0.0.1:6443"),
        with_token("HTTPS://10.0.0.1:6443"),
        with_token("http://10.0.0.1:8080").with_allow_plaintext(true),
        KubernetesConfig::default().with_address("http://10.0.0.1:8080"),
    ] {
        assert!(Kubernetes::new(good).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_a_selector_and_a_query_have_their_effect() {
    let double = Double::start().await;
    let mut team = slice("web", "web-1", 80, vec![pod("a", "10.0.0.1", Pod::Ready)]);
    team["metadata"]["labels"]["example.com/team"] = "a".into();
    let mut shop = slice("web", "web-1", 80, vec![pod("s", "10.0.0.9", Pod::Ready)]);
    shop["metadata"]["namespace"] = "shop".into();
    double.objects(|objects| {
        objects.put(team);
        objects.put(shop);
        objects.put(slice("web", "web-2", 80, vec![pod("b", "10.0.0.2", Pod::NotReady)]));
    });
    let kubernetes = Kubernetes::new(config(&double)).unwrap();
    let query = KubernetesQuery::default;
    for (name, query, expected) in [
        ("web", query(), &["a"][..]),
        ("shop/web", query(), &["s"][..]),
        ("web", query().with_namespace("shop"), &["s"][..]),
        ("web", query().with_only_passing(false), &["a", "b"][..]),
        ("web", query().with_label_selector("example.com/team=b"), &[][..]),
        ("web", query().with_label_prefix("example.com/"), &["a"][..]),
    ] {
        let prefix = query.label_prefix.is_some();
        let set = next(&mut kubernetes.service_with(name, query).unwrap().discover()).await;
        assert_eq!(keys(&set), expected, "{name}");
        if prefix {
            assert_eq!(set[0].metadata().get("example.com/team").map(String::as_str), Some("a"));
        }
    }
    let shop = Kubernetes::new(config(&double).with_namespace("shop")).unwrap();
    assert_eq!(keys(&next(&mut shop.service("web").unwrap().discover()).await), ["s"]);
    let team = Kubernetes::new(config(&double).with_label_selector("example.com/team")).unwrap();
    assert_eq!(keys(&next(&mut team.service("web").unwrap().discover()).await), ["a"]);
    let all = KubernetesQuery::default().with_only_passing(false);
    let set = next(&mut team.service_with("web", all.clone()).unwrap().discover()).await;
    assert_eq!(keys(&set), ["a"], "the selector of the config is for all queries");
    let query = all.with_label_selector("!old");
    assert!(next(&mut team.service_with("web", query).unwrap().discover()).await.is_empty());
    // The time of a request, and how long a watch is left open.
    double.lists_take(secs(3));
    let quick = config(&double).with_request_timeout(secs(1));
    let watched = Kubernetes::new(quick).unwrap().service("web").unwrap();
    let error = watched.first_snapshot(secs(2)).await.unwrap_err();
    assert!(format!("{error:#}").contains("within 1s"), "{error:#}");
    double.lists_take(Duration::ZERO);
    let before = double.watches();
    let query = KubernetesQuery::default().with_wait(secs(30));
    let mut sets = kubernetes.service_with("web", query).unwrap().discover();
    next(&mut sets).await;
    tokio::time::sleep(secs(300)).await;
    assert!((8..=11).contains(&(double.watches() - before)), "{}", double.watches() - before);
}
