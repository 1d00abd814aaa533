//! The numbers in which budgets count.

/// Thousandths of a token, in which shares are counted.
pub(super) const TOKEN: u64 = 1_000;

/// Most tokens, places and retries a second.
pub(super) const MANY: u32 = 1_000_000;

/// A share as thousandths of a token: 0 to 10.
pub(super) fn thousandths(ratio: f64) -> u64 {
    let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 10.0) };
    (ratio * TOKEN as f64).round() as u64
}

/// So many in a second: 0 to [`MANY`].
pub(super) fn rate(floor: f64) -> f64 {
    if floor.is_nan() { 0.0 } else { floor.clamp(0.0, MANY.into()) }
}
