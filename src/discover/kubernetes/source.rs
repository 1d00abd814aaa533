use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{sleep, timeout, timeout_at};

use super::{
    super::watch::{Observation, Source},
    book::Book,
    event::Event,
    external::external,
    known::Known,
    pages::all,
    query::{KubernetesQuery, Target},
    server::{Failure, Server, may_pass},
    stream::{After, Broken, EventStream},
};
use crate::{
    backoff,
    error::{BoxError, Error, Kind},
    sync::{lock, random_fraction},
    time,
};

/// A Service in Kubernetes, as a [`Source`]. Made by [`Kubernetes::service`](super::Kubernetes::service).
///
/// ```
/// use tower_upstream::discover::{Kubernetes, KubernetesConfig, KubernetesService, WatchHandle};
///
/// fn is_quiet(handle: &WatchHandle<KubernetesService>) -> bool {
///     handle.last_error().is_none()
/// }
/// let config = KubernetesConfig::default().with_address("http://127.0.0.1:8001");
/// let tax = Kubernetes::new(config)?.service("tax")?;
/// assert!(is_quiet(&tax.handle()));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct KubernetesService {
    server: Arc<Server>,
    namespace: String,
    name: String,
    target: Target,
    query: KubernetesQuery,
    unsure: Duration,
    /// What is known, whichever watch has learned it.
    known: Mutex<Known>,
}

/// Where a watch stands.
#[derive(Default)]
#[allow(unnameable_types, reason = "what a source remembers is for the source alone")]
pub struct KubernetesState {
    phase: Phase,
}

#[derive(Default)]
enum Phase {
    #[default]
    Begin,
    /// All was listed, and is not watched yet.
    Listed,
    /// The server has ended the watch.
    Ended,
    Open(Box<EventStream>),
}

impl fmt::Debug for KubernetesState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_open = matches!(self.phase, Phase::Open(_));
        f.debug_struct("KubernetesState").field("is_open", &is_open).finish()
    }
}

/// After an event, how long to look for more before a set is told, and for how many.
const GATHER: Duration = Duration::from_millis(10);
const MAX_EVENTS: usize = 4_096;
/// A watch that ends sooner has failed: so that none makes this spin.
const SHORT: Duration = Duration::from_secs(1);
/// A watch that breaks after so long was a good one: something on the way may break all that are idle for a while. So
/// it is no failure, after which it is waited for longer each time; just not all go on in the same moment.
const STEADY: Duration = Duration::from_secs(10);
const SPREAD: Duration = Duration::from_millis(250);
/// What the server may take beyond the time that it was told to end a watch at.
const SLACK: Duration = Duration::from_secs(10);

/// What a watch has told.
enum Read {
    News,
    /// All is as it was.
    Confirmed,
    Ended,
    /// It broke.
    Cut(Error),
    /// What was asked for is not kept any more.
    Expired,
}

impl KubernetesService {
    /// `unsure` is how long a set is doubted after the cluster was not well.
    pub(super) fn new(
        server: Arc<Server>,
        name: &str,
        query: KubernetesQuery,
        unsure: Duration,
    ) -> Self {
        let namespace = query.namespace.clone().unwrap_or_default();
        let target = Target::new(&namespace, Some(name), query.label_selector.as_deref());
        let (name, known) = (name.to_owned(), Mutex::default());
        Self { server, namespace, name, target, query, unsure, known }
    }

    /// Returns the name of the Service.
    pub fn service(&self) -> &str {
        &self.name
    }

    /// Returns the namespace of the Service.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Reads all there is.
    async fn list(&self, state: &mut KubernetesState) -> Result<Observation, Error> {
        state.phase = Phase::Begin;
        lock(&self.known).can_resume = false;
        let put = |book: &mut Book, slice| {
            book.put_after(Some(&lock(&self.known).book), slice, &self.query).map(drop)
        };
        let (book, version) = all(&self.server, &self.target, put).await?;
        let was_seen = lock(&self.known).external.is_some();
        let external = match book.is_empty() {
            true => {
                external(&self.server, &self.namespace, &self.name, &self.query, was_seen).await?
            }
            false => None,
        };
        let mut known = lock(&self.known);
        let is_first = known.version.is_empty();
        known.list(book, external, version);
        if !is_first {
            known.unsure_until = Some(time::later(time::now(), self.unsure));
        }
        state.phase = Phase::Listed;
        known.told(false)
    }

    /// Opens the watch where it stood.
    async fn open(&self, after: After) -> Result<EventStream, Failure> {
        let version = lock(&self.known).version.clone();
        // So that not all watches end together.
        let wait = backoff::spread(self.query.wait, 1.0, 1.25, random_fraction());
        let body = self.server.open(&self.target.watch(&version, wait)).await?;
        let deadline = time::later(time::now(), wait + SLACK);
        Ok(EventStream::new(body, self.server.max_body(), deadline, after))
    }

