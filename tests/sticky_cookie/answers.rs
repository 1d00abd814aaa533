//! With which answers a cookie is set, and of which endpoint it is.

use std::sync::Arc;

use futures::FutureExt;
use http::{
    HeaderValue, Request, Response,
    header::{CACHE_CONTROL, COOKIE, SET_COOKIE},
};
use tower::{Layer, Service, service_fn};
use tower_upstream::{
    BoxError,
    http::SessionCookieLayer,
    session::{Homes, Sessions},
};

use super::proxy::{KEYS, NEW, Proxy};

fn all<B>(response: &Response<B>, name: &str) -> Vec<String> {
    let values = response.headers().get_all(name).iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn cookies_of_the_endpoint_stay_and_no_shared_cache_keeps_ours() {
    let mut proxy = Proxy::of(&[NEW]);
    let mut ask = async |cookie: &str| {
        let mut request = Request::head("/").header(COOKIE, cookie);
        for own in ["a=1; Path=/", "__upstream=2"] {
            request = request.header("answer-set-cookie", own);
        }
        for (name, value) in [
            ("answer-cache-control", "public, max-age=60"),
            ("answer-cdn-cache-control", "max-age=600"),
            ("answer-example-cdn-cache-control", "max-age=600"),
        ] {
            request = request.header(name, value);
        }
        let response = proxy.respond(request).await;
        let fields = ["cache-control", "cdn-cache-control", "example-cdn-cache-control"];
        (all(&response, SET_COOKIE.as_str()), fields.map(|name| all(&response, name)))
    };
    let (cookies, [for_all, for_some, for_one]) = ask("").await;
    assert_eq!(cookies[..2], ["a=1; Path=/", "__upstream=2"]);
    assert!(cookies.len() == 3 && cookies[2].starts_with("__upstream="), "{cookies:?}");
    assert_eq!(for_all, ["public, max-age=60", "private"]);
    assert_eq!(for_some, ["max-age=600", "private"], "it comes before the other");
    assert_eq!(for_one, for_some);
    let pair = cookies[2].split(';').next().unwrap();
    let (cookies, [for_all, for_some, _]) = ask(pair).await;
    assert_eq!((cookies.len(), &*for_all), (2, &["public, max-age=60".to_owned()][..]));
    assert_eq!(for_some, ["max-age=600"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_said_to_a_delivery_network_before_there_was_a_standard_keeps_ours_out_as_well() {
    let mut proxy = Proxy::of(&[NEW]);
    for field in ["surrogate-control", "edge-control"] {
        let request = Request::get("/").header(format!("answer-{field}"), "max-age=600");
        let response = proxy.respond(request).await;
        assert_eq!(all(&response, field), ["max-age=600", "no-store, private"]);
        assert_eq!(all(&response, CACHE_CONTROL.as_str()), ["private"]);
    }
    let response = proxy.respond(Request::get("/").header("answer-x-control", "a")).await;
    assert_eq!(all(&response, "x-control"), ["a"], "a field of its own");
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_word_for_caches_gets_one() {
    let mut proxy = Proxy::of(&[NEW]);
    let response = proxy.respond(Request::get("/")).await;
    assert_eq!(all(&response, CACHE_CONTROL.as_str()), ["private"]);
    assert!(all(&response, "cdn-cache-control").is_empty());
    let pair = response.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    let response = proxy.respond(Request::get("/").header(COOKIE, pair)).await;
    assert!(!response.headers().contains_key(CACHE_CONTROL));
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_with_any_answer_but_a_failure() {
    for (status, begins) in [
        ("101", true),
        ("204", true),
        ("206", true),
        ("301", true),
        ("304", true),
        ("401", true),
        ("404", true),
        ("409", true),
        ("500", false),
        ("502", false),
        ("503", false),
        ("504", false),
    ] {
        let mut proxy = Proxy::of(&[NEW]);
        let first = proxy.send(Request::get("/").header("status", status)).await;
        assert_eq!(first.set.is_some(), begins, "{status}");
        if begins {
            assert_eq!(proxy.ask(&[&first.pair()]).await.by, first.by, "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_that_answers_last_is_set_wherever_the_call_was_before() {
    let mut proxy = Proxy::of(&[NEW]);
    for fails in KEYS {
        for _ in 0..6 {
            let first = proxy.ask_failing(&[], fails).await;
            assert_ne!(first.by, fails);
            assert_eq!(proxy.ask(&[&first.pair()]).await.by, first.by);
        }
    }
}

/// A stack that tries several endpoints may have taken the answer of the first for a good one.
#[test]
fn of_several_answers_the_last_one_decides_also_if_it_is_of_the_one_that_the_cookie_has() {
    let layer = SessionCookieLayer::new([NEW]).unwrap();
    let answer = |cookie: &str, by: &[&str]| {
        let sessions = layer.clone();
        let by: Vec<Arc<str>> = by.iter().map(|&key| key.into()).collect();
        let mut service = layer.layer(service_fn(move |request: Request<()>| {
            let home = sessions.home(&request);
            for endpoint in &by {
                let is_home = home.is_some() && sessions.homes(endpoint).first() == home.as_ref();
                if let Some(binding) = sessions.bind(&request, endpoint, is_home) {
                    binding.answered();
                }
            }
            std::future::ready(Ok::<_, BoxError>(Response::new(home)))
        }));
        let mut request = Request::new(());
        request.headers_mut().insert(COOKIE, HeaderValue::from_str(cookie).unwrap());
        let response = service.call(request).now_or_never().unwrap().unwrap();
        let set = response.headers().get(SET_COOKIE).map(|set| set.to_str().unwrap());
        let pair = set.map(|set| set.split(';').next().unwrap().to_owned());
        (*response.body(), pair)
    };
    let (at_first, first) = answer("", &["a:1"]);
    let first = first.unwrap();
    let home = layer.homes("a:1")[0];
    assert_eq!((at_first, answer(&first, &["a:1"])), (None, (Some(home), None)));
    let (_, moved) = answer(&first, &["b:1"]);
    let next = answer(&moved.unwrap(), &[]).0;
    assert_eq!(next, layer.homes("b:1").first().copied());
    // Elsewhere, and then at home.
    let (_, last) = answer(&first, &["b:1", "a:1"]);
    assert_eq!(answer(&last.unwrap(), &[]).0, Some(home));
}
