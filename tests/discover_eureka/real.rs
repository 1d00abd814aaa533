//! The same with foreign clients and a server in another language, which `tests/real/run` starts and names.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};
use tower_upstream::{
    Endpoint,
    discover::{
        Discover, EndpointSet, Eureka, EurekaConfig, EurekaRegistrar, EurekaService, Registry,
        WatchConfig, WatchStream, Watched,
    },
    endpoint::Status,
};

use crate::{
    double::Double,
    real_servers::{given, script},
    registry_story::{Backend, play},
    sets::{keys, next},
    story::fast,
    support::{ms, secs},
};

async fn until(sets: &mut WatchStream, is_so: impl Fn(&EndpointSet) -> bool) -> EndpointSet {
    let found = async {
        loop {
            let set = next(sets).await;
            if is_so(&set) {
                return set;
            }
        }
    };
    timeout(secs(60), found).await.expect("not within a minute")
}

/// A program that announces itself, and tells which instances of an application it sees.
struct Foreign {
    child: Child,
    ask: Option<ChildStdin>,
    told: Lines<BufReader<ChildStdout>>,
}

impl Foreign {
    /// `command` by the script: the program, and what comes before `at`.
    fn start(command: &str, at: &str) -> Self {
        let mut words = command.split(' ');
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg(at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { ask: child.stdin.take(), child, told }
    }

    /// Waits until it sees these of an application.
    async fn sees(&mut self, app: &str, ids: &str) {
        let expected = format!("{app}: {ids}");
        let mut seen = String::new();
        let start = Instant::now();
        while seen.trim() != expected.trim() {
            assert!(start.elapsed() < secs(30), "{expected:?}, but {seen:?}");
            sleep(ms(200)).await;
            let ask = self.ask.as_mut().unwrap();
            ask.write_all(format!("{app}\n").as_bytes()).await.unwrap();
            let line = timeout(secs(30), self.told.next_line()).await.unwrap();
            seen = line.unwrap().expect("it has ended");
        }
    }

    async fn leaves(mut self) {
        drop(self.ask.take());
        let ended = timeout(secs(20), self.child.wait()).await.expect("it does not end").unwrap();
        assert!(ended.success(), "{ended:?}");
    }
}

fn eureka(url: &str) -> Eureka {
    let config = EurekaConfig::default().with_urls([url]);
    let watch = WatchConfig::default().with_empty_grace(Duration::ZERO);
    Eureka::new(fast(config).with_watch(watch)).unwrap()
}

/// Two foreign clients and ours find each other at a server.
async fn meet(url: &str, python: &str, node: &str) {
    let eureka = eureka(url);
    let port = url.trim_end_matches("/eureka").rsplit(':').next().unwrap();
    let (mut py, mut js) = (Foreign::start(python, url), Foreign::start(node, port));
    let mut pys = eureka.service("py-app").unwrap().discover();
    let mut jss = eureka.vip("js-app").unwrap().discover();
    let set = until(&mut pys, |set| !set.is_empty()).await;
    assert_eq!((keys(&set), set[0].status()), (vec!["127.0.0.1:py-app:9001"], Status::Passing));
    assert_eq!(set[0].address().as_str(), "http://127.0.0.1:9001");
    assert_eq!((&*set[0].locality().zone, &*set[0].metadata()["name"]), ("a", "py-app"));
    let set = until(&mut jss, |set| !set.is_empty()).await;
    assert_eq!((keys(&set), set[0].address().port()), (vec!["js-1"], Some(9002)));

    let registry = Registry::new(eureka.registrar());
    let tax = Endpoint::new("http://127.0.0.1:8080").unwrap().with_key("127.0.0.1:tax:8080");
    let tax = registry.register("tax", tax.with_weight(7)).unwrap();
    tax.registered(secs(5)).await.unwrap();
    for client in [&mut py, &mut js] {
        client.sees("TAX", "127.0.0.1:tax:8080").await;
    }
    py.sees("JS-APP", "js-1").await;
    tax.drain();
    for client in [&mut py, &mut js] {
        client.sees("TAX", "").await;
    }
    tax.deregister(secs(5)).await.unwrap();
    js.leaves().await;
    until(&mut jss, |set| set.is_empty()).await;
    py.leaves().await;
    until(&mut pys, |set| set.is_empty()).await;
}

#[tokio::test]
async fn two_foreign_clients_and_ours_meet_at_the_double() {
    let (Some(python), Some(node)) = (given("EUREKA_PYTHON"), given("EUREKA_NODE")) else { return };
    let double = Double::start().await;
    meet(&double.url(), &python, &node).await;
    let ours = |asked: &crate::double::Asked| {
        let agent = asked.headers.get("user-agent").and_then(|of| of.to_str().ok());
        agent.is_some_and(|agent| agent.starts_with("tower-upstream/"))
    };
    let asked = double.asked();
    let count = asked.iter().filter(|asked| ours(asked)).count();
    assert!(count > 10 && count < asked.len() - 10, "{count} of {}", asked.len());
}

#[tokio::test]
async fn a_foreign_client_that_the_double_has_forgotten_is_back() {
    let Some(python) = given("EUREKA_PYTHON") else { return };
    let double = Double::start().await;
    let mut sets = eureka(&double.url()).service("py-app").unwrap().discover();
    let py = Foreign::start(&python, &double.url());
    until(&mut sets, |set| !set.is_empty()).await;
    double.registry(|registry| *registry = crate::registry::Registry::default());
    let start = Instant::now();
    while double.status("py-app", "127.0.0.1:py-app:9001") != "UP" {
        assert!(start.elapsed() < secs(30), "it does not come back");
        sleep(ms(100)).await;
    }
    let answers = double.asked();
    assert_eq!(answers.iter().filter(|asked| asked.method == "POST").count(), 2);
    py.leaves().await;
}

#[tokio::test]
async fn two_foreign_clients_and_ours_meet_at_a_server_in_another_language() {
    let (Some(python), Some(node)) = (given("EUREKA_PYTHON"), given("EUREKA_NODE")) else { return };
    let Some(url) = given("EUREKA_URL") else { return };
    meet(&url, &python, &node).await;
}

struct Server(String);

impl Backend for Server {
    type Registrar = EurekaRegistrar;
    type Source = EurekaService;

    fn registrar(&self) -> EurekaRegistrar {
        self.eureka().registrar()
    }

    fn watch(&self, service: &str) -> Watched<EurekaService> {
        self.eureka().service(service).unwrap()
    }

    async fn stop(&self) {
        script(&["signal", "eureka-server", "KILL"]).await;
    }

    async fn restart(&self) {
        script(&["restart", "eureka-server"]).await;
    }

    async fn partition(&self) {
        script(&["signal", "eureka-server", "STOP"]).await;
    }

    async fn heal(&self) {
        script(&["signal", "eureka-server", "CONT"]).await;
    }

    fn hears_within(&self) -> Duration {
        secs(5)
    }

    fn forgets_within(&self) -> Duration {
        secs(12)
    }

    fn recovers_within(&self) -> Duration {
        secs(45)
    }

    fn outage(&self) -> Duration {
        secs(8)
    }
}

impl Server {
    fn eureka(&self) -> Eureka {
        Eureka::new(fast(EurekaConfig::default().with_urls([&self.0]))).unwrap()
    }
}

#[tokio::test]
async fn no_call_fails_while_endpoints_come_and_go_and_a_server_in_another_language_is_away() {
    let Some(url) = given("EUREKA_URL") else { return };
    let figures = play(&Server(url)).await;
    assert!(figures.calls > 1_000);
}
