//! What is known of one seed, and when to poll it, as arithmetic.

use std::{sync::Arc, time::Duration};

use super::{
    config::FarpConfig,
    document::Document,
    manifest::{Manifest, WEIGHT},
};
use crate::{
    backoff,
    endpoint::{Address, Endpoint},
    error::Error,
    time::{self, Instant},
};

/// Longest wait that a seed may ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// A part of an answer, with what tells whether it is still the same.
#[derive(Debug, Clone)]
pub(super) struct Tagged<T> {
    pub(super) value: T,
    pub(super) etag: Option<http::HeaderValue>,
}

/// What a poll brought.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) document: Tagged<Document>,
    pub(super) manifest: Option<Tagged<Manifest>>,
    /// How long the answer says that it holds.
    pub(super) fresh_for: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) document: Option<Tagged<Document>>,
    pub(super) manifest: Option<Tagged<Manifest>>,
    /// What they tell, while it counts.
    endpoint: Option<Arc<Endpoint>>,
    failures: u32,
    /// Of the last poll.
    pub(super) error: Option<Error>,
    /// Whether the server answered that, and only the service is not there yet.
    pub(super) is_there: bool,
    due: Option<Instant>,
    pub(super) is_duplicate: bool,
}

impl Record {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.endpoint.as_ref()
    }

    /// A poll has an answer. `random` is from 0 up to 1.
    ///
    /// # Errors
    /// The answer is of no use: the poll has failed.
    pub(super) fn answered(
        &mut self,
        polled: Polled,
        seed: &Address,
        config: &FarpConfig,
        random: f64,
        now: Instant,
    ) -> Result<(), Error> {
        let Polled { document, manifest, fresh_for } = polled;
        let endpoint = document.value.endpoint(seed)?;
        let told = match &manifest {
            Some(manifest) => manifest.value.apply(endpoint),
            None if config.manifest => Some(endpoint.with_weight(WEIGHT)),
            None => Some(endpoint),
        };
        // Equal ones stay the same value, which makes the set cheap to apply.
        let known = self.endpoint.take();
        self.endpoint = told.map(|told| known.filter(|of| **of == told).unwrap_or(told.into()));
        (self.document, self.manifest) = (Some(document), manifest);
        (self.failures, self.error) = (0, None);
        self.plan(fresh_for, config, random, now);
        Ok(())
    }

    /// A poll has failed. `is_there`: the server answered that.
    pub(super) fn failed(
        &mut self,
        error: Error,
        is_there: bool,
        config: &FarpConfig,
        random: f64,
        now: Instant,
    ) {
        // Counted once for each time that it was due, however often it is tried.
        if self.is_due(now) {
            self.failures = self.failures.saturating_add(1);
            self.plan(error.retry_after(), config, random, now);
        }
        if self.failures >= config.fall {
            self.endpoint = None;
            (self.document, self.manifest) = (None, None);
        }
        (self.error, self.is_there) = (Some(error), is_there);
    }

    fn plan(&mut self, asked: Option<Duration>, config: &FarpConfig, random: f64, now: Instant) {
        let wait = backoff::spread(config.interval, 0.9, 1.1, random);
        let wait = asked.unwrap_or_default().min(MAX_WAIT).max(wait);
        self.due = Some(time::later(now, wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn polled(port: u16, fresh_for: Option<Duration>) -> Polled {
        let json = format!(r#"{{"service_id":"1","service_name":"tax","port":{port}}}"#);
        let value = Document::parse(json.as_bytes()).unwrap();
        Polled { document: Tagged { value, etag: None }, manifest: None, fresh_for }
    }

    fn answer(record: &mut Record, port: u16, fresh_for: Option<Duration>, now: Instant) {
        let (seed, config) = ("http://a:1".parse().unwrap(), FarpConfig::default());
        record.answered(polled(port, fresh_for), &seed, &config, 0.5, now).unwrap();
    }

    fn fail(record: &mut Record, now: Instant) {
        record.failed(Error::unsent("refused"), false, &FarpConfig::default(), 0.5, now);
    }

    #[test]
    fn an_endpoint_falls_with_the_third_failure_in_a_row() {
        let (mut record, mut now) = (Record::default(), time::now());
        for failures in [2, 3] {
            answer(&mut record, 80, None, now);
            for failure in 1..=failures {
                now += secs(10);
                assert!(record.is_due(now) && !record.is_due(now - secs(1)));
                fail(&mut record, now);
                assert_eq!(record.endpoint().is_some(), failure < 3);
                // Tried again before it is due, as when all have failed.
                fail(&mut record, now + secs(1));
                assert_eq!(record.endpoint().is_some(), failure < 3);
            }
            now += secs(10);
        }
        answer(&mut record, 80, None, now);
        assert!(record.endpoint().is_some() && record.error.is_none());
    }

    #[test]
    fn an_equal_endpoint_stays_the_same_value() {
        let (mut record, now) = (Record::default(), time::now());
        answer(&mut record, 80, None, now);
        let first = record.endpoint().unwrap().clone();
        answer(&mut record, 80, None, now);
        assert!(Arc::ptr_eq(&first, record.endpoint().unwrap()));
        answer(&mut record, 81, None, now);
        assert_eq!(record.endpoint().unwrap().address().as_str(), "http://a:81");
    }

    #[test]
    fn a_seed_may_ask_for_more_time_but_not_for_ever() {
        let (mut record, now) = (Record::default(), time::now());
        for (asked, waits) in [(None, 10), (Some(3), 10), (Some(60), 60), (Some(9_999), 300)] {
            answer(&mut record, 80, asked.map(secs), now);
            assert_eq!(record.due(), Some(now + secs(waits)));
        }
    }
}
