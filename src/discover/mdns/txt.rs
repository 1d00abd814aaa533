//! What an instance says of itself in its TXT record (RFC 6763 §6), in the layout of the Go library.

use std::collections::{BTreeMap, HashSet};

use super::{super::register::Instance, kind::ServiceType};
use crate::{
    endpoint::{Endpoint, Status},
    error::{Error, Kind},
};

/// Most bytes of one string.
const MAX_STRING: usize = 255;
/// Most bytes of a record: what one packet holds.
const MAX_RECORD: usize = 1_300;
/// Keys that are no metadata. What Go does not know of them is metadata to it.
const RESERVED: [&str; 14] = [
    "name",
    "version",
    "id",
    "tags",
    "mdns.service_type",
    "weight",
    "priority",
    "status",
    "draining",
    "protocol",
    "path",
    "region",
    "zone",
    "sub_zone",
];

/// The pairs of a record.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    /// By their keys in lower case; the key as it was written, and the value.
    pairs: BTreeMap<String, (String, String)>,
}

impl Said {
    /// Takes the first pair of each key. A key alone is a value that is true; what is no text is left out.
    pub(super) fn read<'a>(strings: impl IntoIterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        let (mut pairs, mut seen) = (BTreeMap::new(), HashSet::new());
        for (key, value) in strings {
            let lower = key.to_ascii_lowercase();
            if !is_key(key) || !seen.insert(lower.clone()) {
                continue;
            }
            let value = value.map_or(Ok("true"), std::str::from_utf8);
            if let Ok(value) = value {
                pairs.insert(lower, (key.to_owned(), value.to_owned()));
            }
        }
        Self { pairs }
    }

    /// A value that is not empty.
    fn get(&self, key: &str) -> Option<&str> {
        let value = self.pairs.get(key).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.get("id").or(self.get("farp.id"))
    }

    pub(super) fn scheme(&self) -> Option<&str> {
        self.get("protocol")
    }

    pub(super) fn path(&self) -> Option<&str> {
        self.get("path").filter(|path| path.starts_with('/') && *path != "/")
    }

    /// `endpoint` with all that is said of it.
    pub(super) fn of(&self, endpoint: Endpoint) -> Endpoint {
        let number = |key: &str| self.get(key).and_then(|text| text.parse().ok());
        let place = |key: &str| self.get(key).unwrap_or_default().to_owned();
        let status = match self.get("status").or(self.get("farp.status")) {
            Some("passing") => Status::Passing,
            Some("warning") => Status::Warning,
            Some("critical") => Status::Critical,
            _ => Status::Unknown,
        };
        let mut endpoint = endpoint
            .with_weight(number("weight").unwrap_or(1))
            .with_priority(number("priority").unwrap_or(0))
            .with_status(status)
            .with_draining(self.get("draining") == Some("true"))
            .with_locality(crate::endpoint::Locality {
                region: place("region"),
                zone: place("zone"),
                sub_zone: place("sub_zone"),
            });
        for (lower, (key, value)) in &self.pairs {
            if !RESERVED.contains(&lower.as_str()) {
                let key = key.strip_prefix("farp.meta.").unwrap_or(key);
                endpoint = endpoint.with_metadata(key, value);
            }
        }
        // Last, so that no metadata stands for them.
        let of_service = [("name", self.get("name").or(self.get("farp.service")))];
        for (key, value) in of_service.into_iter().chain([("version", self.get("version"))]) {
            if let Some(value) = value {
                endpoint = endpoint.with_metadata(key, value);
            }
        }
        let tags = self.get("tags").unwrap_or_default().split(',').map(str::trim);
        tags.filter(|tag| !tag.is_empty()).fold(endpoint, Endpoint::with_tag)
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|of| matches!(of, b' '..=b'~') && of != b'=')
}

/// The strings of a record, and what of the instance they lack.
#[derive(Debug, PartialEq)]
pub(super) struct Written {
    pub(super) pairs: Vec<(String, String)>,
    /// Keys of metadata, and tags.
    pub(super) left_out: Vec<String>,
}

