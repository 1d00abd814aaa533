use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use hickory_resolver::{
    config::NameServerConfig,
    proto::{
        op::{Message, MessageType, ResponseCode},
        rr::Record,
        xfer::Protocol,
    },
};
use tokio::{net::UdpSocket, task::JoinSet};

use super::*;
use crate::sync::lock;

/// Of the server that the system names now, or 0.
static PORT: AtomicU16 = AtomicU16::new(0);

fn at(port: u16) -> Way {
    let mut config = ResolverConfig::new();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    config.add_name_server(NameServerConfig::new(address, Protocol::Udp));
    (config, ResolverOpts::default())
}

fn service(name: &str, servers: Servers, timeout: Duration) -> DnsService {
    let config = DnsConfig::default().with_timeout(timeout);
    DnsService::new(ServiceName::parse(name).unwrap(), Arc::new(Settings { servers, config }))
}

#[tokio::test]
async fn what_is_not_answered_is_asked_of_the_servers_that_the_system_names_then() {
    let [first, second] = [UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0")];
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let port = |of: &UdpSocket| of.local_addr().unwrap().port();
    let read = || Some(PORT.load(Ordering::SeqCst)).filter(|port| *port > 0).map(at);
    let servers = Servers { known: at(port(&first)), read: Some(read) };
    let source = service("tax.internal:80", servers, Duration::from_millis(100));
    let (mut state, mut packet) = (DnsState::default(), [0; 512]);
    for (named, asked) in [(0, &first), (port(&second), &second), (0, &first)] {
        PORT.store(named, Ordering::SeqCst);
        assert!(source.observe(&mut state).await.is_err());
        assert!(asked.recv_from(&mut packet).await.is_ok());
        while asked.try_recv_from(&mut packet).is_ok() {}
    }
}

/// A name server. What it has no answer for does not exist.
#[derive(Clone, Default)]
struct Zones(Arc<Mutex<HashMap<&'static str, Result<IpAddr, ResponseCode>>>>);

impl Zones {
    /// `NAME TYPE`, and an address or how it fails.
    fn set(&self, all: &[(&'static str, Result<&str, ResponseCode>)]) {
        let all = all.iter().map(|(of, zone)| (*of, zone.map(|ip| ip.parse().unwrap())));
        *lock(&self.0) = all.collect();
    }

    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let question = Message::from_vec(packet).ok()?;
        let query = question.queries().first()?.clone();
        let mut answer = Message::new();
        answer.set_id(question.id()).set_message_type(MessageType::Response);
        answer.add_query(query.clone());
        let asked = format!("{} {}", query.name(), query.query_type());
        match lock(&self.0).get(&*asked) {
            Some(Ok(ip)) => {
                answer.add_answer(Record::from_rdata(query.name().clone(), 30, (*ip).into()));
            }
            Some(Err(code)) => drop(answer.set_response_code(*code)),
            None => drop(answer.set_response_code(ResponseCode::NXDomain)),
        }
        answer.to_vec().ok()
    }
}

#[tokio::test]
async fn the_first_name_on_the_search_path_counts_and_one_that_fails_may_be_it() {
    let (zones, socket) = (Zones::default(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (mut config, options) = at(socket.local_addr().unwrap().port());
    let mut tasks = JoinSet::new();
    let of = zones.clone();
    tasks.spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            if let Some(answer) = of.answer(&packet[..length]) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    for domain in ["a.test.", "b.test."] {
        config.add_search(Name::from_ascii(domain).unwrap());
    }
    let servers = Servers { known: (config, options), read: None };
    let source = service("tax:80", servers, Duration::from_secs(10));
    let mut state = DnsState::default();
    let fails = || Err(ResponseCode::ServFail);
    let of_b = [("tax.b.test. A", Ok("10.0.0.2")), ("tax.b.test. AAAA", Ok("fd00::2"))];
    let a_fails = [("tax.a.test. A", fails()), ("tax.a.test. AAAA", fails())];
    for (all, expected) in [
        // Not one family of one name, and the other of another.
        (vec![("tax.a.test. A", Ok("10.0.0.1")), of_b[0], of_b[1]], Some(&["10.0.0.1:80"][..])),
        // It was that one.
        (vec![a_fails[0], a_fails[1], of_b[0], of_b[1]], None),
        (of_b.to_vec(), Some(&["10.0.0.2:80", "[fd00::2]:80"])),
        (vec![a_fails[0], a_fails[1], of_b[0], of_b[1]], Some(&["10.0.0.2:80", "[fd00::2]:80"])),
        // One family as it was.
        (vec![of_b[0], ("tax.b.test. AAAA", fails())], Some(&["10.0.0.2:80", "[fd00::2]:80"])),
        // One may have it.
        (a_fails.to_vec(), None),
        (vec![], Some(&[])),
        (a_fails.to_vec(), None),
        (vec![("tax. A", Ok("10.0.0.3"))], Some(&["10.0.0.3:80"])),
    ] {
        zones.set(&all);
        let observed = source.observe(&mut state).await;
        let told = format!("{observed:?}");
        assert_eq!(observed.is_ok(), expected.is_some(), "{all:?}: {told}");
        for key in ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "[fd00::2]:80"] {
            let is_expected = expected.is_some_and(|all| all.contains(&key));
            assert_eq!(told.contains(&format!("\"{key}\"")), is_expected, "{key} {all:?}: {told}");
        }
    }
    // The same for SRV records.
    let servers = source.settings.servers.clone();
    let source = service("_http._tcp.tax", servers, Duration::from_secs(10));
    zones.set(&[("_http._tcp.tax.a.test. SRV", fails())]);
    assert!(source.observe(&mut DnsState::default()).await.is_err());
    zones.set(&[]);
    assert!(source.observe(&mut DnsState::default()).await.is_ok());
}
