use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::stream::{self, StreamExt};
use http::HeaderValue;

use super::{
    super::{
        set::EndpointSet,
        watch::{Observation, Source, Watched},
    },
    config::FarpConfig,
    document::Document,
    fetch::{Failed, Fetch},
    manifest::Manifest,
    record::Record,
    seed::Seed,
};
use crate::{
    dial::Dialer,
    endpoint::Endpoint,
    error::{BoxError, Error, Kind},
    sync::{lock, random_fraction},
    time,
};

/// Watches the services at `seeds`, which are polled over HTTP for what they are.
///
/// The same as `Watched::new(Farp::new(seeds)?)`; see [`Farp`].
///
/// # Errors
/// [`Kind::InvalidConfig`] for a URL that cannot be used.
///
/// # Example
/// ```
/// use tower_upstream::{BalanceLayer, LeastRequest, discover::{self, Filtered}};
///
/// let all = discover::farp(["http://10.0.0.1:8080", "http://10.0.0.2:8080"])?;
/// let tax = BalanceLayer::new(Filtered::service(all.clone(), "tax"), LeastRequest::new());
/// let orders = BalanceLayer::new(Filtered::service(all, "orders"), LeastRequest::new());
/// # let _ = (tax, orders);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub fn farp<U: AsRef<str>>(seeds: impl IntoIterator<Item = U>) -> Result<Watched<Farp>, Error> {
    let farp = Farp::new(seeds)?;
    let config = farp.config.watch.clone();
    Ok(Watched::with_config(farp, config))
}

/// Services that tell over HTTP what they are, at `/_farp/discovery` below a base URL each.
///
/// One poll serves all balancers: [`Filtered::service`](super::super::Filtered::service) keeps the endpoints
/// of one service. The name, the version and the metadata that a service tells become
/// [metadata](Endpoint::metadata), and its id the [key](Endpoint::key). An address that leads only to
/// itself, such as `0.0.0.0`, is replaced by that of the URL.
///
/// # Changes
/// | a seed | its endpoint |
/// |---|---|
/// | answers | is what it says |
/// | answers 304 to its `ETag` | stays as it was |
/// | fails, or says with 503 that it is not registered yet | stays until [`fall`](FarpConfig::fall) failures in a row |
///
/// While all seeds fail, all endpoints stay as they were. With [`manifest`](FarpConfig::manifest), the
/// manifest of a service tells its weight, place, status and health check; an instance that is a shadow, or
/// stopping, or whose manifest cannot be had yet, is left out, and a canary gets its part.
///
/// # Security
/// Nothing but the hosts and ports of the seeds is ever asked: redirects and manifests elsewhere are refused.
/// A document with a link-local address is refused, unless the seed has one.
///
/// # Bounds
/// At most 1,024 seeds, of which 10 are polled at once. A document has at most 1 MiB, and 3 redirects.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::discover::{Farp, FarpConfig, Watched};
///
/// let config = FarpConfig::default().with_interval(Duration::from_secs(30)).with_manifest(true);
/// let farp = Farp::new(["https://10.0.0.1:8443"])?.with_config(config).with_token("abc")?;
/// let endpoints = Watched::new(farp);
/// # let _ = endpoints;
/// # Ok::<(), tower_upstream::Error>(())
/// ```
pub struct Farp {
    urls: Vec<Box<str>>,
    seeds: Vec<Seed>,
    config: FarpConfig,
    token: Option<HeaderValue>,
    /// Of each seed. Of the source, not of a watch: a second look remembers the failures.
    records: Mutex<Vec<Record>>,
}

const MAX_SEEDS: usize = 1_024;
/// How many are polled at once.
const MAX_POLLS: usize = 10;

impl Farp {
    /// Creates a source that polls the services at these base URLs.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for a URL that cannot be used, and for more than 1,024.
    pub fn new<U: AsRef<str>>(seeds: impl IntoIterator<Item = U>) -> Result<Self, Error> {
        let urls: Vec<Box<str>> =
            seeds.into_iter().take(MAX_SEEDS + 1).map(|url| url.as_ref().into()).collect();
        if urls.len() > MAX_SEEDS {
            let text = format!("there are more than {MAX_SEEDS} seeds");
            return Err(Error::not_sent(Kind::InvalidConfig).message(text));
        }
        let seeds = Self::dialing(&urls, &Dialer::default())?;
        let records = Mutex::new(urls.iter().map(|_| Record::default()).collect());
        Ok(Self { urls, seeds, config: FarpConfig::default(), token: None, records })
    }

