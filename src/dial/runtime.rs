//! Runtimes that may have ended.

use std::future::pending;

use tokio::runtime::Handle;

/// Returns whether tasks still run on `runtime`, which only a task can tell: a runtime that has ended
/// drops it at once.
pub(crate) fn is_running(runtime: &Handle) -> bool {
    let task = runtime.spawn(pending::<()>());
    let has_ended = task.is_finished();
    task.abort();
    !has_ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_runs_until_it_has_ended_whether_or_not_it_is_driven() {
        for mut builder in [
            tokio::runtime::Builder::new_current_thread(),
            tokio::runtime::Builder::new_multi_thread(),
        ] {
            let runtime = builder.build().unwrap();
            let handle = runtime.handle().clone();
            assert!(is_running(&handle));
            drop(runtime);
            assert!(!is_running(&handle));
        }
    }
}
