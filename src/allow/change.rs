//! A change of a list, for those that were refused.

use std::time::Duration;

use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use super::list::AllowList;

/// How often the file is looked at while a program waits for it to change.
const LOOK: Duration = Duration::from_secs(1);

/// Changes of a list since this was made.
pub(crate) struct Changes {
    list: AllowList,
    version: watch::Receiver<u64>,
}

impl Changes {
    pub(crate) fn of(list: &AllowList) -> Self {
        Self { list: list.clone(), version: list.version() }
    }

    /// Waits until the plugins or the settings have changed, or the file, where that is watched.
    pub(crate) async fn changed(&mut self) {
        // The list is in here, so its end is no change.
        while timeout(LOOK, self.version.changed()).await.is_err() {
            let list = self.list.clone();
            let _ = spawn_blocking(move || drop(list.fresh())).await;
        }
    }
}
