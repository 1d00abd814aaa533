use std::sync::Arc;

use crate::{
    member::Member,
    sync::{WaitList, atomic::AtomicU64},
    time::Instant,
};

/// What there is only below a balancer, where a token is reserved by `poll_ready`.
pub(super) struct AtMember {
    pub(super) member: Arc<Member>,
    /// Tokens that are reserved and not spent yet. They are no part of the bucket, so that giving
    /// one back leaves it exactly as it would have been.
    pub(super) held: AtomicU64,
    /// Calls that wait for a token, for the case that one comes back.
    pub(super) returned: WaitList,
}

impl AtMember {
    pub(super) fn new(member: &Arc<Member>) -> Self {
        Self { member: member.clone(), held: AtomicU64::new(0), returned: WaitList::default() }
    }

    /// There is no token before `at`: calls that wait for several endpoints are to know.
    pub(super) fn spent_until(&self, at: Instant) {
        self.member.note_spent_until(at);
    }

    /// There is a token again, for calls that wait.
    pub(super) fn token_came_back(&self) {
        self.member.note_token();
        self.returned.wake_all();
    }
}
