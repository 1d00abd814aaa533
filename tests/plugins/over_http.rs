//! The transports of this crate, by their names.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tower::{ServiceBuilder, service_fn};
use tower_upstream::{
    BoxError, Call, Reply,
    auth::{Credentials, RequireAuthLayer},
    config::{Config, Format},
    error::{Code, Kind},
    plugin::{Encoded, HealthStatus, PluginStatus},
    plugins::Plugins,
    serve,
};

struct Server(String, AbortHandle);

impl Drop for Server {
    fn drop(&mut self) {
        self.1.abort();
    }
}

async fn double(call: Call<u64>) -> Result<Reply<u64>, BoxError> {
    match *call.body() {
        13 => Err("thirteen is no number".into()),
        n => Ok(Reply::new(2 * n)),
    }
}

/// A plugin over HTTP that asks for a token.
async fn http() -> Server {
    let plugin = serve::http(service_fn(double)).health(async || HealthStatus::healthy());
    let guarded = ServiceBuilder::new()
        .layer(RequireAuthLayer::new([Credentials::bearer("s3cret")]))
        .service(plugin);
    let server = serve::http_service(guarded, "127.0.0.1:0").listen().await.unwrap();
    let address = server.address();
    Server(address, tokio::spawn(server.run()).abort_handle())
}

fn plugins<T: tower_upstream::plugins::Request + tower_upstream::plugins::Response>(
    plugins: Value,
) -> Plugins<T, T> {
    let config = serde_json::from_value(json!({ "plugins": plugins })).unwrap();
    Plugins::from_config(config).unwrap()
}

