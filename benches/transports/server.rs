//! Answers every question with the same bytes, in a process of its own.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    runtime,
};

use crate::client::{ID, echoed};

/// It ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) http: String,
    pub(crate) unix: String,
    pub(crate) tcp: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let program = env::current_exe().expect("a path");
        let mut child = Command::new(program)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut next = || lines.next().expect("a line").expect("text");
        let (http, unix, tcp) = (next(), next(), next());
        Self { child, http, unix, tcp }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(path) = self.unix.strip_prefix("unix:") {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Prints its three addresses, and serves until its standard input ends.
pub(crate) fn serve() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let body = format!(r#"{{"data":"{}","request_id":"{ID}"}}"#, echoed());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        let http = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let data = echoed();
        let message = format!(
            "{{\"type\":\"execute\",\"request_id\":\"{ID}\",\"success\":true,\"data\":\"{data}\"}}\n"
        );
        let listen = || async { TcpListener::bind("127.0.0.1:0").await.expect("a port") };
        for (scheme, answer, end) in [("", http, "}"), ("tcp://", message.clone(), "\n")] {
            let listener = listen().await;
            let address = listener.local_addr().expect("bound");
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    stream.set_nodelay(true).expect("open");
                    tokio::spawn(answer_all(stream, answer.clone(), end));
                }
            });
            if scheme.is_empty() {
                println!("{address}");
                let path = env::temp_dir().join(format!("tu-bench-{}.sock", std::process::id()));
                let listener = UnixListener::bind(&path).expect("a path");
                println!("unix:{}", path.display());
                let message = message.clone();
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(answer_all(stream, message.clone(), "\n"));
                    }
                });
            } else {
                println!("{scheme}{address}");
            }
        }
        // The bench has ended.
        let _ = tokio::io::stdin().read(&mut [0]).await;
    });
}

async fn answer_all(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: String, end: &str) {
    let mut bytes = Vec::with_capacity(4_096);
    while let Ok(1..) = stream.read_buf(&mut bytes).await {
        if bytes.ends_with(end.as_bytes()) {
            bytes.clear();
            if stream.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    }
}
