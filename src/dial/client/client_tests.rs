use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use super::*;

const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), max_body: 10 };

/// Answers each request with the next of `answers`, and tells the heads of the requests, each with the number
/// of its connection.
async fn serve(
    answers: Vec<&'static str>,
) -> (HttpClient, mpsc::UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/base/", listener.local_addr().unwrap());
    let (told, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if head.ends_with(b"\r\n\r\n") {
                    told.send((number, String::from_utf8(head).unwrap())).unwrap();
                    head = Vec::new();
                    let Some(answer) = answers.next() else { return };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        }
    });
    (HttpClient::new(&address.parse().unwrap(), Dialer::default()), heads)
}

async fn get(client: &HttpClient) -> Result<Response<Bytes>, Error> {
    let request = client.request(Method::GET, "/v1?a=b").body(Bytes::new()).unwrap();
    client.send(request, LIMITS).await
}

#[tokio::test]
async fn a_connection_is_kept_and_the_request_is_below_the_path() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour";
    let (client, mut heads) = serve(vec![answer, answer]).await;
    for _ in 0..2 {
        assert_eq!(get(&client).await.unwrap().body(), "four");
        let (number, head) = heads.recv().await.unwrap();
        assert_eq!(number, 0);
        assert!(head.starts_with("GET /base/v1?a=b HTTP/1.1\r\n"), "{head}");
        assert_eq!(head.matches("host: 127.0.0.1:").count(), 1, "{head}");
        assert!(head.contains(&format!("user-agent: {AGENT}\r\n")), "{head}");
        // For the connection to become idle.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused_however_its_length_is_told() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsix...\r\n5\r\nfive.\r\n",
    ] {
        let (client, _heads) = serve(vec![answer]).await;
        let error = get(&client).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Transport);
        assert!(error.to_string().contains("longer than 10 bytes"), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_others() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
    let (client, mut heads) = serve(vec![answer]).await;
    assert_eq!(get(&client).await.unwrap().status(), 302);
    heads.recv().await.unwrap();
    assert!(heads.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_a_timeout() {
    let (client, _heads) = serve(vec!["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfo"]).await;
    let error = get(&client).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains("within 5s"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_reached_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = HttpClient::new(&address.parse().unwrap(), Dialer::default());
    let error = get(&client).await.unwrap_err();
    assert!(error.is_unsent(), "{error}");
}