#[tokio::test]
async fn a_plugin_over_http_is_called_checked_and_heard() {
    let server = http().await;
    let plugins = plugins::<u64>(json!([{
        "name": "tax", "transport": "http", "endpoint": server.0,
        "auth": { "method": "bearer", "token": "s3cret" },
        "health_check": { "interval": "20ms", "interval_unhealthy": "20ms", "timeout": "20ms" },
        "fallback": { "strategy": "default", "default_response": 0 },
    }]));
    assert_eq!(plugins.call("tax", Call::new(21)).await.unwrap().into_body(), 42);
    // What the plugin itself says is an answer: no other takes its place.
    let error = plugins.call("tax", Call::new(13).idempotent()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Plugin, Code::PLUGIN_1206));
    assert!(error.to_string().contains("thirteen"), "{error}");
    let status = async |wanted| {
        for _ in 0..500 {
            if plugins.list()["tax"].status == wanted {
                return plugins.health().status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", plugins.list());
    };
    assert_eq!(status(PluginStatus::Healthy).await, PluginStatus::Healthy);
    drop(server);
    assert_eq!(status(PluginStatus::Unhealthy).await, PluginStatus::Unhealthy);
    let reply = plugins.call("tax", Call::new(21)).await.unwrap();
    assert_eq!((reply.metadata()["fallback"].as_str(), *reply.body()), ("true", 0));
}

#[tokio::test]
async fn credentials_that_are_wrong_are_refused_by_the_plugin() {
    let server = http().await;
    let plugins =
        plugins::<u64>(json!([{ "name": "tax", "transport": "http", "endpoint": server.0 }]));
    assert!(plugins.call("tax", Call::new(1)).await.is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn a_set_may_be_reached_in_several_ways_and_types_share_it() {
    let path = std::env::temp_dir().join(format!("plugins-{}.sock", std::process::id()));
    let server = serve::unix(service_fn(double), path.to_str().unwrap()).listen().await.unwrap();
    let running = tokio::spawn(server.run());
    let http = serve::http(service_fn(double)).bind("127.0.0.1:0").listen().await.unwrap();
    let address = http.address();
    let also = tokio::spawn(http.run());
    let unix = format!("unix:{}", path.display());
    let plugins = plugins::<Encoded>(json!([
        { "name": "mixed", "transport": "http", "endpoints": [address, unix],
          "balance": { "strategy": "round-robin" } },
        { "name": "unix", "transport": "unix", "endpoint": path, "options": { "ping_after": "1s" } },
    ]));
    let mut keys = std::collections::BTreeSet::new();
    for name in ["mixed", "mixed", "mixed", "unix"] {
        use tower::ServiceExt;
        let typed = plugins.typed::<u64, u64>(name).unwrap();
        let reply = typed.oneshot(Call::new(4)).await.unwrap();
        keys.insert(reply.endpoint().unwrap_or_default().to_owned());
        assert_eq!(reply.into_body(), 8);
    }
    assert_eq!(keys.len(), 2, "{keys:?}");
    running.abort();
    also.abort();
}

#[cfg(all(feature = "process", feature = "kubernetes", unix))]
#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_any_more_holds_up_no_list_of_what_may_run() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubeconfig-of-a-program");
    let write = || {
        let text = "clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}]\n\
            contexts: [{name: c, context: {cluster: c, user: c}}]\n\
            users: [{name: c, user: {}}]\ncurrent-context: c\n";
        std::fs::write(&path, text).unwrap();
    };
    let secured = |policy: &str| {
        let security = json!({ "enabled": true, "policy": policy });
        let other =
            json!({ "name": "other", "transport": "http", "endpoint": "http://127.0.0.1:9" });
        let config = json!({ "plugins": [other], "security": security }).to_string();
        Config::from_str(&config, Format::Json).unwrap()
    };
    write();
    let plugins = Plugins::<u64, String>::new();
    let kubernetes = json!({ "kubeconfig_path": path });
    let own = json!({
        "name": "own", "transport": "http", "discover": { "kubernetes": kubernetes, "service": "shop/tax" },
    });
    plugins.register_config(serde_json::from_value(own).unwrap()).unwrap();
    let refused = async || plugins.call("own", Call::new(1)).await.unwrap_err();
    assert_eq!(refused().await.kind(), Kind::NoEndpoints);

    std::fs::remove_file(&path).unwrap();
    plugins.apply(secured("strict")).unwrap();
    let error = refused().await;
    assert_eq!(error.kind(), Kind::InvalidConfig);
    assert!(error.to_string().contains("kubeconfig-of-a-program"), "{error}");
    // The next list finds it again.
    write();
    plugins.apply(secured("permissive")).unwrap();
    assert_eq!(refused().await.kind(), Kind::NoEndpoints);
}

#[cfg(all(feature = "process", unix))]
#[tokio::test]
async fn a_program_is_started_with_its_environment_and_only_if_it_is_allowed() {
    use std::os::unix::fs::PermissionsExt;

    use tower_upstream::{Endpoint, config::PluginConfig, discover::Memory};

    let dir = std::env::temp_dir().join(format!("plugins-exec-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (program, list) = (dir.join("tax.sh"), dir.join("allowed.json"));
    let script = r#"#!/bin/sh
while read -r line; do
    id=$(printf '%s' "$line" | sed 's/.*"id":"\([^"]*\)".*/\1/')
    printf '{"id":"%s","result":"%s-%s-%s-%s"}\n' "$id" "$1" "$A" "$B" "$C"
done
"#;
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = |security: Value| {
        let plugin = json!({
            "name": "tax", "transport": "exec", "executable": program, "args": ["x"],
            "env": ["A=1"], "annotations": { "env_B": "2" },
            "options": { "environment": { "C": "3" }, "multiplex": "never" },
        });
        // Other ways to the program.
        let at = format!("exec:{}", program.display());
        let others = [
            json!({ "name": "among", "transport": "http", "endpoints": [at] }),
            json!({ "name": "found", "transport": "http", "discover": { "memory": {} } }),
        ];
        let plugins: Vec<_> = [plugin].into_iter().chain(others).collect();
        let config = json!({ "plugins": plugins, "security": security }).to_string();
        // Which a file may not say.
        let at = PluginConfig::new("at", "http").with_endpoint(at);
        Config::from_str(&config, Format::Json).unwrap().with_plugin(at)
    };
    let at = Endpoint::new(format!("exec:{}", program.display())).unwrap();
    let plugins = Plugins::<u64, String>::new();
    plugins.register_source("found", Memory::new([at]).unwrap());
    plugins.apply(config(Value::Null)).unwrap();
    let own = json!({ "name": "own", "transport": "exec", "executable": program });
    plugins.register_config(serde_json::from_value(own).unwrap()).unwrap();
    let reply = plugins.call("tax", Call::new(1)).await.unwrap();
    assert_eq!(reply.into_body(), "x-1-2-3");
    let others = ["found", "at", "among", "own"];
    let all_run = async || {
        for name in others {
            let reply = plugins.call(name, Call::new(1)).await.unwrap();
            assert_eq!(reply.into_body(), "---", "{name}");
        }
    };
    all_run().await;

    // Once there is a list, what is not on it does not run.
    std::fs::write(&list, r#"{"version":"1","plugins":{}}"#).unwrap();
    let security = |policy| json!({ "enabled": true, "policy": policy, "whitelist_file": list });
    plugins.apply(config(security("strict"))).unwrap();
    for name in others.into_iter().chain(["tax"]) {
        let mut code = Code::PLUGIN_1001;
        for _ in 0..200 {
            let Err(error) = plugins.call(name, Call::new(1)).await else {
                panic!("{name} runs still");
            };
            code = error.code();
            if code == Code::SECURITY_1801 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(code, Code::SECURITY_1801, "{name}");
    }
    // With other settings of the list, or none, they do.
    plugins.apply(config(security("permissive"))).unwrap();
    all_run().await;
    plugins.apply(config(security("strict"))).unwrap();
    plugins.call("own", Call::new(1)).await.unwrap_err();
    plugins.apply(config(Value::Null)).unwrap();
    all_run().await;
    plugins.shutdown();
    std::fs::remove_dir_all(dir).unwrap();
}

/// A plugin over HTTP: the calls that it gets it answers, and of what else it is asked it keeps the head and the body.
async fn asked() -> (String, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                loop {
                    let text = String::from_utf8_lossy(&bytes).to_lowercase();
                    let length = text.split("content-length: ").nth(1);
                    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
                    let head = text.find("\r\n\r\n").map(|end| end + 4);
                    if let Some(whole) = head.map(|head| head + length.unwrap_or(0usize)) {
                        if bytes.len() >= whole {
                            let request: Vec<u8> = bytes.drain(..whole).collect();
                            let request = String::from_utf8(request).unwrap();
                            let is_call = request.starts_with("POST / ");
                            let answer = if is_call {
                                "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"data\":42}"
                            } else {
                                kept.lock().unwrap().push(request);
                                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
                            };
                            if stream.write_all(answer.as_bytes()).await.is_err() {
                                return;
                            }
                            continue;
                        }
                    }
                    if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                        return;
                    }
                }
            });
        }
    });
    (address, asked)
}

