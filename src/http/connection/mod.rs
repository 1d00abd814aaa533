//! What is known of the connection that a response came over: when it was made, and when it closes.

mod reused;
mod slot;
mod upgrade;

pub use self::slot::ConnectionSlot;
pub(super) use self::upgrade::{hold_with_connection, is_upgrade};
pub(crate) use self::{
    reused::{broke_when_reused, is_broken, lost_its_task},
    slot::Moment,
};
