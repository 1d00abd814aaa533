//! Many tasks on two threads that call clones of one stack.

use tower_upstream::{CircuitBreakerConfig, LeastRequest};

use crate::{
    cases::{
        balance, breaker, concurrency, gate, keyed, limit, stack, waiting_breaker, waiting_member,
    },
    floors::{SharedCas, SharedTwoChoices},
    harness::Crowd,
    services::Inner,
};

pub(crate) fn all() -> Vec<Crowd> {
    vec![
        Crowd::new("contended/bare", || Inner),
        Crowd::new("contended/breaker", breaker),
        Crowd::new("contended/waits: breaker", || waiting_breaker(CircuitBreakerConfig::default())),
        Crowd::new("contended/waits: breaker, slow_ratio", || {
            waiting_breaker(CircuitBreakerConfig::default().with_slow_ratio(0.5))
        }),
        Crowd::new("contended/waits: member's breaker", || {
            waiting_member(CircuitBreakerConfig::default())
        }),
        Crowd::new("contended/waits: member's breaker, slow_ratio", || {
            waiting_member(CircuitBreakerConfig::default().with_slow_ratio(0.5))
        }),
        Crowd::new("contended/gate", gate),
        Crowd::new("contended/limit", || limit().service(Inner)),
        Crowd::new("contended/concurrency", concurrency),
        Crowd::new("contended/tower's ConcurrencyLimit", || {
            tower::limit::ConcurrencyLimit::new(Inner, 1_024)
        }),
        Crowd::new("contended/limit keyed 100k", keyed),
        Crowd::new("contended/floor: one shared CAS", SharedCas::new),
        Crowd::new("contended/balance/10", || balance(10, LeastRequest::new())),
        Crowd::new("contended/floor: two choices over shared Arcs", || SharedTwoChoices::new(10)),
        Crowd::new("contended/stack", stack),
    ]
}
