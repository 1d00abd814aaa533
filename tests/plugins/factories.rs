use serde_json::json;
use tokio::time::sleep;
use tower_upstream::{
    Call, Error,
    config::{Config, PluginConfig},
    discover::Memory,
    error::{BoxError, Code},
    plugins::{AnyConnector, Factory, Plugins},
};

use crate::{
    raw::server,
    world::{World, ms, tax},
};

#[tokio::test]
async fn every_scheme_of_a_transport_is_reached_from_a_file() {
    let code = async |address: &str| {
        let plugin = PluginConfig::new("a", "unix").with_endpoint(address);
        let config = Config::default().with_plugin(plugin);
        let plugins = Plugins::<u64, u64>::from_config(config).unwrap();
        plugins.call("a", Call::new(1)).await.unwrap_err().code()
    };
    for address in [
        "http+unix://%2Fnone%2Fa.sock",
        "unix:/none/a.sock",
        "tcp://127.0.0.1:1",
        "http://127.0.0.1:1",
        #[cfg(feature = "grpc")]
        "grpc://127.0.0.1:1",
        #[cfg(feature = "grpc")]
        "grpc+unix://%2Fnone%2Fa.sock",
    ] {
        assert_ne!(code(address).await, Code::PLUGIN_1008, "{address}");
    }
    assert_eq!(code("ftp://127.0.0.1:1").await, Code::PLUGIN_1008);
}

#[tokio::test(start_paused = true)]
async fn a_factory_is_found_by_the_type_and_then_by_the_transport() {
    struct Own(World);

    impl Factory<u64, String> for Own {
        fn transports(&self) -> Vec<String> {
            vec!["pipe".to_owned()]
        }

        fn validate(&self, plugin: &PluginConfig) -> Result<(), Error> {
            // Every section is there.
            assert!(plugin.retry.is_some() && plugin.fallback.is_some());
            if plugin.options.is_empty() {
                Err(Error::invalid_config("no options"))
            } else {
                Ok(())
            }
        }

        fn create(&self, _: &PluginConfig) -> Result<AnyConnector<u64, String>, BoxError> {
            Ok(self.0.connector())
        }
    }

    let (own, other) = (World::default(), World::default());
    let plugins = other.plugins();
    plugins.register_factory("own", Own(own.clone())).unwrap();
    let by_type =
        tax(json!({ "name": "a", "type": "own", "transport": "world", "options": { "x": 1 } }));
    let by_name =
        tax(json!({ "name": "b", "type": "payment", "transport": "own", "options": { "x": 1 } }));
    let served = tax(json!({ "name": "c", "transport": "pipe", "options": { "x": 1 } }));
    let config =
        [by_type, by_name, served].into_iter().fold(Config::default(), Config::with_plugin);
    plugins.apply(config).unwrap();
    for name in ["a", "b", "c"] {
        plugins.call(name, Call::new(1)).await.unwrap();
    }
    assert_eq!((own.seen().len(), other.seen().len()), (3, 0));
    // Each of them says what is wrong.
    let refused = ["tax", "vat"].into_iter().fold(Config::default(), |config, name| {
        config.with_plugin(tax(json!({ "name": name, "transport": "pipe" })))
    });
    let said = plugins.apply(refused).unwrap_err().to_string();
    assert_eq!(said, "[CONFIG_1703] plugin `tax`: no options; plugin `vat`: no options");
    // With its cause, where that is another error.
    let full = |plugin: &PluginConfig| Err(format!("no room for {}", plugin.name).into());
    plugins.register_factory("full", full).unwrap();
    let refused = ["tax", "vat"].into_iter().fold(Config::default(), |config, name| {
        config.with_plugin(tax(json!({ "name": name, "transport": "full" })))
    });
    let said = plugins.apply(refused).unwrap_err().to_string();
    let of = |name| format!("plugin `{name}` could not be made: no room for {name}");
    assert_eq!(said, format!("[REGISTRY_1907] {}; {}", of("tax"), of("vat")));
    // What a reply does not say of its endpoint is known.
    assert_eq!(plugins.call("a", Call::new(1)).await.unwrap().endpoint(), Some("a"));
    for taken in ["own", "pipe", "http"] {
        let again = |_: &PluginConfig| Err("never".into());
        let error = plugins.register_factory(taken, again).unwrap_err();
        assert_eq!(error.code(), Code::REGISTRY_1904);
        assert!(error.to_string().contains("`world`"), "{error}");
        assert!(!error.to_string().contains("did you mean"), "{error}");
    }
}

