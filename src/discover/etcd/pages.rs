//! Reading keys in pages, each of as many keys as fit in a message.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{
    client::Client,
    failure::{is_too_long, nonsense},
    inbox::Change,
    keys::KeyRange,
    link::Link,
    messages::{Header, KeyValue, RangeRequest, RangeResponse},
};
use crate::error::Error;

/// Keys of one answer, if so many fit.
pub(super) const PAGE: i64 = 1_000;
/// Most instances of a service, and bytes of their keys and values.
const MAX_INSTANCES: usize = 100_000;
const MAX_BYTES: usize = 256 << 20;

/// What was read so far.
#[derive(Default)]
struct Pages {
    all: BTreeMap<Bytes, Change>,
    bytes: usize,
}

impl Pages {
    /// Takes in a page. Tells its last key.
    fn take(&mut self, kvs: Vec<KeyValue>) -> Result<Option<Bytes>, &'static str> {
        let last = kvs.last().map(|kv| kv.key.clone());
        for KeyValue { key, value, mod_revision, .. } in kvs {
            self.bytes += key.len() + value.len();
            self.all.insert(key, Change { value: Some(value), revision: mod_revision });
        }
        if self.all.len() > MAX_INSTANCES {
            return Err("a service has more than 100,000 instances");
        }
        if self.bytes > MAX_BYTES {
            return Err("the instances of a service have more than 256 MiB");
        }
        Ok(last)
    }
}

/// All keys of a range, and where the store was when they were read.
pub(super) async fn range(
    client: &Client,
    link: &Arc<Link>,
    keys: KeyRange,
) -> Result<(BTreeMap<Bytes, Change>, Header), Error> {
    let (mut pages, mut at, mut next) = (Pages::default(), None::<Header>, keys.clone());
    let mut limit = PAGE;
    loop {
        let request = RangeRequest {
            key: next.first,
            range_end: next.end,
            // The same state for all pages.
            revision: at.as_ref().map_or(0, |header| header.revision),
            ..RangeRequest::default()
        };
        let RangeResponse { header, kvs, more, .. } =
            page(client, link, &mut limit, request).await?;
        let header = header.unwrap_or_default();
        if header.revision <= 0 {
            return Err(nonsense(&link.url, "an answer without a revision"));
        }
        let at = at.get_or_insert(header);
        match pages.take(kvs).map_err(|what| nonsense(&link.url, what))? {
            Some(last) if more => next = keys.from([&last[..], b"\0"].concat().into()),
            _ => return Ok((pages.all, std::mem::take(at))),
        }
    }
}

/// At most `limit` keys, which is halved until they fit.
pub(super) async fn page(
    client: &Client,
    link: &Arc<Link>,
    limit: &mut i64,
    request: RangeRequest,
) -> Result<RangeResponse, Error> {
    loop {
        let request = RangeRequest { limit: *limit, ..request.clone() };
        match client.ask(link, "/etcdserverpb.KV/Range", request).await {
            Err(error) if *limit > 1 && is_too_long(&error) => *limit /= 2,
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_bounded() {
        let kv = |number: usize, value: &Bytes| KeyValue {
            key: Bytes::from(number.to_string()),
            value: value.clone(),
            ..KeyValue::default()
        };
        let read = |count: usize, value: Bytes| {
            let mut pages = Pages::default();
            let mut taken = (0..count).map(|number| pages.take(vec![kv(number, &value)]));
            taken.find_map(Result::err)
        };
        assert_eq!(read(100_000, Bytes::new()), None);
        assert!(read(100_001, Bytes::new()).unwrap().contains("100,000 instances"));
        let value = Bytes::from(vec![b'x'; 1 << 20]);
        assert_eq!(read(255, value.clone()), None);
        assert!(read(257, value).unwrap().contains("256 MiB"));
    }
}
