//! Reads an answer in one pass, if it is plain: that costs half of what reading does which is as lenient as Go's.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, MapAccess, Visitor},
};

use crate::plugin::{Reply, wire::Pairs};

/// The reply that `text` is, if it is an object with each member once, under its usual name, with `data`
/// that is a `Res`, and with no error. What follows the object is not looked at.
pub(super) fn plain<Res: DeserializeOwned>(text: &str) -> Option<Reply<Res>> {
    let read = Plain::deserialize(&mut serde_json::Deserializer::from_str(text));
    read.ok().map(|Plain(reply)| reply)
}

struct Plain<Res>(Reply<Res>);

impl<'de, Res: DeserializeOwned> Deserialize<'de> for Plain<Res> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PlainVisitor(PhantomData)).map(Self)
    }
}

struct PlainVisitor<Res>(PhantomData<Res>);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Member {
    Data,
    RequestId,
    Metadata,
}

impl<'de, Res: DeserializeOwned> Visitor<'de> for PlainVisitor<Res> {
    type Value = Reply<Res>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut data, mut id, mut metadata) = (None::<Res>, None::<String>, None::<Pairs>);
        while let Some(member) = map.next_key()? {
            match member {
                Member::Data if data.is_none() => data = Some(map.next_value()?),
                Member::RequestId if id.is_none() => id = Some(map.next_value()?),
                Member::Metadata if metadata.is_none() => metadata = Some(map.next_value()?),
                _ => return Err(A::Error::custom("not plain")),
            }
        }
        let mut reply = Reply::new(data.ok_or_else(|| A::Error::missing_field("data"))?);
        if let Some(id) = id {
            reply = reply.with_request_id(id);
        }
        let pairs = metadata.unwrap_or_default().0.into_iter();
        Ok(pairs.fold(reply, |reply, (key, value)| reply.with_metadata(key, value)))
    }
}