#[test]
fn what_no_factory_serves_is_told_with_the_names_that_there_are() {
    let plugins = Plugins::<u64, String>::new();
    let transport = PluginConfig::new("tax", "htpp").with_endpoint("a:1");
    let error = plugins.register_config(transport).unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1008);
    assert!(
        error.to_string().contains("`http`") && error.to_string().contains("`unix`"),
        "{error}"
    );
    let kind = PluginConfig::new("tax", "").with_kind("wasm");
    let error = plugins.register_config(kind).unwrap_err();
    assert_eq!(error.code(), Code::REGISTRY_1904);
    assert!(error.to_string().contains("`wasm`"), "{error}");
    let error = plugins.register_config(PluginConfig::new("tax", "")).unwrap_err();
    assert_eq!(error.code(), Code::PLUGIN_1002);
    for (transport, code) in
        [("http", Code::PLUGIN_1003), ("unix", Code::PLUGIN_1006), ("exec", Code::PLUGIN_1007)]
    {
        let error = plugins.register_config(PluginConfig::new("tax", transport)).unwrap_err();
        assert_eq!(error.code(), code);
    }
}

#[test]
fn a_factory_that_fails_or_panics_is_an_error_with_its_cause() {
    let plugins = Plugins::<u64, String>::new();
    plugins.register_factory("fails", |_: &PluginConfig| Err("no wasm here".into())).unwrap();
    plugins.register_factory("panics", |_: &PluginConfig| panic!("out of {}", "luck")).unwrap();
    for (name, cause) in [("fails", "no wasm here"), ("panics", "out of luck")] {
        let plugin = PluginConfig::new("tax", name).with_endpoint("a:1");
        let error = plugins.register_config(plugin).unwrap_err();
        assert_eq!(error.code(), Code::REGISTRY_1907);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(cause), "{source}");
    }
    assert_eq!(plugins.names(), []);
}

#[tokio::test(start_paused = true)]
async fn endpoints_are_found_in_memory_and_in_a_file() {
    let world = World::default();
    let plugins = world.plugins();
    let endpoints = Memory::new(["a:1"]).unwrap();
    plugins.register_source("tax", endpoints.clone());
    let discover = |section| Config::default().with_plugin(tax(json!({ "discover": section })));
    plugins.apply(discover(json!({ "memory": {} }))).unwrap();
    plugins.call("tax", Call::new(1)).await.unwrap();
    endpoints.replace(["b:1".parse().unwrap()]).unwrap();
    sleep(ms(10)).await;
    plugins.call("tax", Call::new(1)).await.unwrap();
    assert_eq!(world.counts().into_keys().collect::<Vec<_>>(), ["a:1", "b:1"]);

    let path = std::env::temp_dir().join(format!("plugins-{}.json", std::process::id()));
    std::fs::write(&path, r#"[{"address":"c:1","tags":["blue"]},{"address":"d:1"}]"#).unwrap();
    plugins.apply(discover(json!({ "file": { "path": path }, "tags": ["blue"] }))).unwrap();
    while plugins.config("tax").unwrap().discover.as_ref().unwrap().tags.is_empty() {
        sleep(ms(10)).await;
    }
    for n in 0..10 {
        plugins.call("tax", Call::new(n)).await.unwrap();
    }
    std::fs::remove_file(path).unwrap();
    assert_eq!(world.counts(), [("c:1".into(), 10)].into());

    for (section, text) in [
        (json!({ "fil": { "path": "/x" } }), "did you mean `file`?"),
        (json!({ "k8s": {} }), "no backend `k8s`; there are `memory`, "),
        (json!({ "file": {} }), "needs a `path`"),
        (
            json!({ "file": { "pth": "/x" } }),
            "discover.file.pth: unknown key; did you mean `path`?",
        ),
        (json!({ "memory": {}, "service": "tox" }), "did you mean `tax`?"),
        (json!({ "http": {} }), "needs `seeds`"),
        (
            json!({ "http": { "seeds": ["http://a:1"], "poll": "1s" } }),
            "discover.http.poll: unknown key",
        ),
        (json!({}), "names no backend"),
    ] {
        let error = plugins.apply(discover(section)).unwrap_err();
        assert!(error.to_string().contains(text), "{text}: {error}");
    }
}

/// An answer of a registry, whatever it is asked.
async fn answers(headers: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{headers}\r\n");
    server(head + body, Vec::new()).await.to_string()
}

#[tokio::test(start_paused = true)]
async fn each_backend_of_a_file_finds_the_endpoints_by_its_settings() {
    let farp = r#"{"service_id":"tax-1","service_name":"tax","port":80}"#;
    let farp = json!({ "http": { "seeds": [format!("http://{}", answers("", farp).await)],
        "poll_interval": "30s", "timeout": "1s", "token": "abc" } });
    let mut sections = vec![farp];
    #[cfg(feature = "consul")]
    {
        let body = r#"[{"Node":{"Address":"10.0.0.1"},"Service":{"ID":"tax-1","Service":"tax","Port":80}}]"#;
        let address = answers("X-Consul-Index: 7\r\n", body).await;
        sections.push(json!({ "consul": { "address": address, "datacenter": "dc1" } }));
    }
    #[cfg(feature = "eureka")]
    {
        let body = r#"{"applications":{"apps__hashcode":"UP_1_","application":{"name":"TAX",
            "instance":{"instanceId":"tax-1","ipAddr":"10.0.0.1","status":"UP","port":80}}}}"#;
        let urls = [format!("http://{}/eureka", answers("", body).await)];
        sections.push(
            json!({ "eureka": { "urls": urls, "registry_fetch_interval": 30_000_000_000_u64 } }),
        );
    }
    #[cfg(feature = "kubernetes")]
    {
        // What every request is answered: a list, which is no event of a watch.
        let body = r#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"tax-x"},"addressType":"IPv4",
            "ports":[{"name":"http","port":80}],"endpoints":[{"addresses":["10.0.0.1"],
            "targetRef":{"kind":"Pod","uid":"tax-1"}}]}]}"#;
        let address = format!("http://{}", answers("", body).await);
        sections.push(
            json!({ "kubernetes": { "address": address, "namespace": "shop", "kubeconfig_path": "",
            "label_selector": "", "service_type": "ClusterIP" }, "service": "team/tax" }),
        );
    }
    for section in sections {
        let world = World::default();
        let plugins = world.plugins();
        let plugin = tax(json!({ "discover": section }));
        plugins.apply(Config::default().with_plugin(plugin)).unwrap();
        plugins.call("tax", Call::new(1)).await.unwrap();
        assert_eq!(world.counts(), [("tax-1".into(), 1)].into(), "{section}");
    }
}

