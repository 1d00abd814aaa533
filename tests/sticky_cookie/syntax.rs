//! How clients write the cookie that they send back, and what is none.

use http::{HeaderValue, Request, header::COOKIE};

use super::proxy::{Answered, NEW, Proxy};

/// Asks with these fields, in which `@` stands for the pair of a cookie that is valid.
async fn ask(proxy: &mut Proxy, pair: &str, fields: &[&[u8]]) -> Answered {
    let mut request = Request::get("/");
    for field in fields {
        let parts: Vec<_> = field.split(|&byte| byte == b'@').collect();
        let value = HeaderValue::from_bytes(&parts.join(pair.as_bytes())).unwrap();
        request = request.header(COOKIE, value);
    }
    proxy.send(request).await
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_found_however_clients_and_proxies_write_it() {
    let mut proxy = Proxy::of(&[NEW]);
    let long = format!("a={}; @", "x".repeat(8_000));
    let many = format!("{}@", "a=b; ".repeat(1_000));
    let ways: [&[&[u8]]; 23] = [
        &[b"@"],
        &[b"a=b; @; c=d"],
        &[b"a=b;@;c=d"],
        &[b"  @  "],
        &[b"a=b;   @ ;c=d"],
        &[b"a=b;\t@\t; c=d"],
        &[b"; @"],
        &[b"@;"],
        &[b"a=b;; ;@; ;"],
        // HTTP/2 may send each in a field of its own.
        &[b"a=b", b"@", b"c=d"],
        &[b"a=b; c=d", b"@"],
        // What was there before RFC 6265.
        &[b"$Version=1; @; $Path=/"],
        &[b"flag; @"],
        &[b"=; @"],
        &[b"a=\"b; c\"; @"],
        // Of others, in no text that there is.
        &[b"a=\xff\xfe\x80; @; b=\xc3\xa9"],
        // Names that end or begin with this one.
        &[b"x__upstream=1; my__upstream=@; @; __upstream2=2; __upstream.sig=3"],
        // Of a sibling domain, or of a path that is no more.
        &[b"__upstream=; @"],
        &[b"__upstream=x; __upstream=\"\"; __upstream; @"],
        &[b"@; __upstream=x"],
        &[b"@; @"],
        &[long.as_bytes()],
        &[many.as_bytes()],
    ];
    for fields in ways {
        let first = proxy.ask(&[]).await;
        for _ in 0..3 {
            let next = ask(&mut proxy, &first.pair(), fields).await;
            let shown = String::from_utf8_lossy(fields[0]);
            assert_eq!((next.by, next.set), (first.by.clone(), None), "{:.80}", shown);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_like_the_cookie_begins_a_session() {
    let mut proxy = Proxy::of(&[NEW]);
    let pair = proxy.ask(&[]).await.pair();
    let value = pair.strip_prefix("__upstream=").unwrap();
    let others = [
        // A name has a case, and no spaces around it.
        format!("__UPSTREAM={value}"),
        format!("__upstream ={value}"),
        format!("__upstream= {value}"),
        format!("__Host-__upstream={value}"),
        // Quotes are in pairs, and double.
        format!("__upstream=\"{value}"),
        format!("__upstream={value}\""),
        format!("__upstream='{value}'"),
        format!("__upstream=\"\"{value}\"\""),
        // Shorter, longer, and as others encode it.
        format!("__upstream={}", &value[1..]),
        format!("__upstream={}", &value[..value.len() - 1]),
        format!("__upstream={value}A"),
        format!("__upstream={value}="),
        format!("__upstream={value}%3D"),
        format!("__upstream={}", value.to_ascii_uppercase()),
        format!("__upstream={}", "A".repeat(value.len())),
        format!("__upstream={}", "\u{e9}".repeat(value.len() / 2)),
        // A comma ends no pair.
        format!("a=b,{pair}"),
        format!("{pair},a=b"),
    ];
    for other in others {
        let set = ask(&mut proxy, "", &[other.as_bytes()]).await.set;
        assert!(set.is_some(), "{other}");
    }
    for name in ["set-cookie", "cookie2", "x-cookie"] {
        let request = Request::get("/").header(name, &pair);
        assert!(proxy.send(request).await.set.is_some(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_that_are_valid_the_first_counts() {
    let mut proxy = Proxy::of(&[NEW]);
    let (one, other) = (proxy.ask(&[]).await, proxy.ask(&[]).await);
    assert_ne!(one.by, other.by);
    // Browsers send those of the longer path first.
    for (first, second) in [(&one, &other), (&other, &one)] {
        let (first_pair, second_pair) = (first.pair(), second.pair());
        let joined = format!("{first_pair}; {second_pair}");
        for sent in [&[&*joined][..], &[&first_pair, &second_pair]] {
            let next = proxy.ask(sent).await;
            assert_eq!((&next.by, next.set), (&first.by, None));
        }
    }
}
