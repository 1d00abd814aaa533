//! Troubles in any order: what the tests have in common that play them.
#![allow(dead_code, unreachable_pub)]

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use proptest::test_runner::{Config, RngSeed, TestCaseError};
use tokio::task::JoinHandle;
use tower_upstream::discover::{Discover, EndpointSet};

/// The same few for each run, and others, as many as `CASES` says, to look for what is rare.
pub fn some() -> Config {
    match std::env::var("CASES").ok().and_then(|of| of.parse().ok()) {
        Some(cases) => Config { cases, ..Config::default() },
        None => Config { cases: 20, rng_seed: RngSeed::Fixed(20), ..Config::default() },
    }
}

/// Plays one on a paused clock.
pub fn play(
    troubles: impl Future<Output = Result<(), TestCaseError>>,
) -> Result<(), TestCaseError> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(troubles)
}

/// All that a source tells a user.
pub struct Told {
    sets: Arc<Mutex<Vec<EndpointSet>>>,
    listens: JoinHandle<()>,
}

impl Told {
    pub fn by(source: &impl Discover) -> Self {
        let (mut told, sets) = (source.discover().boxed(), Arc::new(Mutex::new(Vec::new())));
        let notes = sets.clone();
        let listens = tokio::spawn(async move {
            while let Some(set) = told.next().await {
                notes.lock().unwrap().push(set);
            }
        });
        Self { sets, listens }
    }

    /// The last set. Each one had endpoints with these keys, which get calls.
    pub fn with_each(self, stay: &[&str]) -> Result<EndpointSet, TestCaseError> {
        self.listens.abort();
        let sets = self.sets.lock().unwrap();
        for set in sets.iter() {
            let stays = |key: &&str| set.get(key).is_some_and(|of| !of.is_draining());
            if !stay.iter().all(stays) {
                return Err(TestCaseError::fail(format!("one of {stay:?} left: {set:?}")));
            }
        }
        sets.last().cloned().ok_or_else(|| TestCaseError::fail("nothing was told"))
    }
}