#[tokio::test]
async fn an_endpoint_is_checked_as_it_says_itself() {
    let (own, asked_own) = asked().await;
    let (other, asked_other) = asked().await;
    let plugins = plugins::<u64>(json!([{
        "name": "tax", "transport": "http", "balance": { "strategy": "round-robin" },
        "health_check": { "interval": "50ms", "interval_unhealthy": "50ms", "timeout": "50ms", "endpoint": "/up" },
        "endpoints": [
            { "address": format!("http://{own}"), "id": "own", "health_check": {
                "path": "/ready?deep=1", "method": "PUT", "headers": { "x-probe": "s3cret" }, "body": "are you?",
                "expected": [404, 404], "interval": "100ms",
            } },
            { "address": format!("http://{other}"), "id": "other", "health_check": { "timeout": "40ms" } },
        ],
    }]));
    for _ in 0..4 {
        assert_eq!(plugins.call("tax", Call::new(1)).await.unwrap().into_body(), 42);
    }
    let states = async || {
        let layers = plugins.layers("tax").unwrap();
        for _ in 0..500 {
            let states = layers.health.monitor().statuses();
            let wanted = [("other", false), ("own", true)];
            let now: Vec<_> =
                states.iter().map(|(key, of)| (&**key, of.status.is_usable())).collect();
            if now == wanted && states.values().all(|of| of.status != PluginStatus::Unknown) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", layers.health.monitor().statuses());
    };
    assert!(states().await);
    let first = |asked: &std::sync::Mutex<Vec<String>>| asked.lock().unwrap()[0].clone();
    let request = first(&asked_own);
    assert!(request.starts_with("PUT /ready?deep=1 HTTP/1.1\r\n"), "{request}");
    assert!(
        request.to_lowercase().contains("x-probe: s3cret\r\n")
            && request.ends_with("\r\n\r\nare you?"),
        "{request}"
    );
    let request = first(&asked_other);
    assert!(request.starts_with("GET /up HTTP/1.1\r\n"), "{request}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_is_checked_as_often_and_for_as_long_as_it_says_itself() {
    use crate::world::{World, ms, tax};

    let world = World::default();
    let plugins = world.with(Config::default().with_plugin(tax(json!({
        "transport": "checked",
        "health_check": { "interval": "10s", "jitter": 0.0, "timeout": "5s" },
        "endpoints": [{ "address": "a:1", "id": "a", "health_check": { "interval": "1s" } }],
    }))));
    plugins.call("tax", Call::new(1)).await.unwrap();
    tokio::time::sleep(ms(30_000)).await;
    assert!((25..=35).contains(&world.checks()), "{}", world.checks());
}
