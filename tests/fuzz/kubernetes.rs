//! What an API server of Kubernetes tells, and what a kubeconfig says.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tower_upstream::{
    discover::{Kubernetes, KubernetesConfig, KubernetesQuery, KubernetesService, Source},
    error::{Error, Kind},
};

/// Answers lists and watches with bytes, and closes.
struct Server {
    runtime: Runtime,
    answers: Arc<Mutex<(Vec<u8>, Vec<u8>)>>,
    config: KubernetesConfig,
}

/// What each secret of the corpus has, and no error tells.
const SECRET: &str = "s3cret";
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
const LIST: &[u8] = br#"{"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"a"},"ports":[{"port":80}],
    "endpoints":[{"addresses":["10.0.0.1"]}]}]}"#;

impl Server {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let answers = Arc::new(Mutex::new((Vec::new(), Vec::new())));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let told = answers.clone();
        runtime.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (list, watch) = told.lock().unwrap().clone();
                tokio::spawn(async move {
                    let mut asked = Vec::new();
                    while !asked.ends_with(b"\r\n\r\n") {
                        if !matches!(stream.read_buf(&mut asked).await, Ok(1..)) {
                            return;
                        }
                    }
                    let is_watch = asked.windows(10).any(|part| part == b"watch=true");
                    let _ = stream.write_all(if is_watch { &watch } else { &list }).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        let query = KubernetesQuery::default().with_only_passing(false).with_label_prefix("a");
        let config = KubernetesConfig::default()
            .with_address(address)
            .with_max_response_bytes(64 << 10)
            .with_query(query);
        Self { runtime, answers, config }
    }

    /// Asks so many times.
    fn observe(&self, list: Vec<u8>, watch: Vec<u8>, times: usize) {
        self.observe_with(self.config.clone(), list, watch, times);
    }

    fn observe_with(&self, config: KubernetesConfig, list: Vec<u8>, watch: Vec<u8>, times: usize) {
        *self.answers.lock().unwrap() = (list, watch);
        let service = Kubernetes::new(config).unwrap().service("web").unwrap();
        let mut state = <KubernetesService as Source>::State::default();
        for _ in 0..times {
            if let Err(error) = self.runtime.block_on(service.source().observe(&mut state)) {
                let text = format!("{:#}", Error::from_service(error));
                assert!(text.len() < 4_096 && !text.contains(SECRET), "{text}");
                return;
            }
        }
    }
}

thread_local! {
    static SERVER: Server = Server::start();
}

fn body(bytes: &[u8]) -> Vec<u8> {
    let head = format!("{HEAD}Content-Length: {}\r\n\r\n", bytes.len());
    [head.as_bytes(), bytes].concat()
}

/// A list of slices; with none of them, the same is what the Service is.
pub fn list(bytes: &[u8]) {
    SERVER.with(|server| server.observe(body(bytes), body(b""), 1));
}

/// The events of a watch.
pub fn watch(bytes: &[u8]) {
    SERVER.with(|server| server.observe(body(LIST), body(bytes), 3));
}

thread_local! {
    static FILE: PathBuf = {
        let name = format!("fuzz-kubeconfig-{}", std::process::id());
        std::env::temp_dir().join(name)
    };
}

/// What a program tells that a kubeconfig names.
#[cfg(unix)]
pub fn credential(bytes: &[u8]) {
    SERVER.with(|server| {
        FILE.with(|file| {
            let file = file.with_extension("exec");
            let told = file.with_extension("told");
            fs::write(&told, bytes).unwrap();
            let text = format!(
                "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
                 clusters: [{{name: a, cluster: {{server: '{}'}}}}]\nusers: [{{name: a, user: {{exec: {{\
                 apiVersion: client.authentication.k8s.io/v1, command: cat, args: ['{}']}}}}}}]\n",
                server.config.address.as_deref().unwrap(),
                told.display()
            );
            fs::write(&file, text).unwrap();
            let config = KubernetesConfig::default().with_kubeconfig_path(file.clone());
            server.observe_with(config.with_allow_exec(["cat"]), body(LIST), body(b""), 1);
            for file in [&file, &told] {
                let _ = fs::remove_file(file);
            }
        });
    });
}

/// A file of `kubectl`.
pub fn kubeconfig(bytes: &[u8]) {
    FILE.with(|file| {
        fs::write(file, bytes).unwrap();
        let config = KubernetesConfig::default().with_kubeconfig_path(file.clone());
        if let Err(error) = Kubernetes::new(config) {
            assert_eq!(error.kind(), Kind::InvalidConfig);
            let text = format!("{error:#}");
            assert!(text.len() < 4_096, "{text}");
            let tells = text.contains(SECRET) && !has_in_a_name(bytes);
            assert!(!tells, "{text}");
        }
        let _ = fs::remove_file(file);
    });
}

/// Whether a mutation moved the secret to where a name stands, which may be told. It reads whatever the reader of
/// kubeconfigs passes over, too.
fn has_in_a_name(bytes: &[u8]) -> bool {
    fn within(node: &Node) -> bool {
        match node {
            Node::Map(members) => members.iter().any(|(key, value)| match (key, value) {
                (Node::Text(key), Node::Text(text)) => {
                    NAMES.contains(&&**key) && text.contains(SECRET)
                }
                (key, value) => within(key) || within(value),
            }),
            Node::List(nodes) => nodes.iter().any(within),
            Node::Text(_) | Node::Other => false,
        }
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
    };
    let text = String::from_utf8_lossy(bytes);
    serde_saphyr::from_multiple_with_options::<Node>(&text, options)
        .is_ok_and(|documents| documents.iter().any(within))
}

/// Whatever YAML says, with keys of any kind.
enum Node {
    Text(String),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;

        macro_rules! others {
            ($($visit:ident: $value:ty,)*) => {
                $(fn $visit<E>(self, _: $value) -> Result<Node, E> {
                    Ok(Node::Other)
                })*
            };
        }

        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            others! {
                visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128,
                visit_f64: f64, visit_bytes: &[u8],
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
                Node::deserialize(from)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = all.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::List(nodes))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Node, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = all.next_entry()? {
                    members.push(member);
                }
                Ok(Node::Map(members))
            }
        }

        from.deserialize_any(Any)
    }
}

/// Keys whose texts an error may tell.
const NAMES: &[&str] = &[
    "current-context",
    "name",
    "cluster",
    "user",
    "server",
    "tls-server-name",
    "certificate-authority",
    "client-certificate",
    "client-key",
    "tokenFile",
    "command",
    "apiVersion",
];
