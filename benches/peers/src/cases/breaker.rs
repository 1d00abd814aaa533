//! Circuit breakers: closed, open, and with a failure now and then.

use std::time::Duration;

use failsafe::{FailurePolicy, backoff};
use recloser::Recloser as Circuit;
use tower::{Layer, ServiceBuilder, buffer::Buffer};
use tower_resilience_circuitbreaker as resilience;
use tower_upstream::{
    CircuitBreakerConfig, CircuitBreakerLayer,
    breaker::{CircuitBreaker as OurCircuitBreaker, Window},
};

use super::DAY;
use crate::{
    adapters::{Failsafe, Recloser},
    floors::HeldCount,
    harness::{Contender, Workload},
    inner::{Failed, Inner},
    traffic::{Good, OneInAHundred, Refused, Traffic},
};

pub(crate) fn all() -> Vec<Workload> {
    vec![
        Workload {
            name: "breaker closed, consecutive",
            contenders: vec![
                Contender::bare("inner").both(Good, || Inner),
                floor(),
                Contender::peer("failsafe, 5 in a row")
                    .both(Good, || Failsafe::new(Inner, in_a_row())),
                Contender::peer("tower-resilience, 5 in a row").both(Good, resilience_in_a_row),
                Contender::ours("tower-upstream, 5 in a row").both(Good, ours_in_a_row),
            ],
        },
        Workload {
            name: "breaker closed, count 100",
            contenders: [Contender::bare("inner").both(Good, || Inner), floor()]
                .into_iter()
                .chain(count_100(Good))
                .collect(),
        },
        Workload {
            name: "breaker closed, time 10 s",
            contenders: [Contender::bare("inner").both(Good, || Inner), floor()]
                .into_iter()
                .chain(ten_seconds(Good))
                .collect(),
        },
        Workload {
            name: "breaker open",
            contenders: vec![
                Contender::bare("inner").both(Good, || Inner),
                Contender::peer("failsafe, 5 in a row")
                    .both(Refused, || Failsafe::new(Inner, in_a_row())),
                Contender::peer("recloser, 100 calls").both(Refused, recloser_100),
                Contender::peer("tower-resilience, 100 calls").both(Refused, resilience_100),
                Contender::peer("tower-circuitbreaker, 100 calls")
                    .alone(Refused, || old_100().layer(Inner)),
                Contender::ours("tower-upstream, 5 in a row").both(Refused, ours_in_a_row),
                Contender::ours("tower-upstream, 100 calls")
                    .both(Refused, || ours_in_window(Window::Calls(100))),
            ],
        },
        Workload {
            name: "breaker, 1 % failures, count 100",
            contenders: [Contender::bare("inner").both(OneInAHundred, || Inner)]
                .into_iter()
                .chain(count_100(OneInAHundred))
                .collect(),
        },
        Workload {
            name: "breaker, 1 % failures, time 10 s",
            contenders: [Contender::bare("inner").both(OneInAHundred, || Inner)]
                .into_iter()
                .chain(ten_seconds(OneInAHundred))
                .collect(),
        },
    ]
}

/// What no breaker can do without. Alone, since it shares both among all clones, which no breaker
/// has to.
fn floor() -> Contender {
    Contender::floor("an Arc and a count").alone(Good, HeldCount::new)
}

/// Half of the last hundred calls.
fn count_100<T>(traffic: T) -> Vec<Contender>
where
    T: Traffic<Request = u64, Response = u64>,
{
    vec![
        Contender::peer("recloser, 100 calls").both(traffic, recloser_100),
        Contender::peer("tower-resilience, 100 calls (does not slide)")
            .both(traffic, resilience_100),
        Contender::peer("tower-circuitbreaker, 100 calls (does not slide)")
            .alone(traffic, || old_100().layer(Inner))
            .together(traffic, || Buffer::new(old_100().layer(Inner), 1_024)),
        Contender::ours("tower-upstream, 100 calls")
            .both(traffic, || ours_in_window(Window::Calls(100))),
    ]
}

/// Half of the calls of the last ten seconds.
fn ten_seconds<T>(traffic: T) -> Vec<Contender>
where
    T: Traffic<Request = u64, Response = u64>,
{
    vec![
        Contender::peer("failsafe, 10 s (a moving average)")
            .both(traffic, || Failsafe::new(Inner, moving_average())),
        Contender::peer("tower-resilience, 10 s").both(traffic, resilience_10_s).keeps_records(),
        Contender::ours("tower-upstream, 10 s")
            .both(traffic, || ours_in_window(Window::Time(Duration::from_secs(10)))),
    ]
}

fn ours_in_a_row() -> OurCircuitBreaker<Inner> {
    ours(CircuitBreakerConfig::consecutive(5))
}

fn ours_in_window(window: Window) -> OurCircuitBreaker<Inner> {
    let config = CircuitBreakerConfig::default()
        .with_failures(0)
        .with_failure_ratio(0.5)
        .with_window(window)
        .with_min_calls(100);
    ours(config)
}

fn ours(config: CircuitBreakerConfig) -> OurCircuitBreaker<Inner> {
    let config = config.with_open_for(DAY).with_max_open_for(DAY).with_open_jitter(0.0);
    config.validate().expect("a config");
    ServiceBuilder::new().layer(CircuitBreakerLayer::new(config)).service(Inner)
}

fn in_a_row() -> impl FailurePolicy + Send + Sync + 'static {
    failsafe::failure_policy::consecutive_failures(5, backoff::constant(DAY))
}

fn moving_average() -> impl FailurePolicy + Send + Sync + 'static {
    let window = Duration::from_secs(10);
    failsafe::failure_policy::success_rate_over_time_window(
        0.5,
        100,
        window,
        backoff::constant(DAY),
    )
}

fn recloser_100() -> Recloser<Inner> {
    let circuit = Circuit::custom().error_rate(0.5).closed_len(100).open_wait(DAY).build();
    Recloser::new(Inner, circuit)
}

type Resilience = resilience::CircuitBreaker<Inner, resilience::DefaultClassifier>;

fn resilience_in_a_row() -> Resilience {
    let layer = resilience::CircuitBreakerLayer::builder()
        .consecutive_failures(5)
        .wait_duration_in_open(DAY)
        .build();
    layer.expect("a layer").layer(Inner)
}

fn resilience_100() -> Resilience {
    let layer = resilience::CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .wait_duration_in_open(DAY)
        .build();
    layer.expect("a layer").layer(Inner)
}

fn resilience_10_s() -> Resilience {
    let layer = resilience::CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_type(resilience::SlidingWindowType::TimeBased)
        .sliding_window_duration(Duration::from_secs(10))
        .minimum_number_of_calls(100)
        .wait_duration_in_open(DAY)
        .build();
    layer.expect("a layer").layer(Inner)
}

/// What became tower-resilience.
fn old_100() -> tower_circuitbreaker::CircuitBreakerLayer<u64, Failed> {
    tower_circuitbreaker::CircuitBreakerConfig::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .wait_duration_in_open(DAY)
        .build()
}
