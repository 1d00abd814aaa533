//! What happens in a simulation: which servers there are, what they do when, and who asks how much.

use std::{ops::Range, time::Duration};

use crate::{cache::Cache, random::Random};

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) servers: usize,
    /// Which of them join or leave, in order; the others are there from the beginning, and stay.
    pub(crate) changes: Vec<Change>,
    /// Over which our balancers let the weight of what joins grow.
    pub(crate) slow_start: Duration,
    /// Requests that a server works on at once; the others queue there. `None`: no limit.
    pub(crate) workers: Option<usize>,
    /// Balancers, each with a view of its own. A request goes to any of them, with the same chance.
    pub(crate) clients: usize,
    /// Requests a second over all clients; a Poisson process, so an open loop. Of batches, where there are some.
    pub(crate) rate: f64,
    /// Requests that come at once, each with another key.
    pub(crate) batch: usize,
    pub(crate) length: Duration,
    pub(crate) work: Work,
    /// What requests ask for; `None`: all for the same.
    pub(crate) keys: Option<Zipf>,
    /// What each server remembers of keys; `None`: nothing that matters.
    pub(crate) cache: Option<Cache>,
    /// What a server does with a request that it begins at a moment.
    pub(crate) condition: fn(&Scenario, usize, Duration) -> Condition,
}

/// Servers that join, or leave, all at once.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    pub(crate) servers: Range<usize>,
    pub(crate) joins: bool,
}

/// How long a request takes at speed 1.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Normal { mean: Duration, deviation: Duration },
    LogNormal { median: Duration, sigma: f64 },
    Exponential { mean: Duration },
}

/// Keys of which the one of rank r is asked for in proportion to r to the power of minus `exponent`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zipf {
    pub(crate) keys: usize,
    pub(crate) exponent: f64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition {
    Speed(f64),
    FailsAfter(Duration),
}

/// One request, the same whatever the policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) number: usize,
    pub(crate) client: usize,
    pub(crate) at: Duration,
    pub(crate) work: Duration,
    pub(crate) key: u64,
}

impl Change {
    /// At so many seconds.
    pub(crate) fn joins(at: f64, servers: Range<usize>) -> Self {
        Self { at: Duration::from_secs_f64(at), servers, joins: true }
    }

    pub(crate) fn leaves(at: f64, servers: Range<usize>) -> Self {
        Self { joins: false, ..Self::joins(at, servers) }
    }
}

impl Scenario {
    /// All requests, in order. Their numbers come from a generator that nothing else draws from.
    pub(crate) fn requests(&self, seed: u64) -> impl Iterator<Item = Request> + '_ {
        let mut random = Random::new(seed, 0);
        let (mut seconds, mut client) = (0.0, 0);
        let chances = self.keys.map(Zipf::chances);
        let mut batch = Vec::new();
        let next = move |number| {
            if number % self.batch == 0 {
                seconds += random.exponential() / self.rate;
                client = random.below(self.clients);
                batch.clear();
            }
            let work = self.work.draw(&mut random);
            let mut key = || {
                let Some(chances) = &chances else { return 0 };
                let drawn = random.fraction();
                chances.partition_point(|up_to| *up_to < drawn) as u64
            };
            let mut drawn = key();
            while self.batch > 1 && batch.contains(&drawn) {
                drawn = key();
            }
            batch.push(drawn);
            Request { number, client, at: Duration::from_secs_f64(seconds), work, key: drawn }
        };
        (0..).map(next).take_while(|request| request.at < self.length)
    }
}

impl Zipf {
    /// For each key the chance of it and all before.
    fn chances(self) -> Vec<f64> {
        let weights = || (1..=self.keys).map(|rank| (rank as f64).powf(-self.exponent));
        let (total, mut sum) = (weights().sum::<f64>(), 0.0);
        let up_to = |weight: f64| {
            sum += weight;
            sum / total
        };
        weights().map(up_to).collect()
    }
}

impl Work {
    fn draw(self, random: &mut Random) -> Duration {
        if let Self::Exponential { mean } = self {
            return mean.mul_f64(random.exponential());
        }
        let normal = random.normal();
        let seconds = match self {
            Self::Normal { mean, deviation } => {
                mean.as_secs_f64() + deviation.as_secs_f64() * normal
            }
            Self::LogNormal { median, sigma } => median.as_secs_f64() * (sigma * normal).exp(),
            Self::Exponential { mean } => mean.as_secs_f64(),
        };
        Duration::from_secs_f64(seconds.max(0.0))
    }
}
