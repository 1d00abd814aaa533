/// Number of tokens that a call takes: [`PerCall`], or a closure over the request.
///
/// A call that costs nothing passes, and takes no token. A call that costs more than the burst never
/// fits, and fails with [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) at once.
///
/// # Example
/// ```
/// use tower_upstream::{Call, Quota, RateLimitLayer};
///
/// let layer = RateLimitLayer::new(Quota::per_second(1_000))
///     .with_cost(|call: &Call<Vec<String>>| call.body().len() as u32);
/// # let _ = layer;
/// ```
pub trait Cost<Req> {
    /// Returns the number of tokens for `request`.
    fn of(&self, request: &Req) -> u32;
}

/// Cost of one token for each call. The default.
///
/// ```
/// use tower_upstream::limit::{Cost, PerCall};
/// assert_eq!(PerCall.of(&"whatever"), 1);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct PerCall;

impl<Req> Cost<Req> for PerCall {
    #[inline]
    fn of(&self, _: &Req) -> u32 {
        1
    }
}

impl<F, Req> Cost<Req> for F
where
    F: Fn(&Req) -> u32,
{
    #[inline]
    fn of(&self, request: &Req) -> u32 {
        self(request)
    }
}
