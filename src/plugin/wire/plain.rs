//! Reads an answer in one pass, if it is plain: that costs half of what reading does which is as lenient as Go's.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor},
};

use super::envelope::Pairs;
use crate::plugin::Reply;

/// An answer with data and without an error.
#[derive(Debug)]
pub(crate) struct Plain<Res> {
    pub(crate) reply: Reply<Res>,
    /// What it says of that, as the answers of a stream do.
    pub(crate) success: Option<bool>,
}

impl<Res: DeserializeOwned> Plain<Res> {
    /// The answer that `text` is, if it is an object with each member once, under its usual name, with
    /// `data` that is a `Res`. What follows the object is not looked at.
    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::deserialize(&mut serde_json::Deserializer::from_str(text)).ok()
    }
}

impl<'de, Res: DeserializeOwned> Deserialize<'de> for Plain<Res> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PlainVisitor(PhantomData))
    }
}

struct PlainVisitor<Res>(PhantomData<Res>);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Member {
    Type,
    RequestId,
    Success,
    Data,
    Metadata,
}

impl<'de, Res: DeserializeOwned> Visitor<'de> for PlainVisitor<Res> {
    type Value = Plain<Res>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain answer")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut id, mut success) = (None::<String>, None::<bool>);
        let (mut data, mut metadata) = (None::<Res>, None::<Pairs>);
        while let Some(member) = map.next_key()? {
            match member {
                // It is the question's, and is never looked at.
                Member::Type => drop(map.next_value::<IgnoredAny>()?),
                Member::RequestId if id.is_none() => id = Some(map.next_value()?),
                Member::Success if success.is_none() => success = Some(map.next_value()?),
                Member::Data if data.is_none() => data = Some(map.next_value()?),
                Member::Metadata if metadata.is_none() => metadata = Some(map.next_value()?),
                _ => return Err(A::Error::custom("not plain")),
            }
        }
        let mut reply = Reply::new(data.ok_or_else(|| A::Error::missing_field("data"))?);
        if let Some(id) = id {
            reply = reply.with_request_id(id);
        }
        let pairs = metadata.unwrap_or_default().0.into_iter();
        let reply = pairs.fold(reply, |reply, (key, value)| reply.with_metadata(key, value));
        Ok(Plain { reply, success })
    }
}
