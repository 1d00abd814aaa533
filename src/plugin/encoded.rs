//! A body that is encoded already.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, ser::Error as _,
};
use serde_json::value::RawValue;

use super::wire::{data, misread, to_json, unwritable};
use crate::error::Error;

/// Why a message is not sent where JSON is.
const NOT_JSON: &str = "it is a protobuf message, and this plugin takes JSON (for messages there are \
                        `Plugins::register_grpc` and `GrpcTransport::native`)";

/// Body of a [`Call`](super::Call) or [`Reply`](super::Reply) that is encoded already, with its format.
///
/// A stack over `Call<Encoded>` serves plugins of any types: they share its connections, breakers and sets.
/// A [`CodecLayer`](crate::codec::CodecLayer) encodes before it, and decodes after it. The transports of this crate write JSON
/// as it is, without encoding it again; so does [`serve`](crate::serve) for a plugin that passes calls on.
///
/// A clone shares the bytes. JSON is checked once, where it comes from, and is kept in one line: a line end
/// between two values becomes a space.
///
/// `Serialize` and `Deserialize` are for `serde_json` only, and for JSON: writing a message in another format
/// is an error.
///
/// # Example
/// ```
/// use tower_upstream::plugin::Encoded;
///
/// let body = Encoded::encode(&("IT", 1_200))?;
/// assert_eq!(body.as_bytes(), br#"["IT",1200]"#);
/// assert_eq!(body.decode::<(String, u64)>()?.1, 1_200);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Encoded(Body);

#[derive(Clone)]
enum Body {
    Json(Arc<RawValue>),
    Protobuf(Bytes),
}

/// Format of an [`Encoded`] body.
///
/// ```
/// use tower_upstream::plugin::{Encoded, Format};
/// assert_eq!(Encoded::json("[]")?.format(), Format::Json);
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// One JSON value.
    Json,
    /// A message of Protocol Buffers, which is not checked.
    Protobuf,
}

impl Encoded {
    /// Encodes `value` as JSON, in the form in which Go writes it.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) with the code `RPC_2005` if the value
    /// cannot be written as JSON, such as a map whose keys are no text.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let text = to_json(value).map_err(|error| unwritable("the body", error))?;
        Self::json(String::from_utf8(text).map_err(|error| unwritable("the body", error))?)
    }

    /// Takes JSON that is written already.
    ///
    /// # Errors
    /// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig) with the code `RPC_2005` if it is not
    /// exactly one JSON value.
    ///
    /// ```
    /// use tower_upstream::plugin::Encoded;
    /// assert_eq!(Encoded::json("{\n}")?.as_bytes(), b"{ }");
    /// assert!(Encoded::json("{} {}").is_err());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn json(text: impl Into<String>) -> Result<Self, Error> {
        RawValue::from_string(text.into())
            .map(Self::of_raw)
            .map_err(|error| unwritable("the body", error))
    }

    /// Takes a message of Protocol Buffers.
    ///
    /// Transports that speak JSON do not send it: such a call fails, unsent.
    ///
    /// ```
    /// use tower_upstream::plugin::{Encoded, Format};
    /// let body = Encoded::protobuf(vec![8, 150, 1]);
    /// assert_eq!((body.format(), body.as_bytes().len()), (Format::Protobuf, 3));
    /// ```
    pub fn protobuf(message: impl Into<Bytes>) -> Self {
        Self(Body::Protobuf(message.into()))
    }

    /// Decodes JSON. `null` is the zero value of `T`, as in a reply.
    ///
    /// # Errors
    /// [`Kind::Transport`](crate::error::Kind::Transport) with the code `RPC_2005` if it is something else
    /// than a `T`, or no JSON. Does not count against an endpoint: the caller chooses the type.
    ///
    /// ```
    /// use tower_upstream::{error::Code, plugin::Encoded};
    /// let body = Encoded::json("[1,2]")?;
    /// assert_eq!(body.decode::<Vec<u8>>()?, [1, 2]);
    /// assert_eq!(body.decode::<String>().unwrap_err().code(), Code::RPC_2005);
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.read().map_err(Error::without_blame)
    }

    /// The same, where the endpoint is what has chosen the type.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match &self.0 {
            Body::Json(raw) => data(Some(raw)).map_err(misread),
            Body::Protobuf(_) => Err(misread("it is a protobuf message, not JSON")),
        }
    }

    /// A message of Protocol Buffers, where the endpoint is what has chosen the type.
    #[cfg(feature = "grpc")]
    pub(crate) fn read_message<T: prost::Message + Default>(&self) -> Result<T, Error> {
        match &self.0 {
            Body::Json(_) => Err(misread("it is JSON, not a protobuf message")),
            Body::Protobuf(message) => T::decode(&**message).map_err(misread),
        }
    }

    /// Returns its format.
    pub fn format(&self) -> Format {
        match &self.0 {
            Body::Json(_) => Format::Json,
            Body::Protobuf(_) => Format::Protobuf,
        }
    }

    /// Returns its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Body::Json(raw) => raw.get().as_bytes(),
            Body::Protobuf(message) => message,
        }
    }

    fn of_raw(raw: Box<RawValue>) -> Self {
        Self(Body::Json(in_one_line(raw).into()))
    }
}

