//! What a task of a set leaves for the next one, which goes on with the same members.

use std::{collections::BTreeMap, sync::Arc};

use super::{group::Connected, select::Selector, standing::Follow};
use crate::time::Instant;

/// How members stand, by their identity.
pub(super) type Follows = BTreeMap<Arc<str>, Follow>;

pub(super) struct Memory<S> {
    /// What rules count time from.
    pub(super) start: Instant,
    pub(super) follows: Follows,
    /// How load comes back.
    pub(super) selector: Selector,
    /// What keeps the services of the snapshot alive, until there is the next one.
    pub(super) services: Vec<Arc<Connected<S>>>,
}
