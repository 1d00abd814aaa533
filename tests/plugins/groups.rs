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