    /// Waits for events, and takes over all that come together.
    ///
    /// # Cancel safety
    /// What was taken over is known.
    async fn read(&self, stream: &mut EventStream) -> Result<Read, Error> {
        let mut due = None;
        for _ in 0..MAX_EVENTS {
            let next = stream.next(&self.server);
            let next = match due {
                None => next.await,
                Some(due) => match timeout_at(due, next).await {
                    Ok(next) => next,
                    Err(_) => break,
                },
            };
            let is_end = !matches!(&next, Ok(Some(event)) if !event.is_end());
            if is_end && due.is_some() {
                // Told first what there is.
                stream.put_back(next);
                break;
            }
            let mut known = lock(&self.known);
            let event = match next {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(Read::Ended),
                Err(Broken::Cut(error)) => {
                    known.cut(stream.has_told);
                    return Ok(Read::Cut(error));
                }
                Err(Broken::Nonsense(error)) => return Err(error),
            };
            match event {
                Event::Expired => return Ok(Read::Expired),
                Event::Failed(status) => {
                    known.cut(stream.has_told);
                    known.can_resume &= status.code.is_some_and(may_pass);
                    return Err(self.server.ended(&status));
                }
                event => {
                    let taken = known.take(event, &self.query);
                    let taken = taken.map_err(|_| self.server.has_too_many())?;
                    stream.has_told |= taken.leads_on;
                    if taken.is_new {
                        due.get_or_insert(time::later(time::now(), GATHER));
                    } else if taken.is_bookmark && due.is_none() {
                        return Ok(Read::Confirmed);
                    }
                }
            }
        }
        Ok(Read::News)
    }

    /// Reads on. A watch that goes on after it broke is believed once it has told something, or has lasted.
    async fn read_on(&self, stream: &mut EventStream) -> Result<Read, Error> {
        if stream.after != After::Break {
            return self.read(stream).await;
        }
        let read = timeout(SHORT, self.read(stream)).await.unwrap_or(Ok(Read::News))?;
        if let Read::Ended | Read::Cut(_) | Read::Expired = read {
            return Ok(read);
        }
        stream.after = After::End;
        lock(&self.known).unsure_until = Some(time::later(time::now(), self.unsure));
        Ok(Read::News)
    }

    async fn next(&self, state: &mut KubernetesState) -> Result<Observation, Error> {
        if let Some(problem) = lock(&self.known).problem.take() {
            return Err(problem);
        }
        loop {
            let after = match &mut state.phase {
                Phase::Begin if !lock(&self.known).can_resume => return self.list(state).await,
                Phase::Begin => After::Break,
                Phase::Listed => After::List,
                Phase::Ended => After::End,
                Phase::Open(stream) => match self.read_on(stream).await? {
                    Read::News => return lock(&self.known).told(true),
                    Read::Confirmed => return Ok(Observation::unchanged()),
                    Read::Expired if stream.after == After::List && !stream.has_told => {
                        return Err(self.forgets());
                    }
                    Read::Expired => return self.list(state).await,
                    Read::Cut(error) if stream.lived() < STEADY => return Err(error),
                    Read::Cut(error) => {
                        tracing::debug!(%error, "a watch broke, and begins again");
                        state.phase = Phase::Begin;
                        sleep(SPREAD.mul_f64(random_fraction())).await;
                        continue;
                    }
                    Read::Ended => {
                        let lived = stream.lived();
                        if lived < SHORT {
                            lock(&self.known).cut(stream.has_told);
                            let what = format!("ends the watch after {lived:?}");
                            return Err(self.server.failed(Kind::Connection, &what));
                        }
                        // Without a word the version may be one of the future, as of before a restored
                        // backup; and what a Service is that has no endpoints is not watched.
                        if !stream.has_told || lock(&self.known).book.is_empty() {
                            return self.list(state).await;
                        }
                        state.phase = Phase::Ended;
                        continue;
                    }
                },
            };
            match self.open(after).await {
                Ok(stream) => {
                    let mut known = lock(&self.known);
                    // Only one that breaks goes on where it stood: what makes no sense would come again each time.
                    (known.shut_since, known.can_resume) = (None, false);
                    drop(known);
                    state.phase = Phase::Open(Box::new(stream));
                }
                Err(failure) if failure.is_expired() && after == After::List => {
                    return Err(self.forgets());
                }
                Err(failure) if failure.is_expired() => return self.list(state).await,
                Err(failure) => {
                    lock(&self.known).not_opened(&failure);
                    return Err(failure.into());
                }
            }
        }
    }

    /// So that a server which forgets all at once is not asked all the time.
    fn forgets(&self) -> Error {
        self.server
            .failed(Kind::Connection, "does not know the version that it has just told (410)")
    }
}

impl Source for KubernetesService {
    type State = KubernetesState;

    fn name(&self) -> String {
        format!(
            "Service `{}/{}` in Kubernetes at `{}`",
            self.namespace,
            self.name,
            self.server.url()
        )
    }

    async fn observe(&self, state: &mut KubernetesState) -> Result<Observation, BoxError> {
        let told = self.next(state).await;
        if told.is_err() {
            // It begins anew: where it stood, if it can.
            state.phase = Phase::Begin;
        }
        Ok(told?)
    }
}

impl fmt::Debug for KubernetesService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesService")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}
