//! Empty bodies, for responses to errors.

use std::fmt;

use crate::outcome::TypeName;

/// Makes the body of the response that an [`AnswerLayer`](super::AnswerLayer) turns an error into:
/// [`DefaultBody`], or a closure.
///
/// ```
/// use tower_upstream::http::{DefaultBody, EmptyBody};
/// let body: String = DefaultBody.empty();
/// assert!(body.is_empty());
/// ```
pub trait EmptyBody<B> {
    /// Returns an empty body.
    fn empty(&self) -> B;
}

/// Default of an [`AnswerLayer`](super::AnswerLayer): makes empty bodies with `Default::default()`.
///
/// ```
/// use tower_upstream::http::{AnswerLayer, DefaultBody, NoFields};
/// let layer: AnswerLayer<NoFields, DefaultBody> = AnswerLayer::new();
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultBody;

impl<B: Default> EmptyBody<B> for DefaultBody {
    fn empty(&self) -> B {
        B::default()
    }
}

/// Makes empty bodies with a closure; see [`AnswerLayer::with_body`](super::AnswerLayer::with_body).
#[derive(Clone, Copy)]
pub struct BodyFn<F>(pub(super) F);

impl<F, B> EmptyBody<B> for BodyFn<F>
where
    F: Fn() -> B,
{
    fn empty(&self) -> B {
        (self.0)()
    }
}

impl<F> fmt::Debug for BodyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BodyFn").field(&TypeName::<F>::new()).finish()
    }
}
