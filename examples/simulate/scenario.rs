//! What happens in a simulation: which servers there are, what they do when, and who asks how much.

use std::time::Duration;

use crate::random::Random;

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) servers: usize,
    /// When the last server joins; `None`: it is there from the beginning.
    pub(crate) joins_at: Option<Duration>,
    /// When the last server leaves; `None`: it stays.
    pub(crate) leaves_at: Option<Duration>,
    /// Over which our balancers let the weight of what joins grow.
    pub(crate) slow_start: Duration,
    /// Requests that a server works on at once; the others queue there. `None`: no limit.
    pub(crate) workers: Option<usize>,
    /// Balancers, each with a view of its own. A request goes to any of them, with the same chance.
    pub(crate) clients: usize,
    /// Requests a second over all clients; a Poisson process, so an open loop.
    pub(crate) rate: f64,
    pub(crate) length: Duration,
    pub(crate) work: Work,
    /// What requests ask for; `None`: all for the same.
    pub(crate) keys: Option<Zipf>,
    /// What a server does with a request that it begins at a moment.
    pub(crate) condition: fn(&Scenario, usize, Duration) -> Condition,
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

impl Scenario {
    /// All requests, in order. Their numbers come from a generator that nothing else draws from.
    pub(crate) fn requests(&self, seed: u64) -> impl Iterator<Item = Request> + '_ {
        let mut random = Random::new(seed, 0);
        let mut seconds = 0.0;
        let chances = self.keys.map(Zipf::chances);
        let next = move |number| {
            seconds += random.exponential() / self.rate;
            let client = random.below(self.clients);
            let work = self.work.draw(&mut random);
            let key = chances.as_ref().map_or(0, |chances| {
                let drawn = random.fraction();
                chances.partition_point(|up_to| *up_to < drawn) as u64
            });
            Request { number, client, at: Duration::from_secs_f64(seconds), work, key }
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
