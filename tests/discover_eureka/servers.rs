//! Which of several servers is asked.

use futures::StreamExt;
use tokio::time::Instant;
use tower_upstream::{
    Endpoint,
    discover::{Discover, Eureka, EurekaConfig, EurekaFetch, Registry},
};

use crate::{
    double::Double,
    sets::{expect, next, quiet},
    support::secs,
};

async fn two() -> (Double, Double, EurekaConfig) {
    let (one, other) = (Double::start().await, Double::start().await);
    for double in [&one, &other] {
        double.up("tax", "tax-1", 1);
    }
    let config = EurekaConfig::default().with_urls([one.url(), other.url()]);
    (one, other, config)
}

#[tokio::test(start_paused = true)]
async fn the_first_is_asked_until_it_fails_and_then_the_next_until_that_does() {
    let (one, other, config) = two().await;
    let eureka = Eureka::new(config).unwrap();
    let mut sets = eureka.service("tax").unwrap().discover();
    expect(&mut sets, &["tax-1"]).await;
    quiet(&mut sets, secs(100)).await;
    assert!(other.asked().is_empty());
    one.stop().await;
    one.take_asked();
    other.up("tax", "tax-2", 2);
    expect(&mut sets, &["tax-1", "tax-2"]).await;
    // Changes of one are no changes of another.
    assert_eq!(other.take_asked(), ["GET /apps/delta", "GET /apps"]);
    one.restart().await;
    quiet(&mut sets, secs(100)).await;
    assert!(one.take_asked().is_empty(), "it is not gone back to");
    assert_eq!(other.take_asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_unwell_or_warms_up_is_left_at_once() {
    for how in ["hangs", "500", "503", "429", "403"] {
        let (one, _other, config) = two().await;
        match how {
            "hangs" => one.partition(),
            status => one.answers("/apps", status.parse().unwrap(), ""),
        }
        let start = Instant::now();
        let eureka = Eureka::new(config.with_request_timeout(secs(2))).unwrap();
        next(&mut eureka.service("tax").unwrap().discover()).await;
        assert!(start.elapsed() < secs(3), "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_warms_up_is_left_also_by_those_that_ask_for_one_application() {
    let (one, other, config) = two().await;
    one.answers("/apps/TAX", 403, "");
    one.answers("/vips/tax", 403, "");
    let eureka = Eureka::new(config.with_fetch(EurekaFetch::Application)).unwrap();
    let start = Instant::now();
    let tax = eureka.service("tax").unwrap();
    let mut sets = tax.discover();
    expect(&mut sets, &["tax-1"]).await;
    expect(&mut eureka.vip("tax").unwrap().discover(), &["tax-1"]).await;
    assert!(start.elapsed() < secs(3));
    // If all say so, it is an error as any other.
    other.answers("/apps/TAX", 403, "");
    quiet(&mut sets, secs(600)).await;
    assert!(tax.handle().last_error().unwrap().to_string().contains("403"));
}

#[tokio::test(start_paused = true)]
async fn one_whose_answer_is_no_registry_is_left_and_not_gone_back_to() {
    for (status, kind, body) in [
        // A proxy in front of it, another program, a wrong path.
        (200, "text/html", "<html>Log in</html>"),
        (200, "application/xml", "<applications/>"),
        (200, "application/json", "{\"applications\":"),
        (200, "application/json", "{}"),
        (200, "application/json", ""),
        (302, "text/html", ""),
        (401, "text/html", ""),
        (404, "text/html", "<html>Not found</html>"),
    ] {
        let (one, other, config) = two().await;
        one.answers_as("/", status, kind, body);
        let eureka = Eureka::new(config).unwrap();
        let start = Instant::now();
        let mut sets = eureka.service("tax").unwrap().discover();
        expect(&mut sets, &["tax-1"]).await;
        assert!(start.elapsed() < secs(3), "{status} {body}");
        other.up("tax", "tax-2", 2);
        expect(&mut sets, &["tax-1", "tax-2"]).await;
        assert_eq!(one.take_asked().len(), 1, "{status} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_changes_cannot_be_read_is_left() {
    for (status, body) in [(200, "<html/>"), (200, "{"), (401, "")] {
        let (one, other, config) = two().await;
        let mut sets = Eureka::new(config).unwrap().service("tax").unwrap().discover();
        expect(&mut sets, &["tax-1"]).await;
        one.answers("/apps/delta", status, body);
        one.take_asked();
        other.up("tax", "tax-2", 2);
        assert!(expect(&mut sets, &["tax-1", "tax-2"]).await < secs(35), "{status} {body}");
        assert_eq!(one.take_asked(), ["GET /apps/delta"]);
    }
}

#[tokio::test(start_paused = true)]
async fn while_none_answers_they_are_asked_with_growing_waits_and_the_error_names_one() {
    let (one, other, config) = two().await;
    let eureka = Eureka::new(config).unwrap();
    let endpoints = eureka.service("tax").unwrap();
    let (mut sets, handle) = (endpoints.discover(), endpoints.handle());
    next(&mut sets).await;
    for double in [&one, &other] {
        double.stop().await;
    }
    quiet(&mut sets, secs(600)).await;
    assert!((20..=90).contains(&handle.failures()), "{}", handle.failures());
    let error = format!("{:#}", handle.last_error().unwrap());
    assert!(error.contains(&other.url()) && error.contains("no answer"), "{error}");
    assert!(format!("{handle:?}").contains("and 1 more"));
    other.restart().await;
    other.up("tax", "tax-7", 7);
    loop {
        if sets.next().await.unwrap().get("tax-7").is_some() {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_announced_again_to_the_server_that_takes_over() {
    let (one, other, config) = two().await;
    let registry = Registry::new(Eureka::new(config).unwrap().registrar());
    let tax = Endpoint::new("http://10.0.0.1:80").unwrap().with_key("tax-2");
    let registration = registry.register("tax", tax).unwrap();
    registration.registered(secs(5)).await.unwrap();
    assert_eq!((&*one.status("tax", "tax-2"), &*other.status("tax", "tax-2")), ("UP", "none"));
    one.stop().await;
    tokio::time::sleep(secs(31)).await;
    assert_eq!(other.status("tax", "tax-2"), "UP");
    registration.deregister(secs(5)).await.unwrap();
    assert_eq!(other.status("tax", "tax-2"), "none");
}

#[tokio::test(start_paused = true)]
async fn shuffled_clients_begin_at_any_of_them() {
    let (one, other, config) = two().await;
    for _ in 0..40 {
        let eureka = Eureka::new(config.clone().with_shuffle(true)).unwrap();
        next(&mut eureka.service("tax").unwrap().discover()).await;
    }
    let asked = [one.asked().len(), other.asked().len()];
    assert!(asked.iter().all(|asked| *asked >= 5), "{asked:?}");
}
