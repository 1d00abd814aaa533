//! The double answers as the server did that two foreign clients were recorded with.

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::double::Double;

async fn ask(double: &Double, recorded: &Value) -> (u16, Option<String>, String) {
    let stream = TcpStream::connect(double.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let text = |key: &str| recorded[key].as_str().unwrap_or_default().to_owned();
    let mut request =
        Request::builder().method(&*text("m")).uri(text("p")).header("host", "eureka");
    for (name, key) in [("accept", "accept"), ("content-type", "ct"), ("accept-encoding", "enc")] {
        if let Some(value) = recorded[key].as_str() {
            request = request.header(name, value);
        }
    }
    let request = request.body(Full::new(Bytes::from(text("body")))).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    let kind = head.headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
    (head.status.as_u16(), kind, String::from_utf8(body.to_vec()).unwrap())
}

/// The requests of one client after the other, as they came.
fn recorded() -> Vec<Vec<Value>> {
    let all = include_str!("recordings/requests.jsonl").lines();
    let all: Vec<Value> = all.map(|line| serde_json::from_str(line).unwrap()).collect();
    let client = |of: &Value| {
        let path = of["p"].as_str().unwrap().to_uppercase();
        ["PY-APP", "JS-APP"].into_iter().find(|name| path.contains(name))
    };
    let mut sessions = Vec::<Vec<Value>>::new();
    let mut current = None;
    for of in all {
        if client(&of).is_some() && client(&of) != current {
            current = client(&of);
            sessions.push(Vec::new());
        }
        sessions.last_mut().unwrap().push(of);
    }
    sessions
}

#[tokio::test(start_paused = true)]
async fn the_double_answers_what_was_recorded_of_two_clients() {
    let sessions = recorded();
    assert_eq!(sessions.iter().map(Vec::len).collect::<Vec<_>>(), [10, 11, 6, 11]);
    for (number, session) in sessions.iter().enumerate() {
        let double = Double::start().await;
        // The first time the server looked for ids as they stand in the path.
        if number == 0 {
            double.keeps_encoded();
        }
        let mut is_there = false;
        for of in session {
            let (status, kind, body) = ask(&double, of).await;
            assert_eq!(u64::from(status), of["code"].as_u64().unwrap(), "{of}");
            let is_read = of["m"] == "GET";
            // What is not asked for in JSON is told in XML.
            let takes_json = of["accept"] == "application/json";
            let told =
                if takes_json { "application/json;charset=UTF-8" } else { "application/xml" };
            assert_eq!(kind.as_deref(), is_read.then_some(told), "{of}");
            is_there |= of["m"] == "POST";
            is_there &= of["m"] != "DELETE";
            if !is_read {
                assert_eq!(body, "", "{of}");
                continue;
            }
            assert!(is_there, "{of}");
            if !takes_json {
                assert!(body.contains("<apps__hashcode>UP_1_</apps__hashcode>"), "{body}");
                assert!(body.contains(r#"<port enabled="true">9001</port>"#), "{body}");
                continue;
            }
            let read: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read["applications"]["apps__hashcode"], "UP_1_", "{of}");
            let instance = &read["applications"]["application"][0]["instance"][0];
            assert!(instance["status"] == "UP" && instance["hostName"] == "localhost");
        }
    }
}