#[tokio::test]
#[cfg(feature = "etcd")]
async fn etcd_is_asked_at_the_endpoints_of_a_file() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoints = [listener.local_addr().unwrap().to_string()];
    let plugins = World::default().plugins();
    let section =
        json!({ "etcd": { "endpoints": endpoints, "dial_timeout": "1s", "key_prefix": "/x" } });
    let plugin = tax(json!({ "discover": section }));
    plugins.apply(Config::default().with_plugin(plugin)).unwrap();
    let called = plugins.call("tax", Call::new(1));
    let ((), _) = tokio::join!(async { drop(listener.accept().await.unwrap()) }, called);
}

#[tokio::test]
async fn a_mistake_in_the_settings_of_a_backend_is_named() {
    let plugins = World::default().plugins();
    let discover = |section| Config::default().with_plugin(tax(json!({ "discover": section })));
    let wrong =
        json!({ "eureka": { "urls": "x", "shuffle": 1, "registry_fetch_interval": "1 day" } });
    for (feature, section, text) in [
        (cfg!(feature = "etcd"), json!({ "etcd": { "endpoints": [] } }), "`endpoints` is empty"),
        (cfg!(feature = "eureka"), json!({ "eureka": { "urls": [] } }), "`urls`"),
        (
            cfg!(feature = "eureka"),
            json!({ "eureka": { "url": "x" } }),
            "discover.eureka.url: unknown key; did you mean `urls`?",
        ),
        (
            cfg!(feature = "kubernetes"),
            json!({ "kubernetes": { "adress": "x" } }),
            "adress: unknown key; did you mean `address`?",
        ),
        (
            cfg!(feature = "kubernetes"),
            json!({ "kubernetes": { "address": "x:1", "namespace": "A" } }),
            "`namespace`",
        ),
        (
            cfg!(feature = "dns"),
            json!({ "dns": {} }),
            "write what to resolve as `service`, such as",
        ),
        (cfg!(feature = "mdns"), json!({ "mdns": { "domain": "example.org" } }), "`domain`"),
        (
            cfg!(feature = "consul"),
            json!({ "consul": { "adress": "x" } }),
            "adress: unknown key; did you mean `address`?",
        ),
        // All of them, in the words of a file.
        (
            cfg!(feature = "eureka"),
            wrong.clone(),
            "discover.eureka.urls: expected a list, found a text",
        ),
        (
            cfg!(feature = "eureka"),
            wrong.clone(),
            "discover.eureka.shuffle: expected `true` or `false`, found",
        ),
        (
            cfg!(feature = "eureka"),
            wrong,
            "discover.eureka.registry_fetch_interval: expected a duration",
        ),
    ] {
        let name = section.as_object().unwrap().keys().next().unwrap().clone();
        let error = plugins.apply(discover(section)).unwrap_err().to_string();
        let without = format!("the Cargo feature `{name}`");
        assert!(error.contains(if feature { text } else { &without }), "{text}: {error}");
    }
}

#[tokio::test]
#[cfg(feature = "mdns")]
async fn mdns_is_read_by_the_names_of_go() {
    let plugins = World::default().plugins();
    for settings in [
        json!({ "domain": "local.", "service_type": "_farp._tcp", "watch_interval": "30s", "browse_timeout": "3s",
            "ttl": 120, "ipv6": false, "interface": "127.0.0.1" }),
        json!({ "domain": "", "service_type": "", "interface": "", "interfaces": ["127.0.0.1"] }),
        json!({ "service_types": ["_farp._tcp", "_http._tcp"], "interfaces": ["127.0.0.1"] }),
        json!({ "interfaces": ["127.0.0.1"] }),
    ] {
        let plugin = tax(json!({ "discover": { "mdns": settings } }));
        plugins.apply(Config::default().with_plugin(plugin)).unwrap();
    }
}
