//! Plugins of different types beside each other: bodies are encoded before a stack, and decoded after it.

use serde::{Serialize, de::DeserializeOwned};
use tower_layer::Layer;

#[cfg(feature = "grpc")]
use super::{built_in, connector::AnyConnector, settings};
use super::{plugins::Plugins, upstream::Upstream};
#[cfg(feature = "grpc")]
use crate::{
    codec::Protobuf,
    config::{PluginConfig, Sections},
    error::{Code, Error, Quoted},
    transport::GrpcTransport,
};
use crate::{
    codec::{Codec, CodecLayer},
    plugin::Encoded,
};

/// A plugin of [`Plugins<Encoded, Encoded>`](Plugins) whose calls have the body `A` and whose replies have `B`,
/// in a format of [`codec`](crate::codec).
///
/// ```
/// use tower_upstream::plugins::Typed;
/// struct Taxes {
///     rates: Typed<String, Vec<f64>>,
/// }
/// ```
pub type Typed<A, B, F = crate::codec::Json> = Codec<Upstream<Encoded, Encoded>, A, B, F>;

impl Plugins<Encoded, Encoded> {
    /// Returns the plugin of that name, as a service of bodies of these types: they are encoded before its
    /// stack, and decoded after it. All types share its circuits, connections and endpoints.
    ///
    /// ```
    /// use tower_upstream::{config::{Config, PluginConfig}, plugin::Encoded, plugins::Plugins};
    /// let tax = PluginConfig::new("tax", "http").with_endpoint("http://a:80");
    /// let plugins =
    ///     Plugins::<Encoded, Encoded>::from_config(Config::default().with_plugin(tax))?;
    /// let rates = plugins.typed::<String, Vec<f64>>("tax");
    /// let total = plugins.typed::<u64, u64>("tax");
    /// assert!(rates.is_some() && total.is_some());
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    pub fn typed<A, B>(&self, name: &str) -> Option<Typed<A, B>>
    where
        A: Serialize,
        B: DeserializeOwned,
    {
        self.get(name).map(|upstream| CodecLayer::new().layer(upstream))
    }

    /// Registers a plugin over gRPC whose messages are Protocol Buffers, and returns it as a service of these
    /// messages. A call is the unary `/plugin.PluginService/Execute`, whose bodies are the messages alone.
    ///
    /// All sections of `plugin` are those of a plugin from a file.
    ///
    /// # Errors
    /// Those of [`register_config`](Self::register_config); `PLUGIN_1008` for a `transport` that is neither
    /// `grpc` nor `grpc-tls`.
    ///
    /// ```
    /// use tower_upstream::{config::PluginConfig, plugin::Encoded, plugins::Plugins};
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
    /// let plugins = Plugins::<Encoded, Encoded>::new();
    /// let tax = PluginConfig::new("tax", "grpc").with_endpoint("tax.example:50051");
    /// let tax = plugins.register_grpc::<TaxRequest, TaxReply>(tax)?;
    /// # let _ = tax;
    /// # Ok::<(), tower_upstream::Error>(())
    /// ```
    #[cfg(feature = "grpc")]
    pub fn register_grpc<A, B>(&self, plugin: PluginConfig) -> Result<Typed<A, B, Protobuf>, Error>
    where
        A: prost::Message,
        B: prost::Message + Default,
    {
        let name = plugin.name.clone();
        self.program.register(plugin, Some(Box::new(native)))?;
        self.get(&name)
            .map(|upstream| CodecLayer::protobuf().layer(upstream))
            .ok_or_else(|| self.unknown(&name))
    }

    /// Returns the plugin of that name, which was registered with [`register_grpc`](Self::register_grpc), as a
    /// service of these messages; `None` if there is none, or if it speaks JSON, as all plugins from a file do.
    ///
    /// ```
    /// use tower_upstream::{plugin::Encoded, plugins::Plugins};
    /// let plugins = Plugins::<Encoded, Encoded>::new();
    /// assert!(plugins.typed_grpc::<String, u64>("tax").is_none());
    /// ```
    #[cfg(feature = "grpc")]
    pub fn typed_grpc<A, B>(&self, name: &str) -> Option<Typed<A, B, Protobuf>>
    where
        A: prost::Message,
        B: prost::Message + Default,
    {
        let place = self.program.names.get(name)?;
        let current = place.core().current();
        let speaks_json = current.core().made().is_some_and(|made| !made.is_native);
        drop((place, current));
        if speaks_json {
            return None;
        }
        self.get(name).map(|upstream| CodecLayer::protobuf().layer(upstream))
    }
}

/// The connector to a plugin over gRPC whose messages are Protocol Buffers.
#[cfg(feature = "grpc")]
fn native(
    plugin: &PluginConfig,
    sections: &Sections,
) -> Result<AnyConnector<Encoded, Encoded>, Error> {
    if !["grpc", "grpc-tls"].contains(&&*plugin.transport) {
        let transport = Quoted(&plugin.transport);
        let text = format!(
            "plugin `{}`: its messages are Protocol Buffers, so its `transport` must be `grpc` or `grpc-tls`, \
             not `{transport}`",
            plugin.name
        );
        return Err(Error::invalid_config(text).coded(Some(Code::PLUGIN_1008)));
    }
    if built_in::missing_feature(&plugin.transport).is_some() {
        let names = built_in::names().filter(|name| name.starts_with("grpc"));
        return Err(built_in::unknown(
            &plugin.transport,
            &names.map(str::to_owned).collect::<Vec<_>>(),
        ));
    }
    let transport = GrpcTransport::native_with_config(settings::grpc(plugin, sections)?)
        .with_credentials(sections.auth.credentials()?);
    Ok(AnyConnector::with_health(transport).into_built_in())
}
