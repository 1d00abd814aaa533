//! What an address counts as.

use super::*;
use http::HeaderValue;
use proptest::prelude::*;

type Peer = fn(&Extensions) -> Option<IpAddr>;

fn client() -> ClientIp<Peer> {
    let peer: Peer = |extensions| extensions.get::<IpAddr>().copied();
    ClientIp::new(peer).trust(["10.0.0.0/8", "fd00::/8", "192.0.2.7"]).unwrap()
}

fn request(peer: &str, name: HeaderName, lines: &[impl AsRef<[u8]>]) -> Request<()> {
    let mut request = Request::new(());
    request.extensions_mut().insert(peer.parse::<IpAddr>().unwrap());
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_ref()).unwrap();
        request.headers_mut().append(name.clone(), value);
    }
    request
}

#[test]
fn trusted_proxies_are_believed_one_after_the_other() {
    let of = |peer: &str, lines: &[&str]| {
        client().of(&request(peer, X_FORWARDED_FOR, lines)).unwrap().to_string()
    };
    assert_eq!(of("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
    assert_eq!(of("10.1.1.1", &[]), "10.1.1.1");
    assert_eq!(of("10.1.1.1", &["203.0.113.9"]), "203.0.113.9");
    assert_eq!(of("10.1.1.1", &["1.2.3.4, 203.0.113.9 ,10.9.9.9"]), "203.0.113.9");
    assert_eq!(of("10.1.1.1", &["1.2.3.4", "203.0.113.9", "10.9.9.9"]), "203.0.113.9");
    assert_eq!(of("192.0.2.7", &["203.0.113.9:4711"]), "203.0.113.9");
    assert_eq!(of("192.0.2.8", &["203.0.113.9"]), "192.0.2.8");
    assert_eq!(of("fd00::1", &["[2001:db8:1:2:3::4]:80"]), "2001:db8:1:2::");
    assert_eq!(of("::ffff:10.1.1.1", &["::ffff:203.0.113.9"]), "203.0.113.9");
    // What is no address ends the way.
    for nonsense in ["", "unknown", "1.2.3", "[::1", "[::1]x", "203.0.113.9.1:80"] {
        let line = format!("203.0.113.9, {nonsense}, 10.9.9.9");
        assert_eq!(of("10.1.1.1", &[&line]), "10.9.9.9", "{nonsense}");
    }
}

#[test]
fn an_ipv4_network_in_an_ipv6_one_is_that_network() {
    let of = |network: &str, peer: &str| {
        let client = client().trust([network]).unwrap();
        client.of(&request(peer, X_FORWARDED_FOR, &["203.0.113.9"])).unwrap().to_string()
    };
    for peer in ["172.16.9.9", "::ffff:172.16.9.9"] {
        assert_eq!(of("::ffff:172.16.0.0/108", peer), "203.0.113.9");
        assert_eq!(of("::ffff:172.16.9.9", peer), "203.0.113.9");
        assert_eq!(of("::ffff:0:0/96", peer), "203.0.113.9");
        assert_eq!(of("::ffff:172.16.9.8", peer), "172.16.9.9");
        assert_eq!(of("::ffff:172.32.0.0/108", peer), "172.16.9.9");
    }
}

#[test]
fn forwarded_is_read_instead_where_the_proxies_write_it() {
    let of = |line: &str| {
        let mut request = request("10.1.1.1", FORWARDED, &[line]);
        request.headers_mut().insert(X_FORWARDED_FOR, HeaderValue::from_static("6.6.6.6"));
        assert_eq!(client().of(&request).unwrap().to_string(), "6.6.6.6");
        client().forwarded().of(&request).unwrap().to_string()
    };
    assert_eq!(of("for=203.0.113.9"), "203.0.113.9");
    assert_eq!(of("For=\"[2001:db8:1:2::9]:4711\";proto=https"), "2001:db8:1:2::");
    assert_eq!(of("for=1.2.3.4, by=x;for=203.0.113.9, for=10.1.1.2"), "203.0.113.9");
    assert_eq!(of("for=1.2.3.4, for=203.0.113.9;host=\"a,b\""), "203.0.113.9");
    assert_eq!(of("for=\"1.2.3.4, for=203.0.113.9"), "203.0.113.9");
    for nonsense in ["for=unknown", "for=_hidden", "by=1.2.3.4", "for=1.2.3.4;for=5.6.7.8"] {
        assert_eq!(of(nonsense), "10.1.1.1", "{nonsense}");
    }
}

#[test]
fn without_a_peer_there_is_no_address_and_mistakes_are_named() {
    assert_eq!(client().of(&Request::new(())), None);
    let mistakes = client().trust(["10.0.0.0/8", "10.0.0.0/33", "nowhere"]).unwrap_err();
    let text = mistakes.to_string();
    assert!(text.contains("10.0.0.0/33") && text.contains("nowhere"), "{text}");
    let mistakes = client().trust(["::ffff:10.0.0.0/8", "::ffff:10.0.0.0/95"]).unwrap_err();
    let text = mistakes.to_string();
    assert!(text.contains("/8`") && text.contains("/95`"), "{text}");
    let all = client().trust(["0.0.0.0/0"]).unwrap().v6_prefix(200);
    let walked = all.of(&request("1.1.1.1", X_FORWARDED_FOR, &["2001:db8::9, 2.2.2.2"]));
    assert_eq!(walked.unwrap().to_string(), "2001:db8::9");
}

proptest! {
    /// Whatever is in the fields, a client that is no trusted proxy has the quota of its own
    /// address: at once, or behind a proxy that adds the address to the line, or as a line.
    #[test]
    fn nobody_chooses_its_own_key(
        written in prop::collection::vec("[ -~\\x80-\\xff]{0,40}|([\",;= ]|for=|10\\.0\\.0\\.1|\\[::1\\]){0,8}", 0..4),
        own in any::<[u8; 4]>().prop_filter("no proxy", |own| own[0] != 10 && own != &[192, 0, 2, 7]),
        rfc_7239: bool,
        same_line: bool,
    ) {
        let own = IpAddr::from(own);
        let (name, entry, client) = if rfc_7239 {
            (FORWARDED, format!("for={own}"), client().forwarded())
        } else {
            (X_FORWARDED_FOR, own.to_string(), client())
        };
        let mut lines: Vec<Vec<u8>> = written.into_iter().map(String::into_bytes).collect();
        let direct = request(&own.to_string(), name.clone(), &lines);
        prop_assert_eq!(client.of(&direct), Some(own));
        match lines.last_mut() {
            Some(last) if same_line => last.extend(format!(", {entry}").into_bytes()),
            _ => lines.push(entry.into_bytes()),
        }
        prop_assert_eq!(client.of(&request("10.1.1.1", name, &lines)), Some(own));
    }
}
