//! Where instances are: `PREFIX/SERVICE/ID`.

use bytes::Bytes;

use crate::error::{Error, Kind};

/// All keys that begin alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyRange {
    pub(super) first: Bytes,
    /// The first key after them.
    pub(super) end: Bytes,
}

impl KeyRange {
    /// The keys below `path`: not those of `/services-old`, if it is `/services`.
    fn below(path: &str) -> Self {
        let slash = |slash| Bytes::from(format!("{path}{slash}"));
        // What comes after a slash, in ASCII.
        Self { first: slash('/'), end: slash('0') }
    }

    /// The same keys, from `key` on.
    pub(super) fn from(&self, key: Bytes) -> Self {
        Self { first: key, end: self.end.clone() }
    }
}

/// The keys of a registry.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// Without a slash at its end.
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.trim_end_matches('/').to_owned() }
    }

    /// Those of all services.
    pub(super) fn all(&self) -> KeyRange {
        KeyRange::below(&self.prefix)
    }

    /// Those of a service.
    pub(super) fn of_service(&self, service: &str) -> Result<KeyRange, Error> {
        check("the name of a service", service)?;
        Ok(KeyRange::below(&format!("{}/{service}", self.prefix)))
    }

    /// That of an instance.
    pub(super) fn of_instance(&self, service: &str, id: &str) -> Result<Bytes, Error> {
        check("the id of an instance", id)?;
        let KeyRange { first, .. } = self.of_service(service)?;
        Ok([&first[..], id.as_bytes()].concat().into())
    }

    /// The service and the id of a key, and the first key after those of that service. Without a slash after the
    /// service, a key has no id.
    pub(super) fn service(&self, key: &[u8]) -> Option<(String, Option<String>, Bytes)> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"/")?;
        let service = rest.split(|byte| *byte == b'/').next()?;
        let after = key.len() - rest.len() + service.len();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let id = rest.get(service.len() + 1..).filter(|id| !id.is_empty() && !service.is_empty());
        let end = if service.len() < rest.len() { b"0" } else { b"\0" };
        Some((text(service), id.map(text), [&key[..after], end].concat().into()))
    }
}

/// Refuses a part of a key that would be more than one, or none.
pub(super) fn check(what: &str, part: &str) -> Result<(), Error> {
    let problem = match part {
        "" => "is empty",
        "." | ".." => "leads elsewhere",
        _ if part.contains('/') => "has a slash",
        _ if part.len() > MAX_PART => "is longer than 512 bytes",
        _ => return Ok(()),
    };
    let message = format!("{what} in etcd {problem}: `{}`", crate::wire::start(part, MAX_PART));
    Err(Error::not_sent(Kind::InvalidConfig).message(message))
}

const MAX_PART: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_slash() {
        for prefix in ["/services", "/services/", "/services//"] {
            let keys = Keys::new(prefix);
            let range = keys.of_service("tax").unwrap();
            let range = |key: &str| (&*range.first..&*range.end).contains(&key.as_bytes());
            for (key, expected) in [
                ("/services/tax/", true),
                ("/services/tax/a/b", true),
                ("/services/tax/\u{ffff}", true),
                ("/services/tax", false),
                ("/services/tax-old/a", false),
                ("/services/taxes/a", false),
            ] {
                assert_eq!(range(key), expected, "{prefix}: {key}");
            }
        }
        let keys = Keys::new("");
        assert_eq!((&*keys.all().first, &*keys.all().end), (&b"/"[..], &b"0"[..]));
    }

    #[test]
    fn a_key_tells_its_service_and_where_the_next_one_begins() {
        let keys = Keys::new("/services");
        let service = |key: &str| keys.service(key.as_bytes());
        for (key, name, id, end) in [
            ("/services/tax/1", "tax", Some("1"), "/services/tax0"),
            ("/services/tax/a/b", "tax", Some("a/b"), "/services/tax0"),
            ("/services/tax/", "tax", None, "/services/tax0"),
            ("/services/tax", "tax", None, "/services/tax\0"),
            ("/services//1", "", None, "/services/0"),
        ] {
            let expected = (name.to_owned(), id.map(str::to_owned), end.to_owned().into());
            assert_eq!(service(key), Some(expected), "{key}");
        }
        assert_eq!(service("/other/tax/1"), None);
        assert_eq!(service("/services-old/tax/1"), None);
    }

    #[test]
    fn a_part_is_one_part() {
        for wrong in ["", ".", "..", "a/b", "/", &"x".repeat(600)] {
            assert!(check("the id", wrong).is_err(), "{wrong}");
        }
        assert!(check("the id", "a-1.b:2").is_ok());
    }
}
