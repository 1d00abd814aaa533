//! The cookie of sessions: what it is like, that no other is believed, and that it outlives restarts and secrets.
#![cfg(all(feature = "sticky", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod answers;
mod attributes;
#[path = "../support/log.rs"]
mod log;
mod moves;
mod proxy;
mod syntax;

use std::time::Duration;

use tokio::time::advance;
use tower_upstream::{error::Kind, http::SessionCookieLayer};

use self::{
    log::Log,
    proxy::{KEYS, NEW, OLD, Proxy},
};

#[tokio::test(start_paused = true)]
async fn sessions_that_never_begin_are_told_once() {
    let (log, _guard) = Log::of("tower_upstream::http::session_cookie");
    let layer = || SessionCookieLayer::new([NEW]).unwrap();
    Proxy::new(layer()).ask(&[]).await;
    assert!(log.take().is_empty());
    // Of another value, whose secrets are the same.
    let mut proxy = Proxy::with(layer(), layer().with_name("tax"));
    for _ in 0..3 {
        assert!(proxy.ask(&[]).await.set.is_none());
    }
    let said = log.warnings();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("`SessionCookieLayer`") && said[0].contains(r#"cookie="tax""#),
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_where_its_cookie_says_and_the_cookie_tells_no_one_else() {
    let mut proxy = Proxy::of(&[NEW]);
    for _ in 0..6 {
        let first = proxy.ask(&[]).await;
        let cookie = first.set.clone().unwrap();
        let (value, rest) = cookie.split_once(';').unwrap();
        assert_eq!(rest, " Path=/; Max-Age=1912; HttpOnly; SameSite=Lax; Secure");
        assert!(value.starts_with("__upstream=") && cookie.len() < 160, "{cookie}");
        assert!(!cookie.contains("10.0"));
        for _ in 0..5 {
            let other = format!("a=b; {value}; c=d");
            for sent in [&[value][..], &[&other], &["__upstream=x", value]] {
                let next = proxy.ask(sent).await;
                assert_eq!((next.by, next.set), (first.by.clone(), None));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn its_name_and_whether_it_is_for_tls_alone_can_be_set() {
    let layer = SessionCookieLayer::new([NEW]).unwrap().with_name("at;\r\n=x").with_secure(false);
    let mut proxy = Proxy::new(layer.with_session_timeout(Duration::from_secs(160)));
    let set = proxy.ask(&[]).await.set.unwrap();
    assert!(
        set.starts_with("atx=") && set.ends_with("; Max-Age=170; HttpOnly; SameSite=Lax"),
        "{set}"
    );
}

#[tokio::test(start_paused = true)]
async fn it_survives_a_restart_and_each_proxy_with_the_secret_knows_it() {
    let first = Proxy::of(&[NEW]).ask(&[]).await;
    for _ in 0..4 {
        let next = Proxy::of(&[NEW]).ask(&[&first.pair()]).await;
        assert_eq!((next.by, next.set), (first.by.clone(), None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_changed_without_the_loss_of_a_session() {
    let first = Proxy::of(&[OLD]).ask(&[]).await;
    // One that does not sign with it yet, and one that does.
    let next = Proxy::of(&[OLD, NEW]).ask(&[&first.pair()]).await;
    assert_eq!((next.by, next.set), (first.by.clone(), None));
    let next = Proxy::of(&[NEW, OLD]).ask(&[&first.pair()]).await;
    assert_eq!(next.by, first.by);
    let last = Proxy::of(&[NEW]).ask(&[&next.pair()]).await;
    assert_eq!((last.by, last.set), (first.by, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_signed_is_no_session_and_no_error() {
    let first = Proxy::of(&[OLD]).ask(&[]).await.pair();
    let mut proxy = Proxy::of(&[NEW]);
    let many = ["__upstream=AAAA"; 100].join("; ");
    let mut seen = Vec::new();
    for sent in [&*first, "__upstream=", "__upstream", "=", ";;;", &"x".repeat(10_000), &many] {
        let answered = proxy.ask(&[sent]).await;
        assert!(answered.set.is_some(), "{sent}");
        seen.push(answered.by);
    }
    assert!(KEYS.iter().all(|key| seen.iter().any(|by| by == key)), "in turn: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_lasts_from_its_last_call_on() {
    let cookie =
        SessionCookieLayer::new([NEW]).unwrap().with_session_timeout(Duration::from_secs(160));
    let mut proxy = Proxy::new(cookie);
    let first = proxy.ask(&[]).await;
    let (mut pair, mut renewed) = (first.pair(), 0);
    for _ in 0..20 {
        advance(Duration::from_secs(7)).await;
        let next = proxy.ask(&[&pair]).await;
        assert_eq!(next.by, first.by);
        if next.set.is_some() {
            (pair, renewed) = (next.pair(), renewed + 1);
        }
    }
    assert_eq!(renewed, 10, "not with each answer");
    for (after, stays) in [(160, true), (180, false)] {
        let next = proxy.ask(&[&pair]).await;
        pair = if next.set.is_some() { next.pair() } else { pair };
        let by = next.by;
        advance(Duration::from_secs(after)).await;
        let next = proxy.ask(&[&pair]).await;
        assert_eq!((next.set.is_some(), next.by == by), (true, stays));
        pair = next.pair();
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_moves_with_what_answers() {
    let mut proxy = Proxy::of(&[NEW]);
    let first = proxy.ask(&[]).await;
    let next = proxy.ask_failing(&[&first.pair()], &first.by).await;
    assert_ne!(next.by, first.by);
    for _ in 0..4 {
        assert_eq!(proxy.ask(&[&next.pair()]).await.by, next.by);
    }
    // Its endpoint is gone.
    assert!(proxy.endpoints.remove(&next.by));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let last = proxy.ask(&[&next.pair()]).await;
    assert_ne!(last.by, next.by);
    assert_eq!(proxy.ask(&[&last.pair()]).await.by, last.by);
}

#[test]
fn secrets_that_can_be_guessed_are_refused_and_none_is_shown() {
    for secrets in [&[][..], &["short"], &[NEW, "short"]] {
        assert_eq!(SessionCookieLayer::new(secrets).unwrap_err().kind(), Kind::InvalidConfig);
    }
    let shown = format!("{:?}", SessionCookieLayer::new([NEW]).unwrap());
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_promises_something_has_what_browsers_ask_for() {
    for (name, rest) in [
        ("__Host-a", "Path=/; Max-Age=1912; HttpOnly; SameSite=Lax; Secure"),
        ("__HOST-a", "Path=/; Max-Age=1912; HttpOnly; SameSite=Lax; Secure"),
        ("__Secure-a", "Path=/b/c; Max-Age=1912; HttpOnly; SameSite=Lax; Secure"),
        ("__Http-a", "Path=/b/c; Max-Age=1912; HttpOnly; SameSite=Lax; Secure"),
        ("__Hostess", "Path=/b/c; Max-Age=1912; HttpOnly; SameSite=Lax"),
    ] {
        let cookie = SessionCookieLayer::new([NEW]).unwrap().with_name(name).with_secure(false);
        let mut proxy = Proxy::new(cookie.with_path("b/;c\r\n"));
        let first = proxy.ask(&[]).await;
        assert!(first.set.as_ref().unwrap().ends_with(rest), "{:?}", first.set);
        assert_eq!(proxy.ask(&[&first.pair()]).await.by, first.by);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_of_one_name_and_path_and_is_nothing_to_others() {
    let of = |name: &str, path: &str| {
        let cookie = SessionCookieLayer::new([NEW]).unwrap().with_name(name).with_path(path);
        Proxy::new(cookie)
    };
    let first = of("a", "/x").ask(&[]).await;
    let value = first.pair()[2..].to_owned();
    for (name, path, is_valid) in [("a", "/x", true), ("b", "/x", false), ("a", "/y", false)] {
        let next = of(name, path).ask(&[&format!("{name}={value}")]).await;
        assert_eq!(next.set.is_none(), is_valid, "{name} {path}");
    }
    // Two groups on one host.
    let (mut one, mut other) = (of("a", "/"), of("b", "/"));
    let (at_one, at_other) = (one.ask(&[]).await, other.ask(&[]).await);
    let both = format!("{}; {}", at_one.pair(), at_other.pair());
    for _ in 0..4 {
        let (next, next_other) = (one.ask(&[&both]).await, other.ask(&[&both]).await);
        assert_eq!((next.by, next.set), (at_one.by.clone(), None));
        assert_eq!((next_other.by, next_other.set), (at_other.by.clone(), None));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_set_after_a_clone_was_given_away_counts() {
    let cookie = SessionCookieLayer::new([NEW]).unwrap();
    let sessions = cookie.clone();
    let timeout = Duration::from_secs(160);
    let mut proxy = Proxy::with(cookie.with_secure(false).with_session_timeout(timeout), sessions);
    let first = proxy.ask(&[]).await;
    let set = first.set.clone().unwrap();
    assert!(set.ends_with("; Max-Age=170; HttpOnly; SameSite=Lax"), "{set}");
    for after in [5, 6] {
        let next = proxy.ask(&[&first.pair()]).await;
        assert_eq!((next.by, next.set), (first.by.clone(), None));
        advance(Duration::from_secs(after)).await;
    }
    let next = proxy.ask(&[&first.pair()]).await;
    assert_eq!((next.by, next.set.is_some()), (first.by, true), "it goes by the layer");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_a_failure_sets_no_cookie() {
    let mut proxy = Proxy::of(&[NEW]);
    assert_eq!(proxy.ask_failing(&[], "all").await.set, None);
    let first = proxy.ask(&[]).await;
    assert_eq!(proxy.ask_failing(&[&first.pair()], "all").await.set, None);
    assert_eq!(proxy.ask(&[&first.pair()]).await.by, first.by);
}
