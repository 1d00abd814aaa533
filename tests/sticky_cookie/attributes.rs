//! What browsers ask of a cookie that they are to keep.

use tower_upstream::http::{SameSite, SessionCookieLayer};

use super::proxy::{NEW, Proxy};

fn layer() -> SessionCookieLayer {
    SessionCookieLayer::new([NEW]).unwrap()
}

async fn set(layer: SessionCookieLayer) -> String {
    Proxy::new(layer).ask(&[]).await.set.unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_with_calls_of_other_sites_is_for_tls_alone() {
    for (same_site, secure, ends) in [
        (SameSite::Strict, true, "; HttpOnly; SameSite=Strict; Secure"),
        (SameSite::Strict, false, "; HttpOnly; SameSite=Strict"),
        (SameSite::Lax, true, "; HttpOnly; SameSite=Lax; Secure"),
        (SameSite::Lax, false, "; HttpOnly; SameSite=Lax"),
        (SameSite::None, true, "; HttpOnly; SameSite=None; Secure"),
        (SameSite::None, false, "; HttpOnly; SameSite=None; Secure"),
    ] {
        let layer = layer().with_same_site(same_site).with_secure(secure);
        let cookie = set(layer).await;
        assert!(cookie.ends_with(ends), "{cookie}");
    }
}

#[tokio::test(start_paused = true)]
async fn browsers_keep_the_longest_one_and_all_of_its_attributes() {
    let cookie = set(layer().with_name(&"n".repeat(10_000)).with_path(&"p/".repeat(10_000))).await;
    let mut parts = cookie.split("; ");
    let pair = parts.next().unwrap();
    assert!(pair.len() <= 4_096 && pair.starts_with(&"n".repeat(256)), "{}", pair.len());
    let path = parts.next().unwrap().strip_prefix("Path=").unwrap();
    assert!((1_000..=1_024).contains(&path.len()) && path.ends_with("/p"), "{path}");
    assert!(parts.all(|part| part.len() < 30));
}

#[tokio::test(start_paused = true)]
async fn a_path_is_written_as_browsers_write_it() {
    for (path, written) in [
        ("/caf\u{e9}", "Path=/caf%C3%A9; "),
        ("/caf%C3%A9", "Path=/caf%C3%A9; "),
        ("shop", "Path=/shop; "),
        ("", "Path=/; "),
        ("/a b", "Path=/a%20b; "),
        ("/a; Domain=example.com", "Path=/a%20Domain=example.com; "),
        ("/a\r\nSet-Cookie: b=c", "Path=/aSet-Cookie:%20b=c; "),
    ] {
        let mut proxy = Proxy::new(layer().with_path(path));
        let first = proxy.ask(&[]).await;
        assert!(first.set.as_ref().unwrap().contains(written), "{path}: {:?}", first.set);
        assert_eq!(proxy.ask(&[&first.pair()]).await.set, None);
    }
}

#[tokio::test(start_paused = true)]
async fn the_attributes_are_no_part_of_the_session() {
    let first = Proxy::new(layer()).ask(&[]).await;
    for other in [
        layer().with_secure(false),
        layer().with_same_site(SameSite::None),
        layer().with_session_timeout(std::time::Duration::from_secs(1_801)),
    ] {
        assert_eq!(Proxy::new(other).ask(&[&first.pair()]).await.by, first.by);
    }
}
