//! The message stream over Unix sockets and TCP.

use std::{cell::RefCell, future::Future, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};
use tower::Service;
use tower_upstream::{
    Call, Endpoint,
    connect::Connect,
    member::Member,
    transport::{SocketConfig, SocketService, SocketTransport},
};

use crate::client::{Answer, Caller, Client, ID, Question, caller, echoed};

/// Most bytes of a message.
const MOST: usize = 16 << 20;

pub(crate) fn contenders(address: &str) -> [Caller; 3] {
    [caller(Bare::new(address)), caller(Ours::new(address)), caller(Bare::new(address))]
}

pub(crate) struct Ours(SocketService<String, String>);

impl Ours {
    fn new(address: &str) -> Self {
        let config =
            SocketConfig::default().with_max_connections(256).with_max_idle_connections(256);
        Self::of(&SocketTransport::with_config(config), address)
    }

    pub(crate) fn of(transport: &SocketTransport<String, String>, address: &str) -> Self {
        let member = Member::new(Endpoint::new(address).expect("an address"));
        Self(transport.connect(&member))
    }
}

impl Client for Ours {
    fn call(&self) -> impl Future<Output = usize> + 'static {
        let mut service = self.0.clone();
        async move {
            let call = service.call(Call::new(echoed()).with_id(ID));
            call.await.expect("it answers").into_body().len()
        }
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A stream, with what was read of it.
type Kept = (Box<dyn Stream>, Vec<u8>);

/// Streams that are kept, the one that was used last on top.
struct Bare {
    address: Rc<str>,
    idle: Rc<RefCell<Vec<Kept>>>,
}

impl Bare {
    fn new(address: &str) -> Self {
        Self { address: address.into(), idle: Rc::default() }
    }
}

pub(crate) async fn connect(address: &str) -> Box<dyn Stream> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Box::new(UnixStream::connect(path).await.expect("it listens"));
    }
    let place = address.strip_prefix("tcp://").expect("an address");
    let stream = TcpStream::connect(place).await.expect("it listens");
    stream.set_nodelay(true).expect("open");
    Box::new(stream)
}

impl Client for Bare {
    fn call(&self) -> impl Future<Output = usize> + 'static {
        let (address, idle) = (self.address.clone(), self.idle.clone());
        let exchange = async move {
            let data = echoed();
            let question =
                Question { operation: Some("execute"), request_id: ID, data: &data, timeout: None };
            let mut message = serde_json::to_vec(&question).expect("it can be written");
            message.push(b'\n');
            let kept = idle.borrow_mut().pop();
            let (mut stream, mut bytes) = match kept {
                Some(kept) => kept,
                None => (connect(&address).await, Vec::with_capacity(4_096)),
            };
            stream.write_all(&message).await.expect("open");
            while !bytes.ends_with(b"\n") {
                assert!(bytes.len() < MOST, "too long");
                assert!(stream.read_buf(&mut bytes).await.expect("open") > 0, "it closed");
            }
            let answer: Answer = serde_json::from_slice(&bytes).expect("an answer");
            assert!(answer.success && answer.request_id == ID);
            bytes.clear();
            idle.borrow_mut().push((stream, bytes));
            answer.data.len()
        };
        async move { tokio::time::timeout(Duration::from_secs(30), exchange).await.expect("in time") }
    }
}
