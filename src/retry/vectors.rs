//! The cases of gRPC's retries that are no matter of the budget alone.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ::http::{Request, Response};
use serde_json::Value;
use tower::{Layer, ServiceExt, retry::Policy, retry::RetryLayer, service_fn};

use super::*;
use crate::{
    budget::{Budget, BudgetConfig, ThrottleBudget},
    course::Attempts,
    http::{HttpClassify, Idempotent},
    time,
};

fn cases() -> Vec<Value> {
    let text = include_str!("../../tests/vectors/grpc_retry_throttle.json");
    let vectors: Value = serde_json::from_str(text).unwrap();
    vectors["cases"].as_array().unwrap().clone()
}

fn throttle(case: &Value) -> Budget {
    let config = ThrottleBudget {
        max_tokens: case["max_tokens"].as_u64().unwrap() as u32,
        token_ratio: case["token_ratio"].as_f64().unwrap(),
    };
    Budget::with_config(BudgetConfig::Throttle(config))
}

fn answer(code: u32, pushback: Option<&str>) -> Response<()> {
    let mut response =
        Response::builder().header("content-type", "application/grpc").header("grpc-status", code);
    if let Some(pushback) = pushback {
        response = response.header("grpc-retry-pushback-ms", pushback);
    }
    response.body(()).unwrap()
}

fn request() -> Request<()> {
    Request::post("http://a/b").extension(Idempotent).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn grpc_retry_throttle() {
    let cases = cases();
    let mut run = 0;
    for case in &cases {
        match case["kind"].as_str().unwrap() {
            "single_event" => single_event(case).await,
            "call_sequence" => call_sequence(case).await,
            "backoff_base" => backoff_base(case),
            _ => continue,
        }
        run += 1;
    }
    // The other two are run by the budget.
    assert_eq!((run, cases.len()), (10, 12));
}

async fn single_event(case: &Value) {
    let budget = throttle(case);
    budget.set_tokens(case["tokens_before"].as_f64().unwrap());
    let config =
        RetryConfig::default().with_intervals(Duration::from_secs(1), Duration::from_secs(9));
    let mut policy =
        RetryPolicy::new(config).with_budget(budget.clone()).with_classify(HttpClassify);
    let code = if case["status_retryable"] == true { 14 } else { 3 };
    let mut result = Ok::<_, Infallible>(answer(code, case["pushback"].as_str()));
    let mut copy =
        Policy::<_, Response<()>, Infallible>::clone_request(&mut policy, &request()).unwrap();
    let wait = policy.clone().retry(&mut copy, &mut result);
    let expect = &case["expect"];
    assert_eq!(wait.is_some(), expect["retried"], "{case}");
    assert_eq!(budget.tokens(), expect["tokens_after"].as_f64().unwrap(), "{case}");
    if let Some(wait) = wait {
        let start = time::now();
        wait.await;
        let delay = Duration::from_millis(expect["delay_ms"].as_u64().unwrap());
        let waited = time::now() - start;
        assert!((delay..=delay + Duration::from_millis(1)).contains(&waited), "{waited:?}");
    }
}

async fn call_sequence(case: &Value) {
    let budget = throttle(case);
    let good: Vec<_> =
        case["ok_indexes"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    let served = Arc::new(AtomicUsize::new(0));
    let server = {
        let served = served.clone();
        service_fn(move |_: Request<()>| {
            let index = served.fetch_add(1, SeqCst) as u64;
            let code = if good.contains(&index) { 0 } else { 14 };
            std::future::ready(Ok::<_, Infallible>(answer(code, None)))
        })
    };
    let config = RetryConfig::up_to(case["max_attempts"].as_u64().unwrap() as u32);
    let policy = RetryPolicy::new(config).with_budget(budget.clone()).with_classify(HttpClassify);
    let service = RetryLayer::new(policy).layer(server);
    for expect in case["expect"].as_array().unwrap() {
        let response = service.clone().oneshot(request()).await.unwrap();
        let status = response.headers()["grpc-status"].to_str().unwrap();
        let result = if status == "0" { "OK" } else { "UNAVAILABLE" };
        assert_eq!(result, expect["result"], "{expect}");
        assert_eq!(served.load(SeqCst) as u64 - 1, expect["last_server_index"].as_u64().unwrap());
        assert_eq!(budget.tokens(), expect["tokens_after"].as_f64().unwrap(), "{expect}");
    }
}

fn backoff_base(case: &Value) {
    let seconds = |key: &str| Duration::from_secs_f64(case[key].as_f64().unwrap());
    let config = RetryConfig::default()
        .with_intervals(seconds("initial_s"), seconds("max_s"))
        .with_multiplier(case["multiplier"].as_f64().unwrap());
    let attempt = case["attempt"].as_u64().unwrap() as u32;
    let waits = Attempts::from(config).waits();
    assert_eq!(waits.grown(attempt), seconds("expect_s"), "{case}");
}