/// Writes the record of an instance.
///
/// # Errors
/// [`Kind::InvalidConfig`] if what every instance has does not fit.
pub(super) fn write(instance: &Instance, kind: &ServiceType) -> Result<Written, Error> {
    let endpoint = instance.endpoint();
    let metadata = endpoint.metadata();
    let version = metadata.get("version").map_or("", String::as_str);
    let first = [("name", instance.service()), ("version", version), ("id", instance.id())];
    let last = last(endpoint, kind);
    let needed: usize = first.iter().map(|(key, value)| size(key, value)).sum::<usize>()
        + last.iter().map(|(key, value)| size(key, value)).sum::<usize>();
    let is_long = |key: &str, value: &str| size(key, value) > MAX_STRING + 1;
    let long = first.iter().find(|(key, value)| is_long(key, value)).map(|(key, _)| *key);
    let long = long.or(last.iter().find(|(key, value)| is_long(key, value)).map(|(key, _)| *key));
    if let Some(key) = long.or((needed > MAX_RECORD).then_some("all")) {
        let id = instance.id();
        let text =
            format!("`{id}` cannot be announced by mDNS: `{key}` is too long for a TXT record");
        return Err(Error::not_sent(Kind::InvalidConfig).message(text));
    }

    let (mut room, mut left_out) = (MAX_RECORD - needed, Vec::new());
    let mut pairs: Vec<_> =
        first.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut taken: HashSet<String> = RESERVED.iter().map(|key| (*key).to_owned()).collect();
    for (key, value) in metadata {
        // What it is told in a string of its own.
        let is_told = key == "version" || key == "name" && value == instance.service();
        let fits = is_key(key) && !is_long(key, value) && size(key, value) <= room;
        if !is_told && fits && taken.insert(key.to_ascii_lowercase()) {
            room -= size(key, value);
            pairs.push((key.clone(), value.clone()));
        } else if !is_told {
            left_out.push(key.clone());
        }
    }
    let mut tags = String::new();
    for tag in endpoint.tags() {
        let with = if tags.is_empty() { tag.clone() } else { format!("{tags},{tag}") };
        let is_one = !tag.is_empty() && tag.trim() == tag && !tag.contains(',');
        if is_one && !is_long("tags", &with) && size("tags", &with) <= room {
            tags = with;
        } else {
            left_out.push(tag.clone());
        }
    }
    if !tags.is_empty() {
        pairs.push(("tags".to_owned(), tags));
    }
    pairs.extend(last.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Ok(Written { pairs, left_out })
}

/// What follows the metadata: the type, and what Go does not know, if it is not the default.
fn last(endpoint: &Endpoint, kind: &ServiceType) -> Vec<(&'static str, String)> {
    let status = match endpoint.status() {
        Status::Unknown => "",
        Status::Passing => "passing",
        Status::Warning => "warning",
        Status::Critical => "critical",
    };
    let (address, place) = (endpoint.address(), endpoint.locality());
    let number = |number: u32, default: u32| match number == default {
        true => String::new(),
        false => number.to_string(),
    };
    let all = [
        ("mdns.service_type", kind.short().to_owned()),
        ("protocol", address.scheme().unwrap_or_default().to_owned()),
        ("path", address.path().to_owned()),
        ("weight", number(endpoint.weight(), 1)),
        ("priority", number(endpoint.priority(), 0)),
        ("status", status.to_owned()),
        ("draining", if endpoint.is_draining() { "true" } else { "" }.to_owned()),
        ("region", place.region.clone()),
        ("zone", place.zone.clone()),
        ("sub_zone", place.sub_zone.clone()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Bytes of a string, with its length.
fn size(key: &str, value: &str) -> usize {
    1 + key.len() + 1 + value.len()
}

#[cfg(test)]
#[path = "txt_tests.rs"]
mod tests;