    /// Reads the discovery document, and the manifest, of the service at `url`. `None`: it gets no traffic.
    ///
    /// For a source of yours that gets them in another way.
    ///
    /// # Errors
    /// [`Kind::Transport`] for a document or a manifest that cannot be read, or that has values that cannot
    /// be used. [`Kind::InvalidConfig`] for a bad URL.
    ///
    /// # Bounds
    /// Objects may be nested 128 deep. Limit the length of the text yourself.
    ///
    /// ```
    /// use tower_upstream::discover::Farp;
    ///
    /// let document = br#"{"service_id": "tax-1", "service_name": "tax", "address": "0.0.0.0", "port": 8080}"#;
    /// let tax = Farp::read("http://10.0.0.5:9000", document, None)?;
    /// assert_eq!(tax.as_ref().map(|tax| tax.address().as_str()), Some("http://10.0.0.5:8080"));
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn read(
        url: &str,
        document: &[u8],
        manifest: Option<&[u8]>,
    ) -> Result<Option<Endpoint>, Error> {
        let endpoint = Document::parse(document)?.endpoint(&url.parse()?)?;
        match manifest {
            Some(manifest) => Ok(Manifest::parse(manifest)?.apply(endpoint)),
            None => Ok(Some(endpoint)),
        }
    }

    fn dialing(urls: &[Box<str>], dialer: &Dialer) -> Result<Vec<Seed>, Error> {
        urls.iter().map(|url| Seed::new(url, dialer.clone())).collect()
    }

    /// Uses settings of your own. Values out of range become the nearest valid ones.
    ///
    /// [`watch`](FarpConfig::watch) takes effect if [`farp`] or you pass it to [`Watched::with_config`].
    #[must_use]
    pub fn with_config(mut self, config: FarpConfig) -> Self {
        self.config = config.clamped();
        self
    }

