//! How an API server is reached, and what is shown there.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tower_upstream::discover::{Discover, Kubernetes, KubernetesConfig};

use crate::{
    double::Double,
    objects::Pod,
    reading::config,
    sets::{keys, next},
    support::{ms, secs},
    tls::{Authority, Files, Identity, acceptor},
};

/// TLS in front of a double.
pub struct Secured {
    pub port: u16,
    pub ca: String,
    pub client: Identity,
}

/// The certificate is for a name.
pub async fn secured(double: &Double, name: &str) -> Secured {
    let (servers, clients) = (Authority::new(), Authority::new());
    let client = clients.identity("client", |_| ());
    let acceptor = acceptor(servers.identity(name, |_| ()), Some(&clients));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), double.address);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut to = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut to).await;
            });
        }
    });
    Secured { port, ca: servers.pem, client }
}

/// What is found, or why nothing is.
pub async fn found(config: KubernetesConfig) -> Result<usize, String> {
    let kubernetes = Kubernetes::new(config).map_err(|error| format!("{error:#}"))?;
    let watched = kubernetes.service("web").unwrap();
    let (mut sets, handle) = (watched.discover(), watched.handle());
    let failed = async {
        while handle.last_error().is_none() {
            tokio::time::sleep(ms(10)).await;
        }
    };
    tokio::select! {
        set = sets.next() => Ok(set.unwrap().len()),
        () = failed => Err(format!("{:#}", handle.last_error().unwrap())),
    }
}

#[tokio::test]
async fn tls_is_used_with_the_authority_and_the_certificate_that_are_given() {
    let (double, files) = (Double::start().await, Files::new());
    double.web("web-1", &[("a", Pod::Ready)]);
    let Secured { port, ca, client } = secured(&double, "localhost").await;
    let ca = files.write("ca.pem", &ca);
    let cert = files.write("cert.pem", &client.pem);
    let key = files.write("key.pem", &client.key_pem);
    let plain = format!("localhost:{port}");
    let trusting = KubernetesConfig::default().with_tls_ca_file(&*ca);
    let whole = trusting.clone().with_tls_certificate(&cert, &key);
    assert_eq!(found(whole.clone().with_address(&*plain)).await, Ok(1));
    assert_eq!(found(whole.clone().with_address(format!("https://{plain}/"))).await, Ok(1));
    // Without TLS, without a certificate, and with none of the authorities.
    assert!(found(whole.with_address(format!("http://{plain}"))).await.is_err());
    assert!(found(trusting.with_address(&*plain)).await.is_err());
    let unknown = KubernetesConfig::default().with_tls_certificate(&cert, &key);
    assert!(found(unknown.clone().with_address(&*plain)).await.is_err());
    // Unless no authority is asked for.
    let blind = unknown.with_address(&*plain).with_allow_insecure_tls(true);
    assert_eq!(found(blind).await, Ok(1));
}

pub fn kubeconfig(files: &Files, cluster: &str, user: &str) -> PathBuf {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         contexts: [{{name: here, context: {{cluster: c, user: u, namespace: default}}}}]\n\
         clusters:\n- name: c\n  cluster: {{{cluster}}}\n\
         users:\n- name: u\n  user: {{{user}}}\n"
    );
    files.write("config", &text)
}

#[tokio::test]
async fn a_kubeconfig_leads_to_the_server_with_files_and_with_data() {
    let (double, files) = (Double::start().await, Files::new());
    double.web("web-1", &[("a", Pod::Ready)]);
    double.asks_for_tokens(&["good"]);
    let Secured { port, ca, client } = secured(&double, "kubernetes.test").await;
    files.write("ca.pem", &ca);
    files.write("cert.pem", &client.pem);
    files.write("key.pem", &client.key_pem);
    files.write("token", "good\n");
    let data = |text: &str| BASE64_STANDARD.encode(text);
    let server = format!("server: \"https://127.0.0.1:{port}\"");
    let name = "tls-server-name: kubernetes.test";
    let of_files = format!("{server}, {name}, certificate-authority: ca.pem");
    let of_data = format!("{server}, {name}, certificate-authority-data: {}", data(&ca));
    let user_files = "client-certificate: cert.pem, client-key: key.pem, tokenFile: token";
    let user_data = format!(
        "client-certificate-data: {}, client-key-data: {}, token: good",
        data(&client.pem),
        data(&client.key_pem)
    );
    let with = |cluster: &str, user: &str| {
        KubernetesConfig::default().with_kubeconfig_path(kubeconfig(&files, cluster, user))
    };
    assert_eq!(found(with(&of_files, user_files)).await, Ok(1));
    assert_eq!(found(with(&of_data, &user_data)).await, Ok(1));
    // Data before files, and one of each.
    let both = format!("{of_data}, certificate-authority: none.pem");
    let mixed =
        format!("client-certificate-data: {}, client-key: key.pem, token: good", data(&client.pem));
    assert_eq!(found(with(&both, &mixed)).await, Ok(1));
    // Another name, no certificate, another token.
    let unnamed = format!("{server}, certificate-authority: ca.pem");
    assert!(found(with(&unnamed, user_files)).await.is_err());
    assert!(found(with(&of_files, "token: good")).await.is_err());
    let wrong = user_data.replace("token: good", "token: bad");
    let error = found(with(&of_data, &wrong)).await.unwrap_err();
    assert!(error.contains("401"), "{error}");
    // No check of the certificate, if both sides say so.
    let blind = format!("{server}, insecure-skip-tls-verify: true");
    let error = found(with(&blind, user_files)).await.unwrap_err();
    assert!(error.contains("allow_insecure_tls"), "{error}");
    assert_eq!(found(with(&blind, user_files).with_allow_insecure_tls(true)).await, Ok(1));
}

