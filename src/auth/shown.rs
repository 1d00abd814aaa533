//! Whether secrets are written. They are not, unless a config is written with them on purpose.

use std::cell::Cell;

/// What is written of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Nothing: its key is left out.
    Nothing,
    /// That there is one.
    Stars,
    /// All of it.
    All,
}

thread_local! {
    static SHOWN: Cell<Shown> = const { Cell::new(Shown::Nothing) };
}

/// Runs `write`, in which secrets are written in another way than otherwise.
pub(crate) fn showing<T>(shown: Shown, write: impl FnOnce() -> T) -> T {
    /// Also if `write` panics.
    struct Reset(Shown);

    impl Drop for Reset {
        fn drop(&mut self) {
            SHOWN.set(self.0);
        }
    }

    let _reset = Reset(SHOWN.replace(shown));
    write()
}

/// What is written of secrets now.
pub(crate) fn shown() -> Shown {
    SHOWN.get()
}

/// For `#[serde(skip_serializing_if)]` of secrets.
pub(crate) fn is_hidden<T>(_: &T) -> bool {
    shown() == Shown::Nothing
}
