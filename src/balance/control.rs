//! The words of an operator, by the key of an endpoint.

use super::handle::BalanceHandle;
use crate::member::{Member, Reason};

/// # Control by key
/// What is said of an endpoint here holds at once, beside what discovery and guards say of it: it survives every
/// rebuild of the set, and ends with the opposite word, or when the endpoint leaves the set or moves to
/// another address. Each method covers the endpoints with this key in all sets of the handle, and returns `false`
/// if there is none, as before the first call. None of them waits.
///
/// ```
/// # use tower_upstream::balance::BalanceHandle;
/// fn deploy(handle: &BalanceHandle, key: &str) {
///     assert!(handle.drain(key), "no endpoint {key}");
///     // ... until `in_flight` of its member is 0
///     assert!(handle.enable(key) && handle.set_weight(key, 1));
/// }
/// ```
impl BalanceHandle {
    /// Gives an endpoint a share of the load, relative to the others, instead of that of discovery.
    ///
    /// With a weight of 0 it gets no calls, unless all candidates have 0.
    pub fn set_weight(&self, key: &str, weight: u32) -> bool {
        self.each(key, |member| member.set_own_weight(Some(weight)))
    }

    /// Gives an endpoint the weight of discovery again.
    pub fn reset_weight(&self, key: &str) -> bool {
        self.each(key, |member| member.set_own_weight(None))
    }

    /// Switches an endpoint off: it gets no new calls, in a panic neither.
    pub fn disable(&self, key: &str) -> bool {
        self.each(key, |member| member.set_operator(Reason::Disabled, true))
    }

    /// Ends what [`disable`](Self::disable) and [`drain`](Self::drain) said. What discovery and guards say
    /// stays.
    pub fn enable(&self, key: &str) -> bool {
        self.each(key, |member| {
            member.set_operator(Reason::Disabled, false);
            member.set_operator(Reason::Draining, false);
        })
    }

    /// Lets an endpoint finish the calls that it has, and gives it no new ones, until
    /// [`enable`](Self::enable).
    pub fn drain(&self, key: &str) -> bool {
        self.each(key, |member| member.set_operator(Reason::Draining, true))
    }

    /// Ejects an endpoint until [`uneject`](Self::uneject): no time and no check ends that. In a panic it gets
    /// calls all the same.
    pub fn eject(&self, key: &str) -> bool {
        self.each(key, |member| member.set_operator(Reason::Ejected, true))
    }

    /// Ends an ejection: what [`eject`](Self::eject) said at once, and an ejection or a probation of the
    /// balancer's [own](super::OutlierConfig) as soon as its task has run. A slow start follows, where there is
    /// one.
    pub fn uneject(&self, key: &str) -> bool {
        self.each(key, Member::uneject)
    }

    fn each(&self, key: &str, change: impl Fn(&Member)) -> bool {
        let members = self.members();
        let of_key = || members.iter().filter(|member| member.key() == key);
        of_key().for_each(|member| change(member));
        of_key().next().is_some()
    }
}
