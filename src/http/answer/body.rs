//! The body of a response that has none.

use std::fmt;

use crate::outcome::TypeName;

/// Maker of the empty body of a response that an [`AnswerLayer`](super::AnswerLayer) makes of an error:
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

/// Empty bodies by their `Default`. The default.
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

/// Empty bodies that a closure makes. See [`AnswerLayer::with_body`](super::AnswerLayer::with_body).
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