/// JSON has line ends between its values only, where a space means the same. In a stream whose messages are
/// lines, one would end the message.
fn in_one_line(raw: Box<RawValue>) -> Box<RawValue> {
    if !raw.get().contains(['\n', '\r']) {
        return raw;
    }
    RawValue::from_string(raw.get().replace(['\n', '\r'], " ")).unwrap_or(raw)
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Body::Json(raw) => raw.serialize(serializer),
            Body::Protobuf(_) => Err(S::Error::custom(NOT_JSON)),
        }
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::deserialize(deserializer).map(Self::of_raw)
    }
}

impl PartialEq for Encoded {
    /// Compares formats and bytes.
    fn eq(&self, other: &Self) -> bool {
        self.format() == other.format() && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Encoded {}

/// Shows the format and the length, not the bytes: those may be secret.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("format", &self.format())
            .field("len", &self.as_bytes().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::error::{Code, Kind};

    #[test]
    fn json_is_written_as_it_is_and_in_one_line() {
        let body = Encoded::json(" {\"a\": 1.50,\r\n\"b\":\"<\\n\"}\n").unwrap();
        assert_eq!(body.as_bytes(), br#"{"a": 1.50,  "b":"<\n"}"#);
        assert_eq!(to_json(&body).unwrap(), body.as_bytes());
        let read: Encoded = serde_json::from_str("{\"a\":\n1.50}").unwrap();
        assert_eq!(read.as_bytes(), br#"{"a": 1.50}"#);
        assert_eq!(Encoded::encode("<é>").unwrap().as_bytes(), r#""\u003cé\u003e""#.as_bytes());
    }

    #[test]
    fn what_is_no_json_is_an_error_of_the_caller() {
        for text in ["", "{", "1 2", "{\"a\":}", "nul"] {
            let error = Encoded::json(text).unwrap_err();
            assert!(error.is_unsent() && !error.is_evidence(), "{error}");
            assert_eq!((error.kind(), error.code()), (Kind::InvalidConfig, Code::RPC_2005));
        }
        assert!(Encoded::encode(&BTreeMap::from([((1, 2), 3)])).is_err());
        let message = Encoded::protobuf(vec![8, 1]);
        assert!(to_json(&message).unwrap_err().to_string().contains("protobuf"));
        assert!(message.decode::<u8>().unwrap_err().to_string().contains("protobuf"));
    }

    #[test]
    fn the_type_is_the_choice_of_the_caller_or_of_the_endpoint() {
        let body = Encoded::json("\"x\"").unwrap();
        let (error, of_endpoint) =
            (body.decode::<u8>().unwrap_err(), body.read::<u8>().unwrap_err());
        assert!(!error.is_evidence() && of_endpoint.is_evidence() && !error.is_unsent());
        assert_eq!(Encoded::json("null").unwrap().decode::<u8>().unwrap(), 0);
    }

    #[test]
    fn the_bytes_stay_out_of_debug() {
        let shown = format!("{:?}", Encoded::json("\"secret\"").unwrap());
        assert_eq!(shown, "Encoded { format: Json, len: 8 }");
    }

    proptest! {
        #[test]
        fn json_in_one_line_means_the_same(text in "[\\[\\]{}\":,a-z0-9 \n\r\t\\\\]{0,40}") {
            let value = serde_json::from_str::<serde_json::Value>(&text);
            match Encoded::json(text.as_str()) {
                Ok(body) => {
                    prop_assert!(!body.as_bytes().contains(&b'\n'));
                    prop_assert_eq!(body.decode::<serde_json::Value>().unwrap(), value.unwrap());
                }
                Err(_) => prop_assert!(value.is_err(), "{}", text),
            }
        }
    }
}
