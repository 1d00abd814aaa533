//! A name server in this process, over UDP and TCP.

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, SOA, SRV},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

#[derive(Debug, Clone)]
pub enum Zone {
    /// Type, TTL and data of each record, aliases first.
    Has(Vec<(&'static str, u32, &'static str)>),
    Code(ResponseCode),
    Silent,
}

#[derive(Default)]
struct State {
    zones: HashMap<(String, RecordType), Zone>,
    /// UDP answers are cut.
    cuts: bool,
    asked: BTreeMap<(String, String), usize>,
    over_tcp: usize,
}

pub struct Server {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

/// TTL that an answer without records has.
pub const NEGATIVE_TTL: u32 = 7;

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

fn record(host: &str, (of, ttl, data): (&str, u32, &str)) -> Record {
    let data = match of {
        "A" => RData::A(A(data.parse().unwrap())),
        "AAAA" => RData::AAAA(AAAA(data.parse().unwrap())),
        "CNAME" => RData::CNAME(CNAME(name(data))),
        "SRV" => {
            let parts: Vec<&str> = data.split(' ').collect();
            let number = |at: usize| parts[at].parse().unwrap();
            RData::SRV(SRV::new(number(0), number(1), number(2), name(parts[3])))
        }
        of => panic!("{of}"),
    };
    Record::from_rdata(name(host), ttl, data)
}

impl State {
    fn answer(&mut self, question: &[u8], udp: bool) -> Option<Vec<u8>> {
        let question = Message::from_vec(question).ok()?;
        let query = question.queries().first()?.clone();
        let host = query.name().to_ascii().trim_end_matches('.').to_lowercase();
        let asked = (host.clone(), query.query_type().to_string());
        *self.asked.entry(asked).or_default() += 1;
        self.over_tcp += usize::from(!udp);
        let mut answer = Message::new();
        answer
            .set_id(question.id())
            .set_message_type(MessageType::Response)
            .set_recursion_desired(true)
            .set_recursion_available(true)
            .add_query(query.clone());
        let exists = self.zones.keys().any(|(of, _)| *of == host);
        match self.zones.get(&(host.clone(), query.query_type())) {
            Some(Zone::Silent) => return None,
            Some(Zone::Code(code)) => {
                answer.set_response_code(*code);
            }
            Some(Zone::Has(records)) => {
                let mut owner = host.clone();
                for of in records {
                    answer.add_answer(record(&owner, *of));
                    if of.0 == "CNAME" {
                        of.2.clone_into(&mut owner);
                    }
                }
                if udp && self.cuts {
                    answer.take_answers();
                    answer.set_truncated(true);
                }
            }
            None => {
                if !exists {
                    answer.set_response_code(ResponseCode::NXDomain);
                }
                let soa =
                    SOA::new(name("ns.internal"), name("admin.internal"), 1, 9, 9, 9, NEGATIVE_TTL);
                answer.add_name_server(Record::from_rdata(
                    name("internal"),
                    3_600,
                    RData::SOA(soa),
                ));
            }
        }
        answer.to_vec().ok()
    }
}

async fn over_tcp(mut stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut question = vec![0; length.into()];
        stream.read_exact(&mut question).await?;
        let answer = state.lock().unwrap().answer(&question, false);
        if let Some(answer) = answer {
            stream.write_u16(answer.len().try_into().unwrap()).await?;
            stream.write_all(&answer).await?;
        }
    }
}

impl Server {
    pub async fn start() -> Self {
        // One port for both, which another process may have taken of one.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let mut tasks = JoinSet::new();
        let of_udp = state.clone();
        tasks.spawn(async move {
            let mut question = [0; 4_096];
            while let Ok((length, from)) = udp.recv_from(&mut question).await {
                let answer = of_udp.lock().unwrap().answer(&question[..length], true);
                if let Some(answer) = answer {
                    let _ = udp.send_to(&answer, from).await;
                }
            }
        });
        let of_tcp = state.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = tcp.accept().await {
                connections.spawn(over_tcp(stream, of_tcp.clone()));
            }
        });
        Self { address, state, _tasks: tasks }
    }

    pub fn set(&self, host: &str, of: RecordType, zone: Zone) {
        self.state.lock().unwrap().zones.insert((host.to_owned(), of), zone);
    }

    /// Records of a host, each with its type.
    pub fn has(&self, host: &str, of: RecordType, ttl: u32, data: &[&'static str]) {
        let of_text: &'static str = of.into();
        let records = data.iter().map(|data| (of_text, ttl, *data)).collect();
        self.set(host, of, Zone::Has(records));
    }

    pub fn forget(&self, host: &str) {
        self.state.lock().unwrap().zones.retain(|(of, _), _| of != host);
    }

    pub fn cut(&self) {
        self.state.lock().unwrap().cuts = true;
    }

    pub fn over_tcp(&self) -> usize {
        self.state.lock().unwrap().over_tcp
    }

    pub fn asked(&self, host: &str, of: RecordType) -> usize {
        let asked = (host.to_owned(), of.to_string());
        self.state.lock().unwrap().asked.get(&asked).copied().unwrap_or_default()
    }
}