    /// Sends a bearer token to all seeds. It is never shown.
    ///
    /// A seed on another host that is not reached over `https` is refused, with `AUTH_1105`, unless
    /// [`allow_plaintext`](FarpConfig::allow_plaintext) is set.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for a token that cannot be in a header.
    pub fn with_token(mut self, token: impl AsRef<str>) -> Result<Self, Error> {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.as_ref()));
        let mut value = value.map_err(|_| {
            Error::not_sent(Kind::InvalidConfig)
                .message("the token of the seeds cannot be in a header")
        })?;
        value.set_sensitive(true);
        self.token = Some(value);
        Ok(self)
    }

    /// Sets the authorities to trust and the certificate to show, for `https`.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for settings that contradict each other.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, tls: crate::dial::TlsConfig) -> Result<Self, Error> {
        if let Some(mistake) = tls.mistake() {
            return Err(Error::not_sent(Kind::InvalidConfig).message(mistake));
        }
        let dialer = Dialer::with_tls(tls);
        self.seeds = Self::dialing(&self.urls, &dialer)?;
        Ok(self)
    }

    /// Polls a seed, and notes what that brought.
    async fn poll(&self, at: usize) {
        let Some(seed) = self.seeds.get(at) else { return };
        let known = |record: &Record| (record.document.clone(), record.manifest.clone());
        let (document, manifest) = self.note(at, |record| known(record)).unwrap_or_default();
        let fetch = Fetch {
            seed,
            token: self.token.as_ref(),
            wants_manifest: self.config.manifest,
            timeout: self.config.timeout,
            allow_plaintext: self.config.allow_plaintext,
        };
        let polled = fetch.run(document, manifest).await;
        let (now, random) = (time::now(), random_fraction());
        self.note(at, |record| {
            let failed = match polled {
                Ok(polled) => {
                    let noted = record.answered(polled, &seed.address, &self.config, random, now);
                    noted.err().map(Failed::from)
                }
                Err(failed) => Some(failed),
            };
            if let Some(Failed { error, is_there }) = failed {
                let text = format!("seed `{}`", seed.address);
                let told = Error::failed(error.kind()).message(text);
                let told = match error.retry_after() {
                    Some(wait) => told.retry_in(now, wait),
                    None => told,
                };
                let error = told.caused_by(error);
                if record.error.is_none() {
                    tracing::warn!(%error, is_there, "a seed cannot be polled");
                }
                record.failed(error, is_there, &self.config, random, now);
            }
        });
    }

    fn note<T>(&self, at: usize, change: impl FnOnce(&mut Record) -> T) -> Option<T> {
        lock(&self.records).get_mut(at).map(change)
    }

    /// Polls what is due.
    pub(super) async fn poll_due(&self) {
        let now = time::now();
        self.poll_those(|record| record.is_due(now)).await;
    }

    async fn poll_those(&self, is_wanted: impl Fn(&Record) -> bool) {
        let due: Vec<usize> = {
            let records = lock(&self.records);
            let due = records.iter().enumerate().filter(|(_, record)| is_wanted(record));
            due.map(|(at, _)| at).collect()
        };
        let polls = stream::iter(due).map(|at| self.poll(at)).buffer_unordered(MAX_POLLS);
        polls.for_each(|()| std::future::ready(())).await;
    }

    /// Why there is no answer: an error of one seed, if all failed and none is there.
    pub(super) fn failed(&self) -> Option<Error> {
        let records = lock(&self.records);
        let first = records.first()?.error.clone();
        first.filter(|_| records.iter().all(|of| of.error.is_some() && !of.is_there))
    }

    /// What all seeds tell. The first of two that tell the same id counts.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let mut keys = HashSet::new();
        let mut records = lock(&self.records);
        let kept = records.iter_mut().zip(&self.seeds).filter_map(|(record, seed)| {
            let endpoint = record.endpoint()?.clone();
            let is_duplicate = !keys.insert(endpoint.shared_key().clone());
            if is_duplicate && !std::mem::replace(&mut record.is_duplicate, is_duplicate) {
                tracing::warn!(seed = %seed.address, id = endpoint.key(), "another seed has the same id");
            }
            record.is_duplicate = is_duplicate;
            (!is_duplicate).then_some(endpoint)
        });
        kept.collect()
    }
}

/// What is remembered of the polls.
#[derive(Debug, Default)]
#[allow(unnameable_types, reason = "what a source remembers is for the source alone")]
pub struct FarpState {
    has_told: bool,
    /// Whether all seeds had failed at the last look.
    was_silent: bool,
}

impl Source for Farp {
    type State = FarpState;

    fn name(&self) -> String {
        match &*self.urls {
            [url] => format!("FARP at `{url}`"),
            urls => format!("FARP at {} seeds", urls.len()),
        }
    }

    fn max_backoff(&self) -> Duration {
        self.config.interval
    }

    async fn observe(&self, state: &mut FarpState) -> Result<Observation, BoxError> {
        match state.has_told {
            true => self.poll_due().await,
            false => self.poll_those(|_| true).await,
        }
        let was_silent = std::mem::replace(&mut state.was_silent, self.failed().is_some());
        if was_silent && !state.was_silent {
            // One is back, and so may the others be: they are not gone because it was asked first.
            self.poll_those(|record| record.error.is_some()).await;
        }
        let now = time::now();
        let next = lock(&self.records).iter().filter_map(Record::due).min();
        let next = next.map_or(self.config.interval, |due| due.saturating_duration_since(now));
        let endpoints = self.endpoints();
        if let Some(error) = self.failed() {
            // While something is known, failures are counted at the pace of the polls.
            let wait = if endpoints.is_empty() { Duration::ZERO } else { next };
            return Err(Error::failed(error.kind()).retry_in(now, wait).caused_by(error).into());
        }
        state.has_told = true;
        Ok(Observation::of(EndpointSet::new(endpoints, "farp")?).again_after(next))
    }
}

/// Shows no token.
impl fmt::Debug for Farp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Farp")
            .field("seeds", &self.urls)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
