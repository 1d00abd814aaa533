//! What happens in a simulation: which servers there are, what they do when, and who asks how much.

use std::time::Duration;

use crate::random::Random;

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) servers: usize,
    /// When the last server joins; `None`: it is there from the beginning.
    pub(crate) joins_at: Option<Duration>,
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
    /// What a server does with a request that it begins at a moment.
    pub(crate) condition: fn(&Scenario, usize, Duration) -> Condition,
}

/// How long a request takes at speed 1.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Normal { mean: Duration, deviation: Duration },
    LogNormal { median: Duration, sigma: f64 },
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
}

impl Scenario {
    /// All requests, in order. Their numbers come from a generator that nothing else draws from.
    pub(crate) fn requests(&self, seed: u64) -> impl Iterator<Item = Request> + '_ {
        let mut random = Random::new(seed, 0);
        let mut seconds = 0.0;
        let next = move |number| {
            seconds += random.exponential() / self.rate;
            let client = random.below(self.clients);
            let work = self.work.draw(&mut random);
            Request { number, client, at: Duration::from_secs_f64(seconds), work }
        };
        (0..).map(next).take_while(|request| request.at < self.length)
    }
}

impl Work {
    fn draw(self, random: &mut Random) -> Duration {
        let normal = random.normal();
        let seconds = match self {
            Self::Normal { mean, deviation } => {
                mean.as_secs_f64() + deviation.as_secs_f64() * normal
            }
            Self::LogNormal { median, sigma } => median.as_secs_f64() * (sigma * normal).exp(),
        };
        Duration::from_secs_f64(seconds.max(0.0))
    }
}
