use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use serde_json::json;
use tokio::time::sleep;
use tower::ServiceExt;
use tower_upstream::{Call, config::Config, error::Code};

use crate::world::{World, ms, tax};

fn payment(name: &str, priority: i64) -> serde_json::Value {
    json!({ "name": name, "endpoint": name, "type": "payment", "priority": priority })
}

fn config(plugins: impl IntoIterator<Item = serde_json::Value>) -> Config {
    plugins.into_iter().map(tax).fold(Config::default(), Config::with_plugin)
}

#[tokio::test(start_paused = true)]
async fn the_greatest_priority_comes_first_and_others_when_it_fails() {
    let world = World::default();
    let plugins = world.with(config([
        payment("card", 10),
        payment("cash", 10),
        payment("bill", -5),
        json!({ "name": "tax", "type": "tax" }),
    ]));
    let group = plugins.group("payment");
    for n in 0..40 {
        group.clone().oneshot(Call::new(n)).await.unwrap();
    }
    let counts = world.counts();
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["card", "cash"]);
    assert!(counts["card"] > 5 && counts["cash"] > 5, "{counts:?}");
    for key in ["card", "cash"] {
        world.fail(key, true);
    }
    for n in 0..20 {
        let reply = group.clone().oneshot(Call::new(n).idempotent()).await.unwrap();
        assert_eq!(reply.into_body(), format!("bill {n}"));
    }
}

#[tokio::test(start_paused = true)]
async fn plugins_join_and_leave_and_an_empty_group_says_so_at_once() {
    let world = World::default();
    let plugins = world.with(config([payment("card", 1)]));
    let group = plugins.group("payment");
    assert_eq!(group.clone().oneshot(Call::new(1)).await.unwrap().into_body(), "card 1");
    plugins.apply(config([payment("bill", 1)])).unwrap();
    sleep(ms(10)).await;
    assert_eq!(group.clone().oneshot(Call::new(2)).await.unwrap().into_body(), "bill 2");
    let mut off = payment("bill", 1);
    off["enabled"] = json!(false);
    for empty in [config([off]), config([])] {
        plugins.apply(empty).unwrap();
        sleep(ms(10)).await;
        let start = tokio::time::Instant::now();
        let error = group.clone().oneshot(Call::new(3)).await.unwrap_err();
        assert_eq!((error.code(), start.elapsed()), (Code::LOADBALANCER_1701, ms(0)));
        assert!(error.to_string().contains("`payment`"), "{error}");
    }
    plugins.apply(config([payment("cash", 1)])).unwrap();
    assert_eq!(group.oneshot(Call::new(4)).await.unwrap().into_body(), "cash 4");
}

#[tokio::test(start_paused = true)]
async fn no_call_of_a_group_fails_while_its_plugins_come_and_go() {
    let world = World::default();
    for name in ["card", "cash", "bill"] {
        world.slow(name, ms(7));
    }
    let plugins = world.with(config([payment("card", 1), payment("cash", 1)]));
    let (group, is_over) = (plugins.group("payment"), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..20)
        .map(|n| {
            let (group, is_over) = (group.clone(), is_over.clone());
            tokio::spawn(async move {
                while !is_over.load(Relaxed) {
                    sleep(ms(n % 5)).await;
                    group.clone().oneshot(Call::new(n)).await.unwrap();
                }
            })
        })
        .collect();
    for round in 0..100 {
        // One stays, the other is taken out, is replaced, or has another type.
        let (stays, other) = if round % 2 == 0 { ("card", "cash") } else { ("cash", "card") };
        let mut changed = payment(other, 1);
        match round % 3 {
            0 => changed["enabled"] = json!(false),
            1 => changed["timeout"] = json!(format!("{}s", 10 + round)),
            _ => changed["type"] = json!("other"),
        }
        plugins.apply(config([payment(stays, 1), changed])).unwrap();
        sleep(ms(3)).await;
        plugins.apply(config([payment(stays, 1), payment(other, 1)])).unwrap();
        sleep(ms(11)).await;
    }
    is_over.store(true, Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(plugins.draining(), 0);
    let counts = world.counts();
    assert!(counts["card"] > 500 && counts["cash"] > 500, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_group_of_plugins_that_are_shut_down_says_so() {
    let world = World::default();
    let plugins = world.with(config([payment("card", 1)]));
    let group = plugins.group("payment");
    group.clone().oneshot(Call::new(1)).await.unwrap();
    plugins.shutdown();
    for after in [0, 10, 5_000] {
        sleep(ms(after)).await;
        let error = group.clone().oneshot(Call::new(2)).await.unwrap_err();
        assert_eq!(error.code(), Code::REGISTRY_1901, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_of_a_group_that_is_dropped_anywhere_leaves_nothing() {
    let world = World::default();
    world.slow("card", ms(20));
    world.slow("bill", ms(20));
    world.fail("card", true);
    let plugins = world.with(config([payment("card", 2), payment("bill", 1)]));
    let group = plugins.group("payment");
    for polls in 0..12 {
        let mut call = Box::pin(group.clone().oneshot(Call::new(1).idempotent()));
        for _ in 0..polls {
            if futures::poll!(&mut call).is_ready() {
                break;
            }
            sleep(ms(5)).await;
        }
        drop(call);
        assert_eq!(plugins.in_flight("card"), Some(0), "after {polls} polls");
        assert_eq!(plugins.in_flight("bill"), Some(0), "after {polls} polls");
    }
}
