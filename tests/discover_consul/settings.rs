//! Every key of the config has an effect.

use futures::StreamExt;
use tokio::{io::copy_bidirectional, net::TcpStream};
use tower_upstream::{
    Endpoint,
    discover::{Consul, ConsulCheck, ConsulConfig, Discover, Registry},
    error::{Code, Kind},
};

use crate::{
    double::{Double, May},
    reading::config,
    sets::next,
    support::secs,
    tls::{Files, secured},
};

fn read(json: &str) -> ConsulConfig {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_file_says_what_the_builders_say() {
    let config = read(
        r#"{"address": "10.0.0.1:8500", "token": "s3cret", "allow_plaintext": true, "datacenter": "dc2", "namespace": "team",
            "partition": "p", "tls_enabled": true, "tls_ca_file": "/ca.pem", "tls_cert": "/c.pem",
            "tls_key": "/k.pem", "max_response_bytes": 1048576,
            "query": {"consistency": "stale", "max_lag": "5s", "wait": "1m", "min_interval": "1s", "only_passing": true,
                      "tags": ["v2"], "filter": "x", "near": "_agent", "tagged_address": "wan",
                      "scheme": "https"},
            "watch": {"empty_grace": "30s"}}"#,
    );
    let query = tower_upstream::discover::ConsulQuery::default()
        .with_consistency(tower_upstream::discover::ConsulConsistency::Stale)
        .with_max_lag(secs(5))
        .with_wait(secs(60))
        .with_min_interval(secs(1))
        .with_only_passing(true)
        .with_tag("v2")
        .with_filter("x")
        .with_near("_agent")
        .with_tagged_address("wan")
        .with_scheme("https");
    let built = ConsulConfig::default()
        .with_address("10.0.0.1:8500")
        .with_token("s3cret")
        .with_allow_plaintext(true)
        .with_datacenter("dc2")
        .with_namespace("team")
        .with_partition("p")
        .with_tls(true)
        .with_tls_ca_file("/ca.pem")
        .with_tls_certificate("/c.pem", "/k.pem")
        .with_max_response_bytes(1 << 20)
        .with_query(query)
        .with_watch(tower_upstream::discover::WatchConfig::default().with_empty_grace(secs(30)));
    assert_eq!(config, built);
    // All but the secret.
    let written = serde_json::to_string(&config).unwrap();
    assert!(!written.contains("s3cret") && !format!("{config:?}").contains("s3cret"));
    assert_eq!(read(&written), config.with_token(""));
    assert_eq!(read("{}"), ConsulConfig::default());
    let check: ConsulCheck =
        serde_json::from_str(r#"{"kind": "h2ping", "interval": "2s"}"#).unwrap();
    assert_eq!(check.interval, secs(2));
}

#[test]
fn mistakes_are_named_all_at_once() {
    let wrong = read(
        r#"{"address": "ftp://x:1/y", "token": "a\nb", "token_file": "/t", "tls_cert": "/c", "max_response_bytes": 1,
            "query": {"wait": "0s"}, "watch": {"max_removed": 2}}"#,
    );
    let error = Consul::new(wrong).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidConfig);
    let text = error.to_string();
    for key in [
        "`address`",
        "`token`",
        "`token_file`",
        "`tls_key`",
        "`max_response_bytes`",
        "`wait`",
        "`max_removed`",
    ] {
        assert!(text.contains(key), "{key}: {text}");
    }
    for (json, part) in
        [(r#"{"adress": "x:1"}"#, "adress"), (r#"{"query": {"wait": "x"}}"#, "query.wait")]
    {
        let error = serde_json::from_str::<ConsulConfig>(json).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    for address in ["", "consul", "http://consul:8500/v1", "http://user:pw@consul:8500"] {
        assert!(ConsulConfig::default().with_address(address).validate().is_err(), "{address}");
    }
    let consul = Consul::new(ConsulConfig::default()).unwrap();
    assert!(consul.service("").is_err());
}

#[test]
fn a_token_is_not_sent_in_plain_text_to_another_host() {
    let to = |address: &str| ConsulConfig::default().with_address(address).with_token("s3cret");
    for address in ["10.0.0.1:8500", "http://consul:8500", "consul.test:8500"] {
        let error = to(address).validate().unwrap_err();
        assert_eq!(error.code(), Code::AUTH_1105, "{address}");
        let text = error.to_string();
        assert!(text.contains("allow_plaintext") && !text.contains("s3cret"), "{text}");
        let of_file = ConsulConfig::default().with_address(address).with_token_file("/run/token");
        assert!(of_file.validate().is_err(), "{address}");
        assert!(to(address).with_allow_plaintext(true).validate().is_ok(), "{address}");
        assert!(ConsulConfig::default().with_address(address).validate().is_ok(), "{address}");
    }
    for address in ["127.0.0.1:8500", "http://localhost:8500", "[::1]:8500", "unix:/run/consul"] {
        assert!(to(address).validate().is_ok(), "{address}");
    }
    #[cfg(feature = "tls")]
    assert!(to("10.0.0.1:8501").with_tls(true).validate().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_and_the_place_are_sent_with_everything() {
    let double = Double::start().await;
    double.asks_for_tokens(&[("good", May::All)]);
    double.up("web", "web-1", 9001);
    let config = config(&double).with_token("good").with_datacenter("dc1");
    let consul = Consul::new(config.with_namespace("team").with_partition("p")).unwrap();
    next(&mut consul.service("web").unwrap().discover()).await;
    consul.services().await.unwrap();
    let registry = Registry::new(consul.registrar(ConsulCheck::default()));
    let registration = registry.register("tax", Endpoint::new("10.0.0.1:80").unwrap()).unwrap();
    registration.registered(secs(5)).await.unwrap();
    registration.deregister(secs(5)).await.unwrap();
    for asked in double.asked() {
        let place = ["dc", "ns", "partition"].map(|key| asked.one(key));
        assert_eq!(place, [Some("dc1"), Some("team"), Some("p")], "{asked:?}");
        assert_eq!(asked.token.as_deref(), Some("good"), "{asked:?}");
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_is_used_with_the_authority_and_the_certificate_that_are_given() {
    let (double, files) = (Double::start().await, Files::new());
    double.up("web", "web-1", 9001);
    let (address, ca, [cert, key]) = secured(double.address, &files).await;
    let plain = format!("localhost:{}", address.port());
    let trusting = ConsulConfig::default().with_tls_ca_file(&ca);
    // Whether it is found, or why it is not.
    let found = |config: ConsulConfig| async move {
        let watched = Consul::new(config).unwrap().service("web").unwrap();
        let (mut sets, handle) = (watched.discover(), watched.handle());
        let failed = async {
            while handle.last_error().is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            set = sets.next() => set.unwrap().len() == 1,
            () = failed => false,
        }
    };
    let whole = trusting.clone().with_tls_certificate(&cert, &key);
    assert!(found(whole.clone().with_address(&plain).with_tls(true)).await);
    assert!(found(whole.clone().with_address(format!("https://{plain}"))).await);
    // Without TLS, without a certificate, and with none of the authorities.
    assert!(!found(whole.with_address(&plain)).await);
    assert!(!found(trusting.with_address(&plain).with_tls(true)).await);
    let unknown = ConsulConfig::default().with_tls_certificate(&cert, &key).with_tls(true);
    assert!(!found(unknown.with_address(&plain)).await);
}

#[cfg(unix)]
#[tokio::test]
async fn the_socket_of_an_agent_is_used() {
    let (double, files) = (Double::start().await, Files::new());
    double.up("web", "web-1", 9001);
    let path = files.0.join("consul.sock");
    let (listener, to) = (tokio::net::UnixListener::bind(&path).unwrap(), double.address);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut to = TcpStream::connect(to).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut to).await });
        }
    });
    for address in [
        format!("unix:{}", path.display()),
        format!("http+unix://{}", path.display().to_string().replace('/', "%2F")),
    ] {
        let consul = Consul::new(ConsulConfig::default().with_address(address)).unwrap();
        assert_eq!(next(&mut consul.service("web").unwrap().discover()).await.len(), 1);
    }
}
