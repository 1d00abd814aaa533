use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    super::{
        set::EndpointSet,
        watch::{Observation, Source, Watched},
    },
    mark::Mark,
};
use crate::{
    backoff,
    error::{BoxError, Error, Kind},
};

/// Watches a file for endpoints: JSON, or YAML or TOML.
///
/// The same as `Watched::new(File::new(path))`; see [`File`] for what it may contain. The file need not be
/// there yet.
///
/// # Example
/// ```
/// use tower_upstream::{BalanceLayer, LeastRequest, discover};
///
/// let endpoints = discover::file("/etc/tax/endpoints.json");
/// let layer = BalanceLayer::new(endpoints, LeastRequest::new());
/// # let _ = layer;
/// ```
pub fn file(path: impl Into<PathBuf>) -> Watched<File> {
    Watched::new(File::new(path))
}

/// A file with a list of endpoints: JSON, or by its extension YAML (`.yaml`, `.yml`, with the feature `yaml`)
/// or TOML (`.toml`, with the feature `config`).
///
/// ```json
/// [
///     "http://10.0.0.1:8080",
///     { "id": "tax-2", "address": "10.0.0.2", "port": 8080, "protocol": "http", "weight": 3 }
/// ]
/// ```
/// The list may also be the value of `endpoints` in an object. An endpoint is an address, or an object:
///
/// | key | what | default |
/// |---|---|---|
/// | `address` | host or IP address, or a whole [address](crate::endpoint::Address) | required |
/// | `port` | port of the host | that of `address` |
/// | `protocol` | scheme, such as `https` | that of `address` |
/// | `id` | [key](crate::Endpoint::with_key) | the address |
/// | `weight`, `priority` | [weight](crate::Endpoint::with_weight) and [priority](crate::Endpoint::with_priority) | 1, 0 |
/// | `status` | `passing`, `warning`, `critical` or `unknown` | `unknown` |
/// | `draining` | whether it gets no new calls | `false` |
/// | `health_check` | object with the `path` of a [check](crate::endpoint::EndpointCheck), and `method`, `headers`, `body`, `interval`, `timeout`, `expected` as first and last status | that of the gate |
/// | `locality` | object with `region`, `zone`, `sub_zone` | unknown |
/// | `tags`, `metadata` | list of texts, object of texts | empty |
/// | `name`, `version` | become metadata | none |
/// | `last_heartbeat` | accepted, without effect | none |
///
/// # Changes
/// The file is looked at every second, and read if it has changed. A rename over it is noticed, and so is a
/// symbolic link on the way that leads elsewhere, as in a mounted `ConfigMap` of Kubernetes. While the file
/// is missing, half-written or not valid, the last list stays in use, and
/// [`last_error`](super::super::WatchHandle::last_error) tells the mistake with its line.
///
/// # Bounds
/// A file has at most 16 MiB.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::{File, WatchConfig, Watched};
///
/// let file = File::new("/etc/tax/endpoints.json").with_interval(Duration::from_secs(10));
/// let endpoints = Watched::with_config(file, WatchConfig::default().with_max_removed(0.2));
/// # let _ = endpoints;
/// ```
#[derive(Debug, Clone)]
pub struct File {
    path: Arc<Path>,
    interval: Duration,
}

/// Most bytes of a file.
const MAX_LENGTH: u64 = 16 << 20;

impl File {
    /// Creates a source that reads `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into().into(), interval: Duration::from_secs(1) }
    }

    /// Sets how often to look at the file, from 1 ms to an hour. Default: 1 s.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = backoff::sane(interval).max(backoff::sane(Duration::from_nanos(1)));
        self
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What was read last.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "what a source remembers is for the source alone")]
pub struct FileState {
    /// Of the bytes that were read last. `None` if they may have changed without another mark.
    read: Option<Mark>,
}

impl Source for File {
    type State = FileState;

    fn name(&self) -> String {
        format!("file `{}`", self.path.display())
    }

    fn max_backoff(&self) -> Duration {
        self.interval
    }

    async fn observe(&self, state: &mut FileState) -> Result<Observation, BoxError> {
        let (path, known) = (self.path.clone(), state.read.take());
        let looked = tokio::task::spawn_blocking(move || look(&path, known)).await?;
        let (observation, mark) = looked.map_err(|error| self.named(error))?;
        state.read = mark;
        Ok(observation.again_after(self.interval))
    }
}

impl File {
    fn named(&self, error: Error) -> Error {
        Error::not_sent(Kind::InvalidConfig).message(self.name()).caused_by(error)
    }
}

fn unusable(why: impl Into<Box<str>>) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(why)
}

/// Looks at the file, and reads it unless it has the mark `known`.
fn look(path: &Path, known: Option<Mark>) -> Result<(Observation, Option<Mark>), Error> {
    let unreadable = |error: std::io::Error| unusable("it cannot be read").caused_by(error);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if known.as_ref() == Some(&Mark::of(&metadata)) {
        return Ok((Observation::unchanged(), known));
    }
    // To open a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(unusable("it is not a regular file"));
    }
    let now = SystemTime::now();
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let mark = |file: &fs::File| file.metadata().map(|of| Mark::of(&of)).map_err(unreadable);
    let before = mark(&file)?;
    let mut bytes = Vec::new();
    file.by_ref().take(MAX_LENGTH + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_LENGTH {
        return Err(unusable("it is longer than 16 MiB"));
    }
    if mark(&file)? != before || before.length() != bytes.len() as u64 {
        return Err(unusable("it changed while it was read"));
    }
    let set = EndpointSet::from_file(path, &bytes)?;
    Ok((Observation::of(set), before.is_settled(now).then_some(before)))
}
