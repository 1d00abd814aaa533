//! Types of services, and the names of their instances (RFC 6763 §4 and §7, RFC 6335 §5.1).

use crate::error::{Error, Kind, Quoted};

/// A type of services over TCP in the domain `local`: `_tax._tcp.local.`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ServiceType(String);

const PROTOCOL: &str = "._tcp";
const DOMAIN: &str = ".local.";
const MAX_NAME: usize = 15;
/// Most bytes of the name of an instance (RFC 6763 §4.1.1).
pub(super) const MAX_LABEL: usize = 63;

impl ServiceType {
    /// Reads a type, with or without the domain, in lower case.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let lower = text.to_ascii_lowercase();
        let kind = lower.strip_suffix('.').unwrap_or(&lower);
        let kind = kind.strip_suffix(".local").unwrap_or(kind);
        let name = kind.strip_prefix('_').and_then(|kind| kind.strip_suffix(PROTOCOL));
        let mistake = match name {
            None => Some("must be written as `_name._tcp`, in the domain `local`".to_owned()),
            Some(name) => mistake(name),
        };
        match mistake {
            Some(mistake) => {
                let shown = Quoted(text);
                let text = format!("the service type `{shown}` {mistake}");
                Err(Error::not_sent(Kind::InvalidConfig).message(text))
            }
            None => Ok(Self(format!("{kind}{DOMAIN}"))),
        }
    }

    /// A type in the spellings to search for, that in lower case first. Case does not count in a name (RFC 6762 §16),
    /// but what is heard is found only in the spelling that was asked for.
    pub(super) fn spellings(text: &str) -> Result<Vec<Self>, Error> {
        let lower = Self::parse(text)?;
        let name = lower.short().len() - PROTOCOL.len();
        let written = text.get(..name).map(|name| Self(format!("{name}{PROTOCOL}{DOMAIN}")));
        let written = written.filter(|written| *written != lower);
        Ok([lower].into_iter().chain(written).collect())
    }

    /// The type of a service that has one of its own. White space and `_` become `-`.
    pub(super) fn of_service(name: &str) -> Result<Self, Error> {
        let name = name.to_ascii_lowercase().replace(['_', ' '], "-");
        Self::parse(&format!("_{name}._tcp")).map_err(|error| {
            let shown = Quoted(&name);
            error.message(format!(
                "the service `{shown}` cannot have a service type of its own, since that has at most {MAX_NAME} \
                 letters, digits and single hyphens, and a letter; set a `service_type` that services share"
            ))
        })
    }

    /// With the domain and the dot at the end.
    pub(super) fn full(&self) -> &str {
        &self.0
    }

    /// Without the domain.
    pub(super) fn short(&self) -> &str {
        self.0.strip_suffix(DOMAIN).unwrap_or(&self.0)
    }

    /// The name of the instance that `full` names, as it was heard: without escapes.
    pub(super) fn label_of<'a>(&self, full: &'a str) -> Option<&'a str> {
        let at = full.len().checked_sub(self.0.len()).filter(|at| full.is_char_boundary(*at))?;
        let (label, kind) = full.split_at(at);
        let label = label.strip_suffix('.').filter(|_| kind.eq_ignore_ascii_case(&self.0))?;
        Some(label).filter(|label| !label.is_empty())
    }
}

/// Whether the daemon can ask for an instance with that name, and answer: it takes what it has heard for labels with dots
/// between them.
pub(super) fn is_askable(label: &str) -> bool {
    !label.contains(['.', '\\'])
}

fn mistake(name: &str) -> Option<String> {
    let is_known = |of: char| of.is_ascii_alphanumeric() || of == '-';
    let what = if name.is_empty() || name.len() > MAX_NAME {
        "must have a name of 1 to 15 characters"
    } else if !name.chars().all(is_known) {
        "must have a name of letters, digits and hyphens"
    } else if !name.contains(|of: char| of.is_ascii_alphabetic()) {
        "must have a letter in its name"
    } else if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        "must not have a hyphen at an end of its name, or two together"
    } else {
        return None;
    };
    Some(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_a_name_that_rfc_6335_allows() {
        for text in ["_tax._tcp", "_TAX._tcp.", "_tax._tcp.local", "_tax._tcp.local."] {
            let kind = ServiceType::parse(text).unwrap();
            assert_eq!((kind.full(), kind.short()), ("_tax._tcp.local.", "_tax._tcp"));
        }
        for (text, part) in [
            ("tax", "`_name._tcp`"),
            ("_tax._udp", "`_name._tcp`"),
            ("_tax._tcp.example.org", "`_name._tcp`"),
            ("__tcp", "`_name._tcp`"),
            ("_._tcp", "1 to 15"),
            ("_sixteen-letters-._tcp", "1 to 15"),
            ("_t x._tcp", "digits"),
            ("_a._sub._t._tcp", "digits"),
            ("_12._tcp", "a letter"),
            ("_-a._tcp", "hyphen"),
            ("_a-._tcp", "hyphen"),
            ("_a--b._tcp", "hyphen"),
        ] {
            let error = ServiceType::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_type_is_looked_for_as_it_is_written_too() {
        for (text, expected) in [
            ("_tax._tcp", &["_tax._tcp.local."][..]),
            ("_tax._tcp.LOCAL.", &["_tax._tcp.local."]),
            ("_shipPairing._tcp", &["_shippairing._tcp.local.", "_shipPairing._tcp.local."]),
            ("_TAX._TCP.Local", &["_tax._tcp.local.", "_TAX._tcp.local."]),
        ] {
            let kinds = ServiceType::spellings(text).unwrap();
            assert_eq!(kinds.iter().map(ServiceType::full).collect::<Vec<_>>(), expected);
        }
        assert!(ServiceType::spellings("Tax").is_err());
    }

    #[test]
    fn a_service_has_the_type_that_the_go_library_gives_it() {
        assert_eq!(ServiceType::of_service("Tax_API v2").unwrap().short(), "_tax-api-v2._tcp");
        let error = ServiceType::of_service("a-name-that-is-too-long").unwrap_err().to_string();
        assert!(error.contains("set a `service_type`"), "{error}");
    }

    #[test]
    fn the_name_of_an_instance_is_what_stands_before_its_type() {
        let kind = ServiceType::parse("_tax._tcp").unwrap();
        for (full, label) in [
            ("tax-1._tax._tcp.local.", Some("tax-1")),
            ("Tax 1.b\\._TAX._tcp.local.", Some("Tax 1.b\\")),
            ("\u{fc}\u{1f980}._tax._tcp.local.", Some("\u{fc}\u{1f980}")),
            ("._tax._tcp.local.", None),
            ("_tax._tcp.local.", None),
            ("tax-1._vat._tcp.local.", None),
            ("x", None),
        ] {
            assert_eq!(kind.label_of(full), label);
        }
    }
}
