//! What there is in etcd, asked for once.

use bytes::Bytes;

use super::{
    super::{catalog::Catalog, register::Instance},
    book::read,
    etcd::Etcd,
    failure::nonsense,
    messages::{KeyValue, RangeRequest, RangeResponse},
    pages::{PAGE, page},
};
use crate::error::{BoxError, Error};

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
        let request = RangeRequest { key, ..RangeRequest::default() };
        let allows_sockets = self.client.config.allow_unix_sockets;
        match self.page(&mut 1, request).await?.kvs.first() {
            Some(kv) => Ok(Some(read(&kv.value, &service, id, allows_sockets)?)),
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
        let (mut keys, mut limit) = (self.keys.all(), PAGE);
        loop {
            let request = RangeRequest {
                key: keys.first.clone(),
                range_end: keys.end.clone(),
                keys_only: true,
                ..RangeRequest::default()
            };
            let RangeResponse { kvs, more, .. } = self.page(&mut limit, request).await?;
            if kvs.iter().any(&mut is_too_much) {
                return Err(nonsense("", "there are more than 100,000 services or instances"));
            }
            match kvs.last().and_then(&next).filter(|next| more && *next > keys.first) {
                Some(next) => keys = keys.from(next),
                None => return Ok(()),
            }
        }
    }

    async fn page(&self, limit: &mut i64, request: RangeRequest) -> Result<RangeResponse, Error> {
        let link = self.client.link().await?;
        page(&self.client, &link, limit, request).await
    }
}
