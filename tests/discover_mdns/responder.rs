//! A host that speaks multicast DNS, in packets, and does what a test wants: it may be silent, lose questions,
//! and give its records any time to live.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, MessageType, Query},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, PTR, SRV, TXT},
    },
};
use socket2::{Domain, Socket, Type};
use tokio::{net::UdpSocket, task::JoinSet, time::Instant};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// An instance of a type.
#[derive(Debug, Clone)]
pub struct Service {
    pub kind: &'static str,
    pub label: String,
    pub port: u16,
    pub ip: Ipv4Addr,
    pub txt: Vec<String>,
    /// Of its records, in seconds.
    pub ttl: u32,
    /// Of those that name its host.
    pub host_ttl: Option<u32>,
    /// It answers until then.
    pub lives_until: Option<Instant>,
}

impl Service {
    pub fn new(kind: &'static str, label: &str, port: u16) -> Self {
        Self {
            kind,
            label: label.to_owned(),
            port,
            ip: Ipv4Addr::LOCALHOST,
            txt: vec![format!("id={label}")],
            ttl: 120,
            host_ttl: None,
            lives_until: None,
        }
    }

    pub fn ttl(self, ttl: u32) -> Self {
        Self { ttl, ..self }
    }

    pub fn host_ttl(self, ttl: u32) -> Self {
        Self { host_ttl: Some(ttl), ..self }
    }

    pub fn txt(self, txt: &[&str]) -> Self {
        Self { txt: txt.iter().map(|text| (*text).to_owned()).collect(), ..self }
    }

    pub fn ip(self, ip: [u8; 4]) -> Self {
        Self { ip: ip.into(), ..self }
    }

    fn kind_name(&self) -> Name {
        Name::from_ascii(format!("{}.local.", self.kind)).unwrap()
    }

    fn name(&self) -> Name {
        self.kind_name().prepend_label(self.label.as_bytes()).unwrap()
    }

    fn host(&self) -> Name {
        Name::from_ascii(format!("host-{}.local.", self.port)).unwrap()
    }

    fn records(&self, ttl: u32) -> Vec<Record> {
        let txt = TXT::from_bytes(self.txt.iter().map(|text| text.as_bytes()).collect());
        let of_host = if ttl == 0 { 0 } else { self.host_ttl.unwrap_or(ttl) };
        let unique = |name: Name, ttl: u32, data: RData| {
            let mut record = Record::from_rdata(name, ttl, data);
            // Of the internet, and the only one of its kind (RFC 6762 §10.2).
            record.set_dns_class(DNSClass::Unknown(0x8001));
            record
        };
        vec![
            Record::from_rdata(self.kind_name(), ttl, RData::PTR(PTR(self.name()))),
            unique(self.name(), of_host, RData::SRV(SRV::new(0, 0, self.port, self.host()))),
            unique(self.name(), ttl, RData::TXT(txt)),
            unique(self.host(), of_host, RData::A(A(self.ip))),
        ]
    }

    /// As other hosts do: what is asked for, and what is needed with it.
    fn answers(&self, name: &Name, of: RecordType) -> Vec<Record> {
        let is = |own: Name| own.to_lowercase() == name.to_lowercase();
        let is_asked_for = match of {
            RecordType::PTR => is(self.kind_name()),
            RecordType::A => is(self.host()),
            _ => is(self.name()),
        };
        let with = match of {
            RecordType::PTR => {
                &[RecordType::PTR, RecordType::SRV, RecordType::TXT, RecordType::A][..]
            }
            RecordType::SRV => &[RecordType::SRV, RecordType::A],
            RecordType::TXT => &[RecordType::TXT],
            RecordType::A => &[RecordType::A],
            RecordType::ANY => &[RecordType::SRV, RecordType::TXT],
            _ => &[],
        };
        let mut records = self.records(self.ttl);
        records.retain(|record| is_asked_for && with.contains(&record.record_type()));
        records
    }
}

#[derive(Default)]
struct State {
    services: Mutex<BTreeMap<(&'static str, String), Service>>,
    is_silent: AtomicBool,
    /// Questions to lose.
    lose: AtomicUsize,
    questions: AtomicUsize,
    /// The strings of TXT records that others announced, by the names of their instances.
    heard: Mutex<BTreeMap<String, Vec<String>>>,
    /// Instances of which others said where they are.
    places: Mutex<BTreeSet<Name>>,
    /// Those that others said goodbye to.
    goodbyes: Mutex<Vec<String>>,
}

/// Ends with the test.
#[derive(Clone)]
pub struct Responder {
    state: Arc<State>,
    socket: Arc<UdpSocket>,
    port: u16,
    _tasks: Arc<JoinSet<()>>,
}

fn socket(port: u16) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from((GROUP, port)).into()).unwrap();
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST).unwrap();
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket.set_nonblocking(true).unwrap();
    UdpSocket::from_std(socket.into()).unwrap()
}

impl Responder {
    pub fn start(port: u16) -> Self {
        let (state, socket) = (Arc::new(State::default()), Arc::new(socket(port)));
        let mut tasks = JoinSet::new();
        let (of, from) = (state.clone(), socket.clone());
        tasks.spawn(async move {
            let mut bytes = [0; 9_000];
            while let Ok((length, _)) = from.recv_from(&mut bytes).await {
                if let Ok(message) = Message::from_vec(&bytes[..length]) {
                    if let Some(answer) = of.hear(&message) {
                        let _ = from.send_to(&answer, (GROUP, port)).await;
                    }
                }
            }
        });
        Self { state, socket, port, _tasks: Arc::new(tasks) }
    }

