use http::header::{HOST, USER_AGENT};

use super::check::{HttpCheck, MAX_SENT};
use crate::{
    dial::{AGENT, Way},
    endpoint::Endpoint,
    health::check::Check,
};

fn asked(target: &str, endpoint: &str) -> (Way, String, String) {
    let endpoint: Endpoint = endpoint.parse().unwrap();
    let check = HttpCheck::get(target);
    assert_eq!(check.problem(Some(&endpoint)), None);
    let place = check.target.place(Some(&endpoint)).unwrap();
    let request = check.request(&place).unwrap();
    let host = request.headers()[HOST].to_str().unwrap().to_owned();
    (place.way, host, request.uri().to_string())
}

#[test]
fn a_path_is_below_the_endpoint_s_and_a_url_is_verbatim() {
    let expect = |host: &str, port, authority: &str, path: &str| {
        let way = Way::Tcp { host: host.to_owned(), port, is_secure: false };
        (way, authority.to_owned(), path.to_owned())
    };
    assert_eq!(asked("health", "http://a/base/"), expect("a", 80, "a", "/base/health"));
    assert_eq!(
        asked("/health?full=1", "http://[::1]:8080"),
        expect("::1", 8080, "[::1]:8080", "/health?full=1")
    );
    assert_eq!(
        asked("/", "http://[fe80::1%25eth0]:81"),
        expect("fe80::1%25eth0", 81, "[fe80::1]:81", "/")
    );
    assert_eq!(asked("/", "10.0.0.1:81"), expect("10.0.0.1", 81, "10.0.0.1:81", "/"));
    assert_eq!(asked("http://[::2]:1/x//y", "http://a/base"), expect("::2", 1, "[::2]:1", "/x//y"));
    assert_eq!(asked("http://b", "http://a"), expect("b", 80, "b", "/"));
    #[cfg(unix)]
    assert_eq!(
        asked("/health", "http+unix://%2Frun%2Fa.sock/rpc"),
        (Way::Socket("/run/a.sock".into()), "localhost".into(), "/rpc/health".into())
    );
    #[cfg(feature = "tls")]
    for (target, endpoint) in [("/x", "https://a"), ("https://a/x", "http://b")] {
        let way = Way::Tcp { host: "a".into(), port: 443, is_secure: true };
        assert_eq!(asked(target, endpoint), (way, "a".into(), "/x".into()));
    }
}

#[test]
fn what_cannot_work_is_said() {
    let endpoint: Endpoint = "http://a".parse().unwrap();
    let problem = |check: HttpCheck| check.problem(Some(&endpoint)).unwrap_or_default();
    assert!(problem(HttpCheck::get("ftp://a/")).contains("only `http`"));
    assert_eq!(HttpCheck::get("https://a/").problem(None).is_none(), cfg!(feature = "tls"));
    assert!(problem(HttpCheck::get("http://user@a/")).contains("user name"));
    for target in ["http://user:secret@a/", "ftp://user:secret@a", "http://user:sec/ret@a"] {
        let check = HttpCheck::get(target);
        assert!(!format!("{check:?} {}", problem(check.clone())).contains("sec"), "{target}");
    }
    let path = HttpCheck::get("user:secret@a/health");
    let shown = format!("{path:?} {:?}", path.problem(None));
    assert!(shown.contains("a/health") && !shown.contains("secret"), "{shown}");
    assert!(problem(HttpCheck::get("http://a:b/")).contains("port"));
    assert!(problem(HttpCheck::get("http://a:65536")).contains("port"));
    assert_eq!(HttpCheck::get("http://[::1]:/").problem(None), None);
    assert!(problem(HttpCheck::get("/a b")).contains("not a path"));
    assert!(problem(HttpCheck::get("/").header("x", "a\nsecret")).contains("header"));
    #[allow(clippy::reversed_empty_ranges)]
    let none = HttpCheck::get("/").expect(300..=200);
    assert!(problem(none).contains("no status"));
    assert!(problem(HttpCheck::get("/").expect(100..=199)).contains("no status"));
    assert!(problem(HttpCheck::get("/").method("A B")).contains("method"));
    assert!(problem(HttpCheck::get("/").method("CONNECT")).contains("method"));
    assert!(problem(HttpCheck::get("/").body(vec![0; MAX_SENT + 1])).contains("64 KiB"));
    assert!(problem(HttpCheck::get("/").expect_body("")).contains("1 byte"));
    assert!(problem(HttpCheck::get("/").method("HEAD").expect_body("x")).contains("HEAD"));
    let path = HttpCheck::get("/health");
    assert!(path.problem(None).is_some_and(|text| text.contains("absolute URL")));
    let unix: Endpoint = "unix:/run/a".parse().unwrap();
    assert!(path.problem(Some(&unix)).is_some_and(|text| text.contains("`unix`")));
    assert_eq!(HttpCheck::get("http://a").problem(None), None);
}

#[test]
fn statuses_are_a_set_without_1xx() {
    let check = HttpCheck::get("/").expect(100..=204).or_expect(401..=401);
    let expected: Vec<_> = (0..1_000).filter(|&status| check.expects(status)).collect();
    assert_eq!(expected, [200, 201, 202, 203, 204, 401]);
    assert!(HttpCheck::get("/").expects(399) && !HttpCheck::get("/").expects(400));
}

#[test]
fn what_is_sent_has_the_fixed_agent_and_the_given_headers() {
    let check = HttpCheck::get("http://a").header("Host", "b").header("X-Key", "abc");
    let check = check.body("secret");
    let request = check.request(&check.target.place(None).unwrap()).unwrap();
    assert_eq!(request.headers()[HOST], "b");
    assert_eq!(request.headers()["x-key"], "abc");
    assert_eq!(request.headers()[USER_AGENT], AGENT);
    let shown = format!("{check:?}");
    assert!(!shown.contains("abc") && !shown.contains("secret"), "{shown}");
}
