use serde::{Serialize, de::DeserializeOwned};

use crate::{error::Error, plugin::Encoded};

/// Format of JSON, which serde writes and reads. The default of a [`CodecLayer`](super::CodecLayer).
///
/// ```
/// use tower_upstream::codec::{CodecLayer, Json};
/// let layer: CodecLayer<u64, u64, Json> = CodecLayer::new();
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Json;

/// Format of Protocol Buffers, whose messages implement [`prost::Message`].
///
/// ```
/// use tower_upstream::codec::{CodecLayer, Protobuf};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Total {
///     #[prost(uint64, tag = "1")]
///     cents: u64,
/// }
/// let layer: CodecLayer<Total, Total, Protobuf> = CodecLayer::protobuf();
/// # let _ = layer;
/// ```
#[cfg(feature = "grpc")]
#[derive(Debug, Clone, Copy)]
pub struct Protobuf;

/// Format in which bodies of the type `T` can be written: [`Json`], or `Protobuf` with the feature `grpc`.
///
/// Only this crate implements it.
pub trait Writes<T>: Send + Sync + 'static {
    #[doc(hidden)]
    fn write(body: &T) -> Result<Encoded, Error>;
}

/// Format in which bodies of the type `T` can be read: [`Json`], or `Protobuf` with the feature `grpc`.
///
/// Only this crate implements it.
pub trait Reads<T>: Send + Sync + 'static {
    /// An error is the endpoint's.
    #[doc(hidden)]
    fn read(body: &Encoded) -> Result<T, Error>;
}

impl<T: Serialize> Writes<T> for Json {
    fn write(body: &T) -> Result<Encoded, Error> {
        Encoded::encode(body)
    }
}

impl<T: DeserializeOwned> Reads<T> for Json {
    fn read(body: &Encoded) -> Result<T, Error> {
        body.read()
    }
}

#[cfg(feature = "grpc")]
impl<T: prost::Message> Writes<T> for Protobuf {
    fn write(body: &T) -> Result<Encoded, Error> {
        Ok(Encoded::protobuf(body.encode_to_vec()))
    }
}

#[cfg(feature = "grpc")]
impl<T: prost::Message + Default> Reads<T> for Protobuf {
    fn read(body: &Encoded) -> Result<T, Error> {
        body.read_message()
    }
}
