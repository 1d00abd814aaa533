use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    guard::{Avoiding, Hedging, Hold, Pass, Plain, ResponseFuture},
    member::Member,
    plugin::{Call, Encoded, Reply},
};

/// Service of a [`CodecLayer`](super::CodecLayer), and the connector that it is below a balancer.
///
/// # Cancel safety
/// Dropping the response drops that of the service inside.
///
/// # Example
/// ```
/// use tower::Layer;
/// use tower_upstream::codec::{Codec, CodecLayer};
/// let codec: Codec<_, u64, u64> = CodecLayer::new().layer("a service");
/// assert_eq!(*codec.get_ref(), "a service");
/// ```
pub struct Codec<S, Req, Res> {
    inner: S,
    decode: Decode<Res>,
    types: PhantomData<fn(Req) -> Res>,
}

/// Decodes a reply. A part of the response future of a [`Codec`].
///
/// ```
/// use std::convert::Infallible;
/// use tower_upstream::{Reply, codec::Decode, guard::ResponseFuture, plugin::Encoded};
///
/// type Inner = std::future::Ready<Result<Reply<Encoded>, Infallible>>;
/// type OfCodec = ResponseFuture<Inner, Decode<u64>>;
/// ```
pub struct Decode<Res> {
    /// Below a balancer, where the type is that of the endpoint.
    of_member: bool,
    types: PhantomData<fn() -> Res>,
}

impl<S, Req, Res> Codec<S, Req, Res> {
    pub(super) fn new(inner: S) -> Self {
        Self::with(inner, Decode { of_member: false, types: PhantomData })
    }

    fn with(inner: S, decode: Decode<Res>) -> Self {
        Self { inner, decode, types: PhantomData }
    }

    inner_service!();

    fn pass<P>(&mut self, call: Call<Req>, way: P) -> ResponseFuture<P::Future, Decode<Res>>
    where
        P: Pass<S, Call<Encoded>>,
        Req: Serialize,
    {
        match Encoded::encode(call.body()) {
            Ok(body) => {
                let inner = way.pass(&mut self.inner, call.map(|_| body));
                ResponseFuture::holding(self.decode, inner)
            }
            Err(error) => ResponseFuture::refused_with(self.decode, error),
        }
    }
}

impl<S, Req, Res> Service<Call<Req>> for Codec<S, Req, Res>
where
    S: Service<Call<Encoded>, Response = Reply<Encoded>>,
    S::Error: Into<BoxError> + 'static,
    Req: Serialize,
    Res: DeserializeOwned,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = ResponseFuture<S::Future, Decode<Res>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    fn call(&mut self, call: Call<Req>) -> Self::Future {
        self.pass(call, Plain)
    }
}

impl<S, Req, Res> Choose<Call<Req>> for Codec<S, Req, Res>
where
    S: Choose<Call<Encoded>, Response = Reply<Encoded>>,
    S::Error: Into<BoxError> + 'static,
    Req: Serialize,
    Res: DeserializeOwned,
{
    type Choosing = ResponseFuture<S::Choosing, Decode<Res>>;

    fn call_avoiding(&mut self, call: Call<Req>, tried: &Tried) -> Self::Choosing {
        self.pass(call, Avoiding(tried))
    }

    fn call_hedging(&mut self, call: Call<Req>, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(call, Hedging(tried)).hedge()
    }
}

impl<S: Chooses, Req, Res> Chooses for Codec<S, Req, Res> {
    inner_chooses!();
}

impl<C: Connect, Req, Res> Connect for Codec<C, Req, Res> {
    type Service = Codec<C::Service, Req, Res>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let decode = Decode { of_member: true, types: PhantomData };
        Codec::with(self.inner.connect(member), decode)
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<Res, E> Hold<Reply<Encoded>, E> for Decode<Res>
where
    Res: DeserializeOwned,
    E: Into<BoxError> + 'static,
{
    type Response = Reply<Res>;

    fn settle(&mut self, result: Result<Reply<Encoded>, E>) -> Result<Reply<Res>, Error> {
        let reply = result.map_err(Error::from_service)?;
        match reply.body().read() {
            Ok(body) => Ok(reply.map(|_| body)),
            Err(error) => Err(self.blame(error, &reply)),
        }
    }
}

impl<Res> Decode<Res> {
    #[cold]
    fn blame(self, error: Error, reply: &Reply<Encoded>) -> Error {
        let error = if self.of_member { error } else { error.without_blame() };
        match reply.endpoint_key() {
            Some(key) => error.at_endpoint(key),
            None => error,
        }
    }
}

impl<S: Clone, Req, Res> Clone for Codec<S, Req, Res> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.decode)
    }
}

impl<Res> Clone for Decode<Res> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Res> Copy for Decode<Res> {}

impl<S: fmt::Debug, Req, Res> fmt::Debug for Codec<S, Req, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("inner", &self.inner).finish()
    }
}

impl<Res> fmt::Debug for Decode<Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decode").field("of_member", &self.of_member).finish()
    }
}
