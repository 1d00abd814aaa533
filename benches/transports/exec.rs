//! A child process, called by lines over its stdin and stdout, many at once.

use std::{
    cell::Cell,
    collections::HashMap,
    env,
    future::Future,
    io::{BufRead, BufReader, Write},
    process::Stdio,
    rc::Rc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    process::Command,
    sync::{mpsc, oneshot},
};
use tower::Service;
use tower_upstream::{
    Call, Endpoint,
    connect::Connect,
    member::Member,
    transport::{ProcessConfig, ProcessService, ProcessTransport},
};

use crate::client::{Caller, Client, caller, echoed};

/// Most bytes of a line.
const MOST: usize = 16 << 20;
const CHILD: &str = "--child";

pub(crate) fn contenders() -> [Caller; 3] {
    [caller(Bare::default()), caller(Ours::new()), caller(Bare::default())]
}

/// Answers each line by one that is flushed.
pub(crate) fn child() {
    let (mut input, mut output) = (BufReader::new(std::io::stdin()), std::io::stdout().lock());
    let (mut line, mut answer) = (Vec::new(), Vec::new());
    while input.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let id = line.split(|byte| *byte == b'"').nth(3).expect("an id");
        let is_info = line.windows(15).any(|part| part == b"\"method\":\"info\"");
        answer.extend_from_slice(b"{\"id\":\"");
        answer.extend_from_slice(id);
        answer.extend_from_slice(b"\",\"result\":");
        match is_info {
            true => answer.extend_from_slice(br#"{"name":"echo","capabilities":["multiplex"]}"#),
            false => answer.extend_from_slice(format!("\"{}\"", echoed()).as_bytes()),
        }
        answer.extend_from_slice(b"}\n");
        output.write_all(&answer).and_then(|()| output.flush()).expect("it is read");
        line.clear();
        answer.clear();
    }
}

fn this() -> String {
    env::current_exe().expect("a path").display().to_string()
}

struct Ours(ProcessService<String, String>);

impl Ours {
    fn new() -> Self {
        let config = ProcessConfig::default().with_args([CHILD]);
        let member = Member::new(Endpoint::new(format!("exec:{}", this())).expect("an address"));
        Self(ProcessTransport::with_config(config).connect(&member))
    }
}

impl Client for Ours {
    fn call(&self) -> impl Future<Output = usize> + 'static {
        let mut service = self.0.clone();
        async move { service.call(Call::new(echoed())).await.expect("it answers").into_body().len() }
    }
}

#[derive(Serialize)]
struct Question<'a> {
    id: &'a str,
    method: &'a str,
    payload: &'a str,
    context: Context<'a>,
}

#[derive(Serialize)]
struct Context<'a> {
    request_id: &'a str,
    timeout: u64,
    max_retries: u32,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
    result: String,
}

/// A line, its id, and where its answer goes.
type Asked = (String, Vec<u8>, oneshot::Sender<String>);

/// A task that writes a line for each call, and hands each answer to the call with its id.
#[derive(Default)]
struct Bare {
    calls: Rc<Cell<u64>>,
    channel: Rc<std::cell::OnceCell<mpsc::UnboundedSender<Asked>>>,
}

async fn exchange(mut asked: mpsc::UnboundedReceiver<Asked>) {
    let mut child = Command::new(this())
        .arg(CHILD)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = AsyncBufReader::new(child.stdout.take().expect("piped"));
    let (mut waiting, mut line) = (HashMap::new(), Vec::new());
    loop {
        tokio::select! {
            next = asked.recv() => {
                let Some((id, question, answer)) = next else { return };
                waiting.insert(id, answer);
                stdin.write_all(&question).await.expect("open");
                stdin.flush().await.expect("open");
            }
            read = stdout.read_until(b'\n', &mut line) => {
                assert!(read.expect("open") > 0 && line.len() < MOST, "it ended");
                let answer: Answer = serde_json::from_slice(&line).expect("an answer");
                let caller: oneshot::Sender<_> = waiting.remove(&answer.id).expect("it was asked");
                let _ = caller.send(answer.result);
                line.clear();
            }
        }
    }
}

impl Client for Bare {
    fn call(&self) -> impl Future<Output = usize> + 'static {
        let (calls, channel) = (self.calls.clone(), self.channel.clone());
        let exchange = async move {
            calls.set(calls.get() + 1);
            let (id, data) = (format!("req_{:016}_{:016x}", calls.get(), calls.get()), echoed());
            let context = Context { request_id: &id, timeout: 30_000_000_000, max_retries: 0 };
            let question = Question { id: &id, method: "execute", payload: &data, context };
            let mut line = serde_json::to_vec(&question).expect("it can be written");
            line.push(b'\n');
            let channel = channel.get_or_init(|| {
                let (sender, receiver) = mpsc::unbounded_channel();
                tokio::spawn(exchange(receiver));
                sender
            });
            let (answer, answered) = oneshot::channel();
            channel.send((id, line, answer)).expect("it runs");
            answered.await.expect("an answer").len()
        };
        async move { tokio::time::timeout(Duration::from_secs(30), exchange).await.expect("in time") }
    }
}