// kube-rs/kube#1953
#[tokio::test]
async fn an_authority_that_is_replaced_in_its_file_counts_for_the_next_connection() {
    let (double, files) = (Double::start().await, Files::new());
    double.web("web-1", &[("a", Pod::Ready)]);
    let Secured { port, ca, client } = secured(&double, "localhost").await;
    let file = files.write("ca.pem", &Authority::new().pem);
    let cert = files.write("cert.pem", &client.pem);
    let key = files.write("key.pem", &client.key_pem);
    let config = KubernetesConfig::default()
        .with_address(format!("localhost:{port}"))
        .with_tls_ca_file(file)
        .with_tls_certificate(cert, key);
    let watched = Kubernetes::new(config).unwrap().service("web").unwrap();
    let (mut sets, handle) = (watched.discover(), watched.handle());
    assert!(tokio::time::timeout(secs(1), sets.next()).await.is_err());
    assert!(format!("{:#}", handle.last_error().unwrap()).contains("certificate"));
    files.write("ca.pem", &ca);
    assert_eq!(keys(&next(&mut sets).await), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_file_is_read_again_each_minute_and_when_it_is_refused() {
    let (double, files) = (Double::start().await, Files::new());
    double.web("web-1", &[("a", Pod::Ready)]);
    double.asks_for_tokens(&["one", "two"]);
    let token = files.write("token", "one\n");
    let kubernetes = Kubernetes::new(config(&double).with_token_file(&*token)).unwrap();
    let watched = kubernetes.service("web").unwrap();
    let (mut sets, handle) = (watched.discover(), watched.handle());
    assert_eq!(keys(&next(&mut sets).await), ["a"]);
    let last = || double.asked().last().unwrap().token.clone().unwrap();
    // It is the same for a minute.
    files.write("token", "two");
    double.cuts_watches();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(last(), "one");
    tokio::time::sleep(secs(61)).await;
    double.cuts_watches();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(last(), "two");
    // It is over: the file has the next one.
    double.asks_for_tokens(&["three"]);
    files.write("token", "three");
    double.cuts_watches();
    tokio::time::sleep(secs(3)).await;
    assert_eq!((last(), handle.last_error().is_none()), ("three".to_owned(), true));
    // Nothing else is there: it is told, asked again, and the endpoints stay.
    double.asks_for_tokens(&["four"]);
    double.cuts_watches();
    tokio::time::sleep(secs(120)).await;
    let error = handle.last_error().unwrap().to_string();
    assert!(error.contains("401") && !error.contains("three"), "{error}");
    assert_eq!(keys(&handle.set().unwrap()), ["a"]);
    // While the file is replaced it cannot be read.
    std::fs::remove_file(&token).unwrap();
    tokio::time::sleep(secs(60)).await;
    files.write("token", "four");
    tokio::time::sleep(secs(40)).await;
    assert!(handle.last_error().is_none());
    std::fs::remove_file(&token).unwrap();
    double.cuts_watches();
    tokio::time::sleep(secs(120)).await;
    assert!(handle.last_error().is_none(), "the former one is used");
}

#[tokio::test(start_paused = true)]
async fn a_token_file_that_is_not_there_is_told() {
    let double = Double::start().await;
    let kubernetes = Kubernetes::new(config(&double).with_token_file("/none/token")).unwrap();
    let watched = kubernetes.service("web").unwrap();
    let error = watched.first_snapshot(Duration::from_secs(1)).await.unwrap_err();
    assert!(format!("{error:#}").contains("/none/token"), "{error:#}");
    assert!(double.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_user_of_a_kubeconfig_may_act_as_another() {
    let (double, files) = (Double::start().await, Files::new());
    double.web("web-1", &[("a", Pod::Ready)]);
    double.asks_for_tokens(&["good"]);
    let server = format!("server: \"{}\"", double.url());
    let with = |user: &str| {
        KubernetesConfig::default().with_kubeconfig_path(kubeconfig(&files, &server, user))
    };
    let whole = "token: good, as: \"Zoë@example.com\", as-uid: u-1, as-groups: [devs, \"system:a b\"], \
                 as-user-extra: {example.com/Team: [tax, vat], scopes: [\"\"], none: null}";
    let mut sets = Kubernetes::new(with(whole)).unwrap().service("web").unwrap().discover();
    assert_eq!(keys(&next(&mut sets).await), ["a"]);
    tokio::time::sleep(secs(1)).await;
    let asked = double.asked();
    assert!(asked.iter().any(|asked| asked.is_watch()) && asked.len() == 2);
    drop(sets);
    let expected = [
        ("user", "Zoë@example.com"),
        ("uid", "u-1"),
        ("group", "devs"),
        ("group", "system:a b"),
        ("extra-example.com/team", "tax"),
        ("extra-example.com/team", "vat"),
        ("extra-scopes", ""),
    ];
    for asked in asked {
        assert_eq!(asked.token.as_deref(), Some("good"));
        let mut acts_as: Vec<_> = asked.acts_as.iter().map(|(a, b)| (&**a, &**b)).collect();
        acts_as.sort_by_key(|(name, _)| expected.iter().position(|(of, _)| of == name));
        assert_eq!(acts_as, expected);
    }
    // Also with a token of the settings; and none is told of one that acts as itself.
    assert_eq!(found(with("as: b").with_token("good")).await, Ok(1));
    assert_eq!(double.asked().last().unwrap().acts_as, [("user".to_owned(), "b".to_owned())]);
    assert_eq!(found(with("token: good, as: \"\", as-groups: []")).await, Ok(1));
    assert!(double.asked().last().unwrap().acts_as.is_empty());
    for wrong in ["as-groups: [s3cret]", "as-uid: s3cret", "as-user-extra: {s3cret: [s3cret]}"] {
        let error = found(with(&format!("token: good, {wrong}"))).await.unwrap_err();
        assert!(error.contains("without `as`") && !error.contains("s3cret"), "{error}");
    }
    let many = vec!["g"; 1_001].join(", ");
    for wrong in ["as: \"a\\ns3cret\"", &format!("as: a, as-groups: [{many}]")] {
        let error = found(with(&format!("token: good, {wrong}"))).await.unwrap_err();
        assert!(error.contains("`as`") && !error.contains("s3cret"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_beside_a_token_file_is_shown_until_the_file_can_be_read() {
    let (double, files) = (Double::start().await, Files::new());
    double.web("web-1", &[("a", Pod::Ready)]);
    double.asks_for_tokens(&["text", "file"]);
    let server = format!("server: \"{}\"", double.url());
    let path = kubeconfig(&files, &server, "token: text, tokenFile: token");
    let watched = Kubernetes::new(KubernetesConfig::default().with_kubeconfig_path(path)).unwrap();
    let watched = watched.service("web").unwrap();
    assert_eq!(keys(&next(&mut watched.discover()).await), ["a"]);
    assert_eq!(double.asked().last().unwrap().token.as_deref(), Some("text"));
    files.write("token", "file");
    let mut sets = watched.discover();
    next(&mut sets).await;
    double.cuts_watches();
    tokio::time::sleep(secs(5)).await;
    assert_eq!(double.asked().last().unwrap().token.as_deref(), Some("file"));
}

// As Rancher has its clusters: below a path.
#[tokio::test(start_paused = true)]
async fn a_server_may_be_below_a_path() {
    let double = Double::start().await;
    double.answers(Some((404, "")));
    for (base, path) in [("/k8s/clusters/c-1", "/k8s/clusters/c-1"), ("/k8s/", "/k8s"), ("/", "")] {
        let config = KubernetesConfig::default().with_address(format!("{}{base}", double.url()));
        assert!(found(config).await.unwrap_err().contains("404"));
        let asked = double.asked().last().unwrap().path.clone();
        assert_eq!(
            asked,
            format!("{path}/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")
        );
    }
}
