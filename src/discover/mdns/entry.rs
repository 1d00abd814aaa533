//! What becomes of an instance that was found.

use super::{
    super::host::endpoint_at,
    places::{Place, best},
    txt::Said,
};
use crate::{
    endpoint::Endpoint,
    error::{Error, Kind, Quoted},
};

/// Most bytes of a key, as of an id that a registry takes.
const MAX_KEY: usize = 255;

/// The endpoint of the instance `label`.
///
/// # Errors
/// It cannot be reached: it has no port, or no address that can be used.
pub(super) fn endpoint(
    label: &str,
    port: u16,
    places: &[Place],
    said: &Said,
    ipv6: bool,
) -> Result<Endpoint, Error> {
    let shown = || Quoted(label);
    let unusable = |what: &str| {
        let text = format!("the instance `{}` {what}", shown());
        Error::not_sent(Kind::InvalidConfig).message(text)
    };
    if port == 0 {
        return Err(unusable("has no port"));
    }
    let place = best(places, ipv6).ok_or_else(|| unusable("has no address that can be used"))?;
    let path = said.path().unwrap_or_default();
    let endpoint = endpoint_at(said.scheme(), &place.host(), Some(port), path)?;
    let key = said.id().unwrap_or(label);
    if key.len() > MAX_KEY || key.contains(char::is_control) {
        return Err(unusable("has an id that cannot be used"));
    }
    Ok(said.of(endpoint.with_key(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(port: u16, pairs: &[(&str, &str)]) -> Result<Endpoint, Error> {
        let place = Place { ip: [10, 1, 4, 9].into(), scope: None, heard_at: Vec::new() };
        let pairs = pairs.iter().map(|(key, value)| (*key, Some(value.as_bytes())));
        endpoint("orders 7", port, &[place], &Said::read(pairs), false)
    }

    #[test]
    fn an_instance_is_known_by_its_id_or_else_by_its_name() {
        assert_eq!(found(8443, &[]).unwrap().key(), "orders 7");
        let endpoint = found(8443, &[("id", "orders-7"), ("protocol", "https"), ("path", "/v1")]);
        let endpoint = endpoint.unwrap();
        assert_eq!(endpoint.key(), "orders-7");
        assert_eq!(endpoint.address().as_str(), "https://10.1.4.9:8443/v1");
    }

    #[test]
    fn an_instance_that_cannot_be_reached_is_no_endpoint() {
        for (port, pairs) in [
            (0, [("id", "1")]),
            (80, [("protocol", "exec")]),
            (80, [("protocol", "unix")]),
            (80, [("protocol", "http+unix")]),
            (80, [("protocol", "a b")]),
            (80, [("path", "/a b")]),
            (80, [("path", "/?q")]),
            (80, [("id", "a\nb")]),
        ] {
            assert!(found(port, &pairs).is_err(), "{pairs:?}");
        }
        assert!(endpoint("a", 80, &[], &Said::default(), true).is_err());
    }
}
