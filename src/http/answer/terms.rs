use super::{body::DefaultBody, reports::NoFields, tell::Teller};
use crate::wire::rate_limit;

/// What an [`AnswerLayer`](super::AnswerLayer) was told, and its services go by.
#[derive(Debug, Clone)]
pub(super) struct Terms<L = NoFields, M = DefaultBody> {
    pub(super) limit: L,
    /// What the limit is called in the fields.
    pub(super) name: String,
    pub(super) body: M,
    pub(super) teller: Teller,
}

impl<L> Terms<L> {
    pub(super) fn new(name: &str, limit: L) -> Self {
        let name = rate_limit::bare(name);
        Self { limit, name, body: DefaultBody, teller: Teller::default() }
    }
}
