//! What a balancer learns from a call by the rule that judges it, and that it learns it once.
#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use support::{Answer, Ask, Farm, ms, secs};
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, task};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_upstream::{
    BalanceLayer, BoxError, Endpoint, Error, LeastRequest, Outcome, Quota, RateLimitLayer,
    connect_fn, discover, member::MemberStats,
};

/// One endpoint that answers with the status that is asked for, after 1 ms.
async fn stats_after(statuses: &[u16]) -> (MemberStats, usize) {
    let judged = Arc::new(AtomicUsize::new(0));
    let count = judged.clone();
    let layer = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .with_classify(move |result: Result<&u16, &BoxError>| {
            count.fetch_add(1, SeqCst);
            match result {
                Ok(429) => Outcome::Overload { retry_after: None },
                Ok(404) => Outcome::Ignored,
                Ok(500..) | Err(_) => Outcome::Failure,
                Ok(_) => Outcome::Success,
            }
        });
    let handle = layer.handle();
    let service = ServiceBuilder::new().layer(layer).service(connect_fn(|_: &Endpoint| {
        service_fn(|status: u16| async move {
            sleep(ms(1)).await;
            if status == 0 { Err(BoxError::from("broken")) } else { Ok(status) }
        })
    }));
    // The clock of a member begins when it is found, and there a moment is none.
    service.clone().ready().await.unwrap();
    sleep(ms(1)).await;
    for &status in statuses {
        let answer = service.clone().oneshot(status).await;
        assert_eq!(answer.ok(), (status > 0).then_some(status));
        sleep(secs(60)).await;
    }
    (handle.member_stats().remove(0), judged.load(SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_a_millisecond_is_no_fast_answer() {
    let (good, _) = stats_after(&[200]).await;
    assert_eq!((good.average_latency, good.failed_requests), (ms(1), 0));
    for status in [500, 429, 0] {
        let (bad, judged) = stats_after(&[status]).await;
        assert!(bad.average_latency >= secs(1), "{status}: {:?}", bad.average_latency);
        assert_eq!((bad.failed_requests, bad.successful_requests, bad.health_score), (1, 0, 95));
        assert_eq!(judged, 1, "once per call");
    }
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_counts_for_nothing() {
    let (stats, judged) = stats_after(&[404, 200, 404]).await;
    assert_eq!((stats.total_requests, stats.successful_requests, stats.failed_requests), (3, 1, 0));
    assert_eq!((stats.average_latency, judged), (ms(1), 3));
}

#[tokio::test(start_paused = true)]
async fn whose_fault_it_was_comes_first() {
    let farm = Farm::default();
    let layer = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .with_classify(|_: Result<&String, &BoxError>| Outcome::Failure);
    let handle = layer.handle();
    let service = ServiceBuilder::new().layer(layer).service(farm.clone());
    farm.get("a:1").answers(Answer::CallersFault);
    service.clone().oneshot(Ask::new(1)).await.unwrap_err();
    assert_eq!(handle.stats().failed, Some(0));
    farm.get("a:1").answers(Answer::Good);
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    assert_eq!(handle.stats().failed, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_can_only_worsen_an_estimate() {
    let farm = Farm::default();
    let layer = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new());
    let handle = layer.handle();
    let service = ServiceBuilder::new().layer(layer).service(farm.clone());
    let a = farm.get("a:1");
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    sleep(ms(1)).await;
    a.answers(Answer::GoodAfter(ms(20)));
    service.clone().oneshot(Ask::new(1)).await.unwrap();
    sleep(secs(60)).await;
    for (after, latency) in [(ms(1), ms(20)), (ms(30), ms(30))] {
        a.answers(Answer::Never);
        let mut call = task::spawn(service.clone().oneshot(Ask::new(1)));
        assert_pending!(call.poll());
        advance(after).await;
        drop(call);
        assert_eq!(handle.members()[0].latency(), Some(latency));
    }
    let stats = handle.member_stats().remove(0);
    assert_eq!((stats.successful_requests, stats.failed_requests, stats.health_score), (2, 0, 100));
}

// Endpoints that are spent by their own rate limits.

type Answered = Result<String, Error>;

/// As many endpoints, each with a quota of its own, and what calls get.
fn limited(keys: u16, quota: Quota) -> (impl AsyncFn() -> Answered, RateLimitLayer) {
    let keys = (1..=keys).map(|port| format!("a:{port}"));
    let limit = RateLimitLayer::new(quota);
    let service = ServiceBuilder::new()
        .layer(BalanceLayer::new(discover::fixed(keys).unwrap(), LeastRequest::new()).named("tax"))
        .layer(limit.clone())
        .service(Farm::default());
    (async move || service.clone().oneshot(Ask::new(1)).await, limit)
}

mod spent {
    use tokio::time::Instant;
    use tower_upstream::error::Kind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn where_none_has_a_token_in_time_the_refusal_comes_at_once_with_the_earliest_moment() {
        for keys in [1, 2, 30] {
            let (call, _) = limited(keys, Quota::per_minute(1).burst(1));
            let start = Instant::now();
            for _ in 0..keys {
                call().await.unwrap();
                advance(ms(100)).await;
            }
            let spent = start.elapsed();
            for _ in 0..2 {
                let error = call().await.unwrap_err();
                assert_eq!(
                    (error.kind(), error.guard()),
                    (Kind::RateLimited, Some("tax")),
                    "{error}"
                );
                assert!(error.is_unsent() && error.is_refused());
                let wait = error.retry_after().unwrap();
                let earliest = secs(60) - spent;
                assert!(
                    wait >= earliest && wait <= earliest + ms(200),
                    "{wait:?}, not {earliest:?}"
                );
                assert!(start.elapsed() < spent + ms(100), "{:?}", start.elapsed());
            }
            sleep(secs(60) - spent + ms(1)).await;
            call().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_has_a_token_in_time_the_call_waits_for_it() {
        let (call, _) = limited(2, Quota::new(1, ms(800)).burst(1));
        for _ in 0..2 {
            call().await.unwrap();
        }
        let start = Instant::now();
        call().await.unwrap();
        assert!((ms(790)..ms(820)).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_in_vain_for_tokens_is_not_told_that_all_is_down() {
        let (call, _) = limited(2, Quota::new(1, ms(900)).burst(1));
        for _ in 0..2 {
            call().await.unwrap();
        }
        let (one, two, three) = tokio::join!(call(), call(), call());
        let refused: Vec<_> = [one, two, three].into_iter().filter_map(Result::err).collect();
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].kind(), Kind::RateLimited);
        assert!(refused[0].retry_after().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_that_grows_is_seen_at_once() {
        let (call, limit) = limited(2, Quota::per_minute(1).burst(1));
        for _ in 0..2 {
            call().await.unwrap();
        }
        assert_eq!(call().await.unwrap_err().kind(), Kind::RateLimited);
        limit.handle().set(Quota::per_second(100).burst(100));
        advance(ms(700)).await;
        call().await.unwrap();
    }
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_tracked_call_is_judged_at_its_head_and_is_in_flight_until_the_end_of_its_body() {
    use http::Response;
    use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
    use tower_upstream::http::{HttpClassify, TrackLayer};

    /// A body that breaks off.
    fn broken() -> UnsyncBoxBody<bytes::Bytes, BoxError> {
        let frames = futures::stream::iter([Err::<http_body::Frame<_>, BoxError>("broken".into())]);
        StreamBody::new(frames).boxed_unsync()
    }

    let layer = BalanceLayer::new(discover::fixed(["a:1"]).unwrap(), LeastRequest::new())
        .with_classify(HttpClassify);
    let handle = layer.handle();
    let service = ServiceBuilder::new().layer(layer).layer(TrackLayer::new()).service(connect_fn(
        |_: &Endpoint| {
            service_fn(|request: http::Request<u16>| async move {
                let response = Response::builder().status(request.into_body());
                Ok::<_, BoxError>(response.body(broken()).unwrap())
            })
        },
    ));
    let counts = || {
        let stats = handle.member_stats().remove(0);
        (stats.active_connections, stats.successful_requests, stats.failed_requests)
    };
    let bad = service.clone().oneshot(http::Request::new(500)).await.unwrap();
    assert_eq!(counts(), (1, 0, 1), "a failure at its head");
    drop(bad);
    let good = service.clone().oneshot(http::Request::new(200)).await.unwrap();
    assert_eq!(counts().0, 1);
    good.into_body().collect().await.unwrap_err();
    assert_eq!(counts(), (0, 1, 1), "what becomes of its body is not judged here");
}
