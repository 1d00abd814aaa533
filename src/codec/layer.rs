use std::{fmt, marker::PhantomData};

use tower_layer::Layer;

use super::{format::Json, service::Codec};

/// Makes a service of `Call<Encoded>` one of `Call<Req>`, whose replies are `Reply<Res>`.
///
/// # Whose fault
/// The type of an answer is the choice of the caller above a stack that is shared: an answer of another type
/// fails with [`Kind::Transport`](crate::error::Kind::Transport), code `RPC_2005`, and does not count against
/// the endpoint, since the callers of other types get what they expect. Below a balancer, where each
/// endpoint has these types, it counts, as it does in a transport of these types.
///
/// # Errors
/// [`Kind::InvalidConfig`](crate::error::Kind::InvalidConfig), code `RPC_2005`, if the request cannot be
/// written in the format `F`. It is not sent.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_upstream::{BoxError, Call, Reply, codec::CodecLayer, plugin::Encoded};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
/// let echo = service_fn(async |call: Call<Encoded>| Ok::<_, BoxError>(Reply::new(call.into_body())));
/// let stack = ServiceBuilder::new().layer(CodecLayer::<[u8; 2], Vec<u64>>::new()).service(echo);
/// assert_eq!(stack.oneshot(Call::new([1, 2])).await?.into_body(), [1, 2]);
/// # Ok(()) }
/// ```
pub struct CodecLayer<Req, Res, F = Json> {
    types: PhantomData<fn(Req, F) -> Res>,
}

impl<Req, Res> CodecLayer<Req, Res> {
    /// Creates a layer that writes and reads JSON.
    pub const fn new() -> Self {
        Self { types: PhantomData }
    }
}

#[cfg(feature = "grpc")]
impl<Req, Res> CodecLayer<Req, Res, super::format::Protobuf> {
    /// Creates a layer that writes and reads messages of Protocol Buffers, for a stack over
    /// [`GrpcTransport::native`](crate::transport::GrpcTransport::native).
    pub const fn protobuf() -> Self {
        Self { types: PhantomData }
    }
}

impl<S, Req, Res, F> Layer<S> for CodecLayer<Req, Res, F> {
    type Service = Codec<S, Req, Res, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Codec::new(inner)
    }
}

impl<Req, Res> Default for CodecLayer<Req, Res> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Req, Res, F> Clone for CodecLayer<Req, Res, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Req, Res, F> Copy for CodecLayer<Req, Res, F> {}

impl<Req, Res, F> fmt::Debug for CodecLayer<Req, Res, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodecLayer").finish()
    }
}
