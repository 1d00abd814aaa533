//! The story of a registry, with the double: pods that their kubelet sees, and the slices that are made of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;
use tower_upstream::{
    BoxError,
    discover::{Instance, Kept, KubernetesService, Registrar, Watched},
};

use crate::{
    double::Double,
    objects::{Pod, pod, slice},
    reading::kubernetes,
    registry_story::{Backend, play},
    support::{ms, secs},
};

/// A pod that is not heard of for so long is not ready.
const PROBED: Duration = Duration::from_secs(3);

#[derive(Clone)]
struct Cluster {
    double: Arc<Double>,
    pods: Arc<Mutex<HashMap<String, Seen>>>,
}

struct Seen {
    slice: Value,
    at: Instant,
}

impl Cluster {
    async fn start() -> Self {
        let (double, pods) = (Arc::new(Double::start().await), Arc::default());
        let cluster = Self { double, pods };
        tokio::spawn(cluster.clone().probe());
        cluster
    }

    /// What the kubelets and the controllers do.
    async fn probe(self) {
        loop {
            tokio::time::sleep(ms(100)).await;
            let mut pods = self.pods.lock().unwrap();
            if !self.double.is_up() {
                // What they see arrives later.
                pods.values_mut().for_each(|seen| seen.at = Instant::now());
                continue;
            }
            pods.retain(|_, seen| {
                let is_alive = seen.at.elapsed() < PROBED;
                if !is_alive {
                    let gone = json!({"ready": false, "serving": false, "terminating": false});
                    seen.slice["endpoints"][0]["conditions"] = gone;
                    self.double.objects(|objects| objects.put(seen.slice.clone()));
                }
                is_alive
            });
        }
    }

    async fn reach(&self) -> Result<(), BoxError> {
        self.double.arrives().await;
        if self.double.is_up() { Ok(()) } else { Err("connection refused".into()) }
    }
}

impl Registrar for Cluster {
    type Session = ();

    fn name(&self) -> String {
        "kubelet".to_owned()
    }

    fn keep_alive_every(&self) -> Option<Duration> {
        Some(secs(1))
    }

    async fn put(&self, (): &mut (), instance: &Instance) -> Result<(), BoxError> {
        self.reach().await?;
        let endpoint = instance.endpoint();
        let is = if endpoint.is_draining() { Pod::Terminating } else { Pod::Ready };
        let pod = pod(instance.id(), endpoint.address().host(), is);
        let port = endpoint.address().port().unwrap();
        let slice = slice(instance.service(), &format!("story-{}", instance.id()), port, vec![pod]);
        self.double.objects(|objects| objects.put(slice.clone()));
        let seen = Seen { slice, at: Instant::now() };
        self.pods.lock().unwrap().insert(instance.id().to_owned(), seen);
        Ok(())
    }

    async fn keep_alive(&self, (): &mut (), instances: &[Instance]) -> Result<Kept, BoxError> {
        self.reach().await?;
        let mut pods = self.pods.lock().unwrap();
        for instance in instances {
            match pods.get_mut(instance.id()) {
                Some(seen) => seen.at = Instant::now(),
                None => return Ok(Kept::Lost),
            }
        }
        Ok(Kept::Alive)
    }

    async fn remove(&self, (): &mut (), instance: &Instance) -> Result<(), BoxError> {
        self.reach().await?;
        self.pods.lock().unwrap().remove(instance.id());
        let name = format!("story-{}", instance.id());
        self.double.objects(|objects| objects.delete("default", &name));
        Ok(())
    }
}

impl Backend for Cluster {
    type Registrar = Self;
    type Source = KubernetesService;

    fn registrar(&self) -> Self {
        self.clone()
    }

    fn watch(&self, service: &str) -> Watched<KubernetesService> {
        kubernetes(&self.double).service(service).unwrap()
    }

    /// An endpoint of a slice has neither.
    fn has_weights_and_tags(&self) -> bool {
        false
    }

    async fn stop(&self) {
        self.double.stop().await;
    }

    async fn restart(&self) {
        self.double.restart().await;
    }

    async fn partition(&self) {
        self.double.partition();
    }

    async fn heal(&self) {
        self.double.heal();
    }

    fn hears_within(&self) -> Duration {
        secs(1)
    }

    fn forgets_within(&self) -> Duration {
        secs(4)
    }

    fn recovers_within(&self) -> Duration {
        secs(36)
    }

    fn outage(&self) -> Duration {
        secs(90)
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_fails_while_endpoints_come_and_go_and_the_api_server_is_away() {
    let figures = play(&Cluster::start().await).await;
    assert!(figures.calls > 10_000 && figures.to_dead > 0);
}
