//! A provider over Consul, for those that manage endpoints at run time.

use tower_upstream::{
    Endpoint,
    discover::{Consul, ConsulCheck, Provider, ProviderFeature, Providers, Registry},
    endpoint::Status,
};

use crate::{double::Double, reading::config, sets::keys, support::secs};

fn provider(double: &Double) -> Provider {
    let consul = Consul::new(config(double).with_token("s3cret")).unwrap();
    let registry = Registry::new(consul.registrar(ConsulCheck::default()));
    Provider::watching(consul.service("tax").unwrap()).with_registry("tax", registry)
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_consul_are_registered_listed_judged_and_deregistered() {
    let double = Double::start().await;
    double.up("tax", "tax-1", 1);
    let providers = Providers::new();
    providers.add("consul", provider(&double)).unwrap();
    let tax = providers.get("consul").unwrap();
    assert!(tax.features().contains(&ProviderFeature::Announce));
    assert_eq!(keys(&tax.list(secs(5)).await.unwrap()), ["tax-1"]);

    let endpoint = Endpoint::new("10.0.0.2:80").unwrap().with_key("tax-2");
    tax.register(endpoint.clone().with_tag("v2")).unwrap();
    // At once here, and soon for others.
    assert_eq!(keys(&tax.list(secs(5)).await.unwrap()), ["tax-1", "tax-2"]);
    tokio::time::sleep(secs(1)).await;
    assert!(double.catalog(|catalog| catalog.instances.contains_key("tax-2")));
    // The health is what the backend says, also of an own one.
    tax.update(endpoint.with_status(Status::Critical)).unwrap();
    let _user = tower_upstream::discover::Discover::discover(&tax);
    tokio::time::sleep(secs(5)).await;
    let health = tax.health_all(secs(5)).await.unwrap();
    assert_eq!(health["tax-2"], Status::Critical);
    assert_eq!(tax.health("tax-3", secs(5)).await.unwrap(), None);

    let info = tax.connection_info();
    assert!(info.source.contains("`tax` in Consul") && info.registry.is_some());
    assert!(!format!("{providers:?}{info:?}").contains("s3cret"));
    providers.close(secs(5)).await.unwrap();
    assert!(!double.catalog(|catalog| catalog.instances.contains_key("tax-2")));
    // One that does not answer is named.
    double.partition();
    tax.register(Endpoint::new("10.0.0.3:80").unwrap().with_key("tax-3")).unwrap();
    tokio::time::sleep(secs(1)).await;
    let error = providers.close(secs(5)).await.unwrap_err().to_string();
    assert!(error.contains("the provider `consul`"), "{error}");
    assert_eq!(providers.stats()["consul"].failed, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_is_one_endpoint_also_if_consul_calls_it_otherwise() {
    let double = Double::start().await;
    let tax = provider(&double);
    // An id that is the name of the service is that of all its instances, so the name of the node goes before it.
    tax.register(Endpoint::new("http://10.0.0.2:80").unwrap().with_key("tax")).unwrap();
    assert_eq!(tax.list(secs(5)).await.unwrap().len(), 1);
    tokio::time::sleep(secs(1)).await;
    let set = tax.list(secs(5)).await.unwrap();
    assert!(set.len() == 1 && set[0].key().ends_with("/tax"), "{:?}", keys(&set));
    // By what it was registered as.
    assert!(tax.health("tax", secs(5)).await.unwrap().is_some());
    assert_eq!(tax.health("other", secs(5)).await.unwrap(), None);
    tax.close(secs(5)).await.unwrap();
    assert!(tax.list(secs(5)).await.unwrap().is_empty());
}