    pub async fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, (GROUP, self.port)).await.unwrap();
    }

    async fn tell(&self, service: &Service, ttl: u32) {
        if !self.state.is_silent.load(SeqCst) {
            self.send(&message(service.records(ttl))).await;
        }
    }

    /// Tells some records of an instance, as if the others were lost, and answers nothing of it.
    pub async fn tells_of(&self, service: &Service, of: &[RecordType]) {
        let records = service.records(service.ttl).into_iter();
        let records = records.filter(|record| of.contains(&record.record_type()));
        self.send(&message(records.collect())).await;
    }

    /// It is there from now on, and says so.
    pub async fn announce(&self, service: Service) {
        let key = (service.kind, service.label.clone());
        self.state.services.lock().unwrap().insert(key, service.clone());
        self.tell(&service, service.ttl).await;
    }

    /// Says of an instance of one type that it is one of another, too.
    pub async fn lists_under(&self, kind: &str, service: &Service) {
        let kind = Name::from_ascii(format!("{kind}.local.")).unwrap();
        let pointer = Record::from_rdata(kind, service.ttl, RData::PTR(PTR(service.name())));
        let records = [vec![pointer], service.records(service.ttl)].concat();
        self.send(&message(records)).await;
    }

    fn take(&self, label: &str) -> Option<Service> {
        let mut services = self.state.services.lock().unwrap();
        let key = services.keys().find(|(_, of)| of == label).cloned()?;
        services.remove(&key)
    }

    /// It is there no more, and says so.
    pub async fn goodbye(&self, label: &str) {
        if let Some(service) = self.take(label) {
            self.tell(&service, 0).await;
        }
    }

    /// It is there no more, and says nothing.
    pub fn kill(&self, label: &str) {
        self.take(label).unwrap();
    }

    pub fn keep_alive(&self, label: &str, until: Instant) {
        let mut services = self.state.services.lock().unwrap();
        for service in services.values_mut().filter(|of| of.label == label) {
            service.lives_until = Some(until);
        }
    }

    pub fn is_silent(&self) -> bool {
        self.state.is_silent.load(SeqCst)
    }

    pub fn silence(&self, is_silent: bool) {
        self.state.is_silent.store(is_silent, SeqCst);
    }

    /// The next questions are lost on their way.
    pub fn lose(&self, questions: usize) {
        self.state.lose.store(questions, SeqCst);
    }

    pub fn questions(&self) -> usize {
        self.state.questions.load(SeqCst)
    }

    pub fn heard(&self, label: &str) -> Option<Vec<String>> {
        let heard = self.state.heard.lock().unwrap();
        let mut all = heard.iter();
        all.find(|(name, _)| name.starts_with(label)).map(|(_, strings)| strings.clone())
    }

    /// Of all instances that were announced.
    pub fn names(&self) -> Vec<Name> {
        self.state.places.lock().unwrap().clone().into_iter().collect()
    }

    /// Asks where an instance is. Tells whether there was an answer.
    pub async fn asks_for(&self, name: &Name) -> bool {
        self.state.places.lock().unwrap().remove(name);
        let mut message = Message::new();
        message.add_query(Query::query(name.clone(), RecordType::SRV));
        let packet = message.to_vec().unwrap();
        for _ in 0..3 {
            self.send(&packet).await;
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if self.state.places.lock().unwrap().contains(name) {
                    return true;
                }
            }
        }
        false
    }

    pub fn goodbyes(&self) -> Vec<String> {
        self.state.goodbyes.lock().unwrap().clone()
    }
}

fn message(records: Vec<Record>) -> Vec<u8> {
    let mut message = Message::new();
    message.set_id(0).set_message_type(MessageType::Response).set_authoritative(true);
    message.insert_answers(records);
    message.to_vec().unwrap()
}

impl State {
    fn hear(&self, message: &Message) -> Option<Vec<u8>> {
        if message.message_type() == MessageType::Response {
            for record in message.answers() {
                let name = record.name().to_utf8();
                match record.data() {
                    RData::TXT(txt) if record.ttl() > 0 => {
                        let strings = txt.txt_data().iter();
                        let strings = strings.map(|of| String::from_utf8_lossy(of).into_owned());
                        self.heard.lock().unwrap().insert(name, strings.collect());
                    }
                    RData::SRV(_) if record.ttl() > 0 => {
                        self.places.lock().unwrap().insert(record.name().clone());
                    }
                    RData::PTR(ptr) if record.ttl() == 0 => {
                        self.goodbyes.lock().unwrap().push(ptr.0.to_utf8());
                    }
                    _ => {}
                }
            }
            return None;
        }
        let now = Instant::now();
        let services = self.services.lock().unwrap();
        let alive = services.values().filter(|of| of.lives_until.is_none_or(|until| now < until));
        // RFC 6762 §7.1: what is known for long enough is not told.
        let is_known = &|of: &Record| {
            let mut known = message.answers().iter().filter(|known| known.data() == of.data());
            known.any(|known| known.name() == of.name() && known.ttl() >= of.ttl() / 2)
        };
        let records: Vec<_> = alive
            .flat_map(|service| {
                let queries = message.queries().iter();
                queries.flat_map(move |query| {
                    let answers = service.answers(query.name(), query.query_type());
                    let is_new = answers.first().is_some_and(|first| !is_known(first));
                    if is_new { answers } else { Vec::new() }
                })
            })
            .collect();
        if records.is_empty() || self.is_silent.load(SeqCst) {
            return None;
        }
        self.questions.fetch_add(1, SeqCst);
        let loses = self.lose.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        (!loses).then(|| self::message(records))
    }
}

/// How long a killed process may still answer.
pub const LAST_BREATH: Duration = Duration::from_millis(800);
