use std::{collections::BTreeMap, fmt, ops::RangeInclusive, time::Duration};

use crate::error::{Error, Kind};

/// How the health of one endpoint is checked over HTTP, as its source reports it.
///
/// `HttpCheck` (feature `http`) obeys it in place of its own settings. What is not set here stays as the
/// check has it; the default sets nothing.
///
/// # Example
/// ```
/// use std::time::Duration;
/// use tower_upstream::{Endpoint, endpoint::EndpointCheck};
///
/// let check = EndpointCheck::get("/ready")?
///     .with_header("x-probe", "1")?
///     .with_expected(200..=204)
///     .with_timeout(Duration::from_secs(1));
/// let endpoint = Endpoint::new("http://10.0.0.1:8080")?.with_check(check);
/// assert_eq!(endpoint.check().map(|check| check.path()), Some("/ready"));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EndpointCheck {
    path: String,
    method: Option<String>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    expected: Option<RangeInclusive<u16>>,
}

/// Most bytes of a text, as those of a body of a check.
const MAX: usize = 64 << 10;

fn invalid(what: &str) -> Error {
    Error::not_sent(Kind::InvalidConfig).message(format!("the check of an endpoint: {what}"))
}

/// What RFC 9110 §5.6.2 calls a token.
fn is_token(text: &str) -> bool {
    let is_part = |of: u8| of.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&of);
    !text.is_empty() && text.len() <= 256 && text.bytes().all(is_part)
}

impl EndpointCheck {
    /// Creates a check that requests `path`, below the path of the endpoint.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for a path that does not begin with `/`, or that contains white space,
    /// control characters or a `#`.
    pub fn get(path: impl Into<String>) -> Result<Self, Error> {
        let path = path.into();
        let is_good = |of: u8| of.is_ascii_graphic() && of != b'#';
        if !path.starts_with('/') || path.len() > 2_048 || !path.bytes().all(is_good) {
            return Err(invalid("its path has to begin with `/`, without white space and `#`"));
        }
        Ok(Self { path, ..Self::default() })
    }

    /// Sets the method, such as `POST`.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for a text that is not a method, or `CONNECT`.
    pub fn with_method(mut self, method: impl Into<String>) -> Result<Self, Error> {
        let method = method.into();
        if !is_token(&method) || method == "CONNECT" {
            return Err(invalid("its method cannot be used"));
        }
        self.method = Some(method);
        Ok(self)
    }

    /// Adds a header, or replaces it.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for a name or value that is not valid. The value is not shown.
    pub fn with_header(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, Error> {
        let (name, value) = (name.into(), value.into());
        let is_value = |of: u8| of == b'\t' || (b' '..=b'~').contains(&of);
        if !is_token(&name) || value.len() > MAX || !value.bytes().all(is_value) {
            return Err(invalid("a header is not valid"));
        }
        self.headers.insert(name.to_ascii_lowercase(), value);
        Ok(self)
    }

    /// Sets the body of the request.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`] for more than 64 KiB.
    pub fn with_body(mut self, body: impl Into<String>) -> Result<Self, Error> {
        let body = body.into();
        if body.len() > MAX {
            return Err(invalid("its body may have 64 KiB"));
        }
        self.body = Some(body);
        Ok(self)
    }

    /// Sets the time from one check to the next, from 100 ms to an hour.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        let least = Duration::from_millis(100);
        self.interval = Some(interval.clamp(least, Duration::from_secs(3_600)));
        self
    }

    /// Sets how long a check may take. The time limit of the gate bounds it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets which statuses are healthy.
    #[must_use]
    pub fn with_expected(mut self, statuses: RangeInclusive<u16>) -> Self {
        self.expected = Some(statuses);
        self
    }

    /// Returns the path; empty if it was not set.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the method, if it was set.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// Returns the headers, with names in lower case.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    /// Returns the body, if it was set.
    pub fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// Returns the time from one check to the next, if it was set.
    pub fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Returns how long a check may take, if it was set.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns which statuses are healthy, if it was set.
    pub fn expected(&self) -> Option<RangeInclusive<u16>> {
        self.expected.clone()
    }
}

/// Shows the names of the headers, not their values, nor the body: those may be secrets.
impl fmt::Debug for EndpointCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointCheck")
            .field("path", &self.path)
            .field("method", &self.method)
            .field("headers", &self.headers.keys())
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_sent_is_refused_and_secrets_are_not_shown() {
        for path in ["", "health", "/a b", "/a\r\nx: y", "/a#b"] {
            assert!(EndpointCheck::get(path).is_err(), "{path}");
        }
        let check = || EndpointCheck::get("/health").unwrap();
        for method in ["", "GE T", "CONNECT"] {
            assert!(check().with_method(method).is_err(), "{method}");
        }
        for (name, value) in [("", "a"), ("a b", "a"), ("a", "secret\r\nx: y"), ("a", "\u{e9}")] {
            let error = check().with_header(name, value).unwrap_err();
            assert!(!error.to_string().contains("secret"));
        }
        assert!(check().with_body("x".repeat(MAX + 1)).is_err());
        let shown = check().with_header("A", "secret").unwrap().with_body("secret").unwrap();
        assert!(!format!("{shown:?}").contains("secret") && shown.headers().contains_key("a"));
    }
}
