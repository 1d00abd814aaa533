//! Why a call has to look closer at a gate, in one word, and how it is refused then.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use crate::error::{Code, Error, Kind};

pub(super) const UNHEALTHY: u32 = 1;
/// It is to be checked, and no task does: not started yet, or the runtime ended.
pub(super) const IDLE: u32 = 2;
/// It is to be checked, and never can be.
pub(super) const MISUSED: u32 = 4;
/// Beside [`UNHEALTHY`]: a refusal says the name of the layer, and is counted.
pub(super) const NAMED: u32 = 8;
/// It is to be checked, and there is no runtime to do it in. Never in the word: only a call finds out.
pub(super) const NO_RUNTIME: u32 = 16;
/// Beside [`UNHEALTHY`]: the last failed check ran into its time limit.
pub(super) const LATE: u32 = 32;

/// Whether calls may pass, by the word.
pub(super) fn is_open(word: u32) -> bool {
    word & (UNHEALTHY | MISUSED) == 0
}

/// The refusals of one gate.
pub(super) struct Refusals {
    name: Option<Arc<str>>,
    /// Where the layer has a name.
    count: AtomicU64,
    /// What one looks like, where the layer has a name.
    named: Option<Error>,
    /// The same after a check that ran into its time limit. Made once, since it has a code of its own.
    late: OnceLock<Error>,
}

impl Refusals {
    pub(super) fn new(name: Option<&Arc<str>>) -> Self {
        let named = name.map(|name| Error::refused(Kind::Unhealthy).by(Some(name)));
        Self { name: name.cloned(), count: AtomicU64::new(0), named, late: OnceLock::new() }
    }

    /// What the word says of a gate that is shut.
    pub(super) fn shut(&self) -> u32 {
        if self.named.is_some() { UNHEALTHY | NAMED } else { UNHEALTHY }
    }

    /// Refuses a call because of a bit, where that is not [`UNHEALTHY`] alone; `problem` says why it never can be
    /// checked.
    #[cold]
    pub(super) fn refuse(&self, bit: u32, problem: impl FnOnce() -> String) -> Error {
        if self.named.is_some() {
            // Relaxed: nothing is published with it.
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        let error = match (bit, &self.named) {
            (MISUSED, _) => Error::refused(Kind::InvalidConfig).message(problem()),
            (NO_RUNTIME, _) => Error::refused(Kind::Unavailable),
            (bit, _) if bit & LATE != 0 => return self.late.get_or_init(|| self.late()).clone(),
            (_, Some(named)) => return named.clone(),
            (_, None) => Error::refused(Kind::Unhealthy),
        };
        error.by(self.name.as_ref())
    }

    fn late(&self) -> Error {
        let error = Error::refused(Kind::Unhealthy).coded(Some(Code::HEALTH_1602));
        error.by(self.name.as_ref())
    }

    /// How many there were, where the layer has a name.
    pub(super) fn count(&self) -> Option<u64> {
        self.named.as_ref().map(|_| self.count.load(Ordering::Relaxed))
    }
}
