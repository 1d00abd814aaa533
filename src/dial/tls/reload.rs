//! What was read of files, until they change.

use std::{
    fs,
    hash::{DefaultHasher, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use crate::{error::BoxError, sync::lock};

/// The files of a config.
pub(super) type Files<'a> = [&'a Option<PathBuf>; 3];

/// What `T` the files of a config `C` make.
pub(super) struct Reload<C, T>(Mutex<Option<Loaded<C, T>>>);

struct Loaded<C, T> {
    config: C,
    prints: Prints,
    made: Arc<T>,
}

/// Tells whether the files hold what they held. By what is in them: times of files are too coarse.
#[derive(PartialEq, Eq)]
struct Prints([Option<u64>; 3]);

impl Prints {
    fn of(files: Files<'_>) -> Self {
        Self(files.map(|path| {
            let mut hasher = DefaultHasher::new();
            hasher.write(&fs::read(path.as_ref()?).ok()?);
            Some(hasher.finish())
        }))
    }
}

impl<C: Clone + PartialEq, T> Reload<C, T> {
    /// What the files make. What they made before, if they did not change, or cannot be used now.
    pub(super) fn get(
        &self,
        config: &C,
        files: Files<'_>,
        load: impl FnOnce() -> Result<T, BoxError>,
    ) -> Result<Arc<T>, BoxError> {
        let mut loaded = lock(&self.0);
        let before = loaded.as_ref().filter(|loaded| loaded.config == *config);
        // Before they are read: what is written meanwhile is read next time.
        let prints = Prints::of(files);
        if let Some(before) = before.filter(|before| before.prints == prints) {
            return Ok(before.made.clone());
        }
        match (load(), before) {
            (Ok(made), _) => {
                let made = Arc::new(made);
                *loaded = Some(Loaded { config: config.clone(), prints, made: made.clone() });
                Ok(made)
            }
            (Err(error), Some(before)) => {
                tracing::warn!(%error, "TLS files changed and cannot be used; the former stay in use");
                Ok(before.made.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

impl<C, T> Default for Reload<C, T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}
