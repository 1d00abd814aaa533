//! The cookie of sessions.

use std::{
    future::ready,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt;
use http::{
    HeaderValue, Request, Response,
    header::{COOKIE, SET_COOKIE},
};
use tower::{Layer, Service, service_fn};
use tower_upstream::{
    http::SessionCookieLayer,
    session::{Home, Sessions},
};

fn layer() -> SessionCookieLayer {
    let layer = SessionCookieLayer::new(["a secret of 16 bytes or more"]).unwrap();
    layer.with_session_timeout(Duration::from_secs(1 << 30))
}

/// Where a request with such cookies belongs to, and the cookie of its answer.
fn ask(cookies: &[u8]) -> (Option<Home>, String) {
    let layer = layer();
    let sessions = layer.clone();
    let mut service = layer.layer(service_fn(move |request: Request<()>| {
        let home = sessions.home(&request);
        let endpoint: Arc<str> = "http://10.0.0.1:80".into();
        sessions.bind(&request, &endpoint, false).unwrap().answered();
        ready(Ok::<_, ()>(Response::new(home)))
    }));
    let mut request = Request::new(());
    for line in cookies.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            request.headers_mut().append(COOKIE, value);
        }
    }
    let response = service.call(request).now_or_never().unwrap().unwrap();
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    let pair = cookie.split(';').next().unwrap().to_owned();
    (response.into_body(), pair)
}

/// `@` stands for a cookie that is valid, of which the first two bytes change one byte. None but a valid one is
/// believed.
pub fn session(bytes: &[u8]) {
    static VALID: OnceLock<String> = OnceLock::new();
    let valid = VALID.get_or_init(|| ask(b"").1).as_bytes();
    let (&[at, change], cookies) = bytes.split_first_chunk().unwrap_or((&[0, 0], bytes));
    let mut changed = valid.to_vec();
    let at = usize::from(at) % changed.len();
    changed[at] ^= change;
    let parts: Vec<_> = cookies.split(|&byte| byte == b'@').collect();
    let cookies = parts.join(&changed[..]);
    let (home, answered) = ask(&cookies);
    assert!(answered.starts_with("__upstream=") && answered.len() < 100);
    let has = |of: &[u8]| cookies.windows(of.len()).any(|part| part == of);
    assert!(home.is_none() || has(valid), "{}", String::from_utf8_lossy(&cookies));
    assert!(ask(valid).0.is_some());
}
