//! What the messages of a plugin are written in.

use serde::{Serialize, de::DeserializeOwned};

use super::messages::{Health, Info};
use crate::{
    error::BoxError,
    plugin::{
        Encoded, Format, HealthStatus, PluginInfo,
        wire::{data, to_json, write_json},
    },
};

/// Flavour of plugin whose messages are JSON: `/PluginService/{Execute,Health,Info}`.
///
/// The bytes of a message are the JSON of the request or the answer alone, whose types implement serde's
/// `Serialize` and `Deserialize`. No message at all, of no bytes, is the zero value of its type.
///
/// ```
/// use tower_upstream::{grpc::Json, transport::GrpcTransport};
/// let transport: GrpcTransport<u64, u64, Json> = GrpcTransport::new();
/// # let _ = transport;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Json;

/// Flavour of plugin whose messages are Protocol Buffers: `/plugin.PluginService/{Execute,Health,Info}`.
///
/// Request and answer are messages of yours, which implement [`prost::Message`], or
/// [`Encoded`](crate::plugin::Encoded) ones, whose bytes go as they are. `Info` and `Health` answer an
/// empty message with these:
///
/// ```proto
/// package plugin;
/// message Info {
///   string name = 1; string version = 2; string description = 3; string author = 4;
///   repeated string capabilities = 5; map<string, string> metadata = 6;
/// }
/// // 1 is healthy, 2 degraded, 3 unhealthy.
/// message Health { int32 status = 1; string message = 2; map<string, string> metadata = 3; }
/// ```
///
/// ```
/// use tower_upstream::{grpc::Native, transport::GrpcTransport};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct TaxRequest {
///     #[prost(uint64, tag = "1")]
///     net: u64,
/// }
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct TaxReply {
///     #[prost(uint64, tag = "1")]
///     gross: u64,
/// }
/// let transport: GrpcTransport<TaxRequest, TaxReply, Native> = GrpcTransport::native();
/// # let _ = transport;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Native;

/// What the messages of a plugin are written in: [`Json`] or [`Native`].
///
/// Only this crate implements it.
pub trait Flavour: Send + Sync + 'static {
    /// Name of the service, which the paths of its methods begin with.
    #[doc(hidden)]
    const SERVICE: &'static str;

    #[doc(hidden)]
    fn write_info(info: &PluginInfo) -> Vec<u8>;

    #[doc(hidden)]
    fn read_info(message: &[u8]) -> Result<PluginInfo, BoxError>;

    #[doc(hidden)]
    fn write_health(health: &HealthStatus) -> Vec<u8>;

    #[doc(hidden)]
    fn read_health(message: &[u8]) -> Option<HealthStatus>;
}

/// Flavour in which messages of the type `T` can be written.
///
/// Only this crate implements it.
pub trait Encode<T>: Flavour {
    #[doc(hidden)]
    fn encode(value: &T, message: &mut Vec<u8>) -> Result<(), BoxError>;
}

/// Flavour in which messages of the type `T` can be read.
///
/// Only this crate implements it.
pub trait Decode<T>: Flavour {
    #[doc(hidden)]
    fn decode(message: &[u8]) -> Result<T, BoxError>;
}

impl Flavour for Json {
    const SERVICE: &'static str = "PluginService";

    fn write_info(info: &PluginInfo) -> Vec<u8> {
        to_json(info).unwrap_or_default()
    }

    fn read_info(message: &[u8]) -> Result<PluginInfo, BoxError> {
        Ok(PluginInfo::read(&String::from_utf8_lossy(message))?)
    }

    fn write_health(health: &HealthStatus) -> Vec<u8> {
        to_json(health).unwrap_or_default()
    }

    fn read_health(message: &[u8]) -> Option<HealthStatus> {
        HealthStatus::read(&String::from_utf8_lossy(message))
    }
}

impl<T: Serialize> Encode<T> for Json {
    fn encode(value: &T, message: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(write_json(value, message)?)
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(message: &[u8]) -> Result<T, BoxError> {
        match message.trim_ascii() {
            b"" => Ok(data(None)?),
            message => Ok(data(Some(serde_json::from_slice(message)?))?),
        }
    }
}

impl Flavour for Native {
    const SERVICE: &'static str = "plugin.PluginService";

    fn write_info(info: &PluginInfo) -> Vec<u8> {
        prost::Message::encode_to_vec(&Info::from(info))
    }

    fn read_info(message: &[u8]) -> Result<PluginInfo, BoxError> {
        Ok(<Info as prost::Message>::decode(message)?.into())
    }

    fn write_health(health: &HealthStatus) -> Vec<u8> {
        prost::Message::encode_to_vec(&Health::from(health))
    }

    fn read_health(message: &[u8]) -> Option<HealthStatus> {
        Some(<Health as prost::Message>::decode(message).ok()?.into())
    }
}

impl<T: prost::Message> Encode<T> for Native {
    fn encode(value: &T, message: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(value.encode(message)?)
    }
}

/// As it is, if it is a message of Protocol Buffers.
impl Encode<Encoded> for Native {
    fn encode(value: &Encoded, message: &mut Vec<u8>) -> Result<(), BoxError> {
        if value.format() != Format::Protobuf {
            return Err("it is JSON, not a message of Protocol Buffers".into());
        }
        message.extend_from_slice(value.as_bytes());
        Ok(())
    }
}

impl Decode<Encoded> for Native {
    fn decode(message: &[u8]) -> Result<Encoded, BoxError> {
        Ok(Encoded::protobuf(message.to_vec()))
    }
}

impl<T: prost::Message + Default> Decode<T> for Native {
    fn decode(message: &[u8]) -> Result<T, BoxError> {
        Ok(T::decode(message)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_tells_of_itself_is_the_same_in_both() {
        let info = PluginInfo::new("tax", "2.1.0").with_capability("vat").with_metadata("a", "b");
        let health = HealthStatus::unhealthy("no rates").with_metadata("rates", "0");
        fn both<F: Flavour>(info: &PluginInfo, health: &HealthStatus) {
            assert_eq!(F::read_info(&F::write_info(info)).unwrap(), *info);
            assert_eq!(F::read_health(&F::write_health(health)).unwrap(), *health);
        }
        both::<Json>(&info, &health);
        both::<Native>(&info, &health);
    }
}
