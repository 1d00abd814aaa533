//! What there is in etcd, for whoever asks once.

use bytes::Bytes;

use super::{
    super::{catalog::Catalog, register::Instance},
    etcd::Etcd,
    failure::nonsense,
    messages::{KeyValue, RangeRequest, RangeResponse},
};
use crate::error::{BoxError, Error};

/// Keys of one answer.
const PAGE: i64 = 1_000;
/// Most services that are listed, and keys that are looked through.
const MOST: usize = 100_000;

impl Catalog for Etcd {
    async fn list_services(&self) -> Result<Vec<String>, BoxError> {
        let mut names = Vec::<String>::new();
        // What is left of the last service tells nothing new.
        let next = |last: &KeyValue| self.keys.service(&last.key).map(|(_, _, end)| end);
        self.look(next, |kv| {
            match self.keys.service(&kv.key) {
                Some((name, Some(_), _)) if names.last() != Some(&name) => names.push(name),
                _ => {}
            }
            names.len() > MOST
        })
        .await?;
        // Keys are ordered by what comes after a name, too.
        names.sort_unstable();
        Ok(names)
    }

    async fn find_instance(&self, id: &str) -> Result<Option<Instance>, BoxError> {
        let (mut found, mut count) = (None, 0);
        let next = |last: &KeyValue| Some([&last.key[..], b"\0"].concat().into());
        self.look(next, |kv| {
            count += 1;
            let service = self.keys.service(&kv.key);
            if let Some((name, Some(_), _)) = service.filter(|(_, of, _)| of.as_deref() == Some(id))
            {
                found.get_or_insert((kv.key.clone(), name));
            }
            count > MOST
        })
        .await?;
        let Some((key, service)) = found else { return Ok(None) };
        let request = RangeRequest { key, limit: 1, ..RangeRequest::default() };
        match self.page(request).await?.kvs.first() {
            Some(kv) => Ok(Some(Instance::from_json_at(&kv.value, &service, id)?)),
            None => Ok(None),
        }
    }
}

impl Etcd {
    /// Looks at all keys, without their values, until there are too many. `next` tells where to go on after a
    /// page.
    async fn look(
        &self,
        next: impl Fn(&KeyValue) -> Option<Bytes>,
        mut is_too_much: impl FnMut(&KeyValue) -> bool,
    ) -> Result<(), Error> {
        let mut keys = self.keys.all();
        loop {
            let request = RangeRequest {
                key: keys.first.clone(),
                range_end: keys.end.clone(),
                limit: PAGE,
                revision: 0,
                keys_only: true,
            };
            let RangeResponse { kvs, more, .. } = self.page(request).await?;
            if kvs.iter().any(&mut is_too_much) {
                return Err(nonsense("", "there are more than 100,000 services or instances"));
            }
            match kvs.last().and_then(&next).filter(|next| more && *next > keys.first) {
                Some(next) => keys = keys.from(next),
                None => return Ok(()),
            }
        }
    }

    async fn page(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let link = self.client.link().await?;
        self.client.ask(&link, "/etcdserverpb.KV/Range", request).await
    }
}
