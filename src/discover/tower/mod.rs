//! From tower's change stream, and to it.

mod from_changes;
mod measured;
mod to_changes;

pub use self::{
    from_changes::{FromChanges, FromChangesStream},
    measured::{Measured, MeasuredFuture},
    to_changes::ToChanges,
};
