//! Closed forms of papers: what simulations and measurements of choices are to be compared with.
//!
//! ```
//! use tower_upstream::rules::theory::time_in_system;
//! assert_eq!(time_in_system(0.5, 1), 2.0);
//! assert!((time_in_system(0.99, 2) - 5.432).abs() < 0.001);
//! ```

/// Leading term of the fullest of `n` bins after `n` balls went to the emptiest of `choices` random bins each.
///
/// `ln n / ln ln n` for one choice, else `ln ln n / ln choices`; the whole is within O(1) of it. Source: Azar
/// and others, "Balanced Allocations" (1994). NaN or infinite for fewer than 3 bins or no choice.
///
/// ```
/// use tower_upstream::rules::theory::fullest_bin;
/// assert!((fullest_bin(1e6, 1) - 5.2615).abs() < 1e-4);
/// assert!((fullest_bin(1e6, 2) - 3.7882).abs() < 1e-4);
/// ```
pub fn fullest_bin(n: f64, choices: u32) -> f64 {
    let loglog = n.ln().ln();
    if choices == 1 { n.ln() / loglog } else { loglog / f64::from(choices).ln() }
}

/// Mean time that a request spends in the system, in service times, at the load `rho` of each of many servers,
/// if each request goes to the shortest of `choices` random queues.
///
/// `Σ rho^((d^i - d) / (d - 1))`, and `1 / (1 - rho)` for one choice. Source: Mitzenmacher, "The Power of Two
/// Choices in Randomized Load Balancing" (2001). Infinite from a load of 1 on, or without a choice.
///
/// ```
/// use tower_upstream::rules::theory::time_in_system;
/// assert!((time_in_system(0.9, 2) - 2.614057).abs() < 1e-6);
/// ```
pub fn time_in_system(rho: f64, choices: u32) -> f64 {
    if rho.is_nan() || rho >= 1.0 || choices == 0 {
        return f64::INFINITY;
    }
    let (rho, d) = (rho.max(0.0), f64::from(choices));
    if choices == 1 {
        return 1.0 / (1.0 - rho);
    }
    // The exponents at least double, so the terms vanish soon.
    let exponents = std::iter::successors(Some(0.0), |exponent| Some(exponent * d + d));
    let terms = exponents.map(|exponent| rho.powf(exponent));
    terms.take_while(|term| *term > 0.0).take(64).sum()
}

/// How often a probe of Prequal may be used again.
///
/// `max(1, (1 + delta) / ((1 - pool / replicas) · probe_rate - remove_rate))`, where rates are per request.
/// Infinite if probes come no faster than they are removed. Source: Wydrowski and others, "Load is not what
/// you should balance: Introducing Prequal" (2024).
///
/// ```
/// use tower_upstream::rules::theory::probe_reuse;
/// assert!((probe_reuse(16.0, 100.0, 3.0, 1.0, 1.0) - 1.315789).abs() < 1e-6);
/// ```
pub fn probe_reuse(pool: f64, replicas: f64, probe_rate: f64, remove_rate: f64, delta: f64) -> f64 {
    let fresh = (1.0 - pool / replicas) * probe_rate - remove_rate;
    if fresh > 0.0 { ((1.0 + delta) / fresh).max(1.0) } else { f64::INFINITY }
}

/// Most keys that one of `servers` takes under bounded loads: `⌈(1 + epsilon) · keys / servers⌉`.
///
/// Source: Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016). 0 without servers.
///
/// ```
/// use tower_upstream::rules::theory::bounded_load;
/// assert_eq!(bounded_load(100, 10, 0.1), 11);
/// ```
pub fn bounded_load(keys: u64, servers: u64, epsilon: f64) -> u64 {
    if servers == 0 {
        return 0;
    }
    let exact = (1.0 + epsilon) * keys as f64 / servers as f64;
    // 1.1 · 10 is a little more than 11 in floats, which is no twelfth key.
    (exact * (1.0 - 1e-12)).ceil() as u64
}

/// Score of a server in C3, of which the least is best: `response - 1 / rate + queue^3 / rate`.
///
/// `response` is the average response time that the client sees, `rate` the average service rate, and `queue` is
/// `1 + outstanding · clients + queue at the server`. Source: Suresh and others, "C3: Cutting Tail Latency
/// in Cloud Data Stores via Adaptive Replica Selection" (2015).
///
/// ```
/// assert_eq!(tower_upstream::rules::theory::c3_score(4.0, 2.0, 3.0), 17.0);
/// ```
pub fn c3_score(response: f64, rate: f64, queue: f64) -> f64 {
    response - 1.0 / rate + queue.powi(3) / rate
}
