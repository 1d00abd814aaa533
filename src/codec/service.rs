use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::format::{Json, Reads, Writes};
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
pub struct Codec<S, Req, Res, F = Json> {
    inner: S,
    decode: Decode<Res, F>,
    types: PhantomData<fn(Req, F) -> Res>,
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
pub struct Decode<Res, F = Json> {
    /// Below a balancer, where the type is that of the endpoint.
    of_member: bool,
    types: PhantomData<fn(F) -> Res>,
}

impl<S, Req, Res, F> Codec<S, Req, Res, F> {
    pub(super) fn new(inner: S) -> Self {
        Self::with(inner, Decode { of_member: false, types: PhantomData })
    }

    fn with(inner: S, decode: Decode<Res, F>) -> Self {
        Self { inner, decode, types: PhantomData }
    }

    inner_service!();

    fn pass<P>(&mut self, call: Call<Req>, way: P) -> ResponseFuture<P::Future, Decode<Res, F>>
    where
        P: Pass<S, Call<Encoded>>,
        F: Writes<Req>,
    {
        match F::write(call.body()) {
            Ok(body) => {
                let inner = way.pass(&mut self.inner, call.map(|_| body));
                ResponseFuture::holding(self.decode, inner)
            }
            Err(error) => ResponseFuture::refused_with(self.decode, error),
        }
    }
}

impl<S, Req, Res, F> Service<Call<Req>> for Codec<S, Req, Res, F>
where
    S: Service<Call<Encoded>, Response = Reply<Encoded>>,
    S::Error: Into<BoxError> + 'static,
    F: Writes<Req> + Reads<Res>,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = ResponseFuture<S::Future, Decode<Res, F>>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    fn call(&mut self, call: Call<Req>) -> Self::Future {
        self.pass(call, Plain)
    }
}

impl<S, Req, Res, F> Choose<Call<Req>> for Codec<S, Req, Res, F>
where
    S: Choose<Call<Encoded>, Response = Reply<Encoded>>,
    S::Error: Into<BoxError> + 'static,
    F: Writes<Req> + Reads<Res>,
{
    type Choosing = ResponseFuture<S::Choosing, Decode<Res, F>>;

    fn call_avoiding(&mut self, call: Call<Req>, tried: &Tried) -> Self::Choosing {
        self.pass(call, Avoiding(tried))
    }

    fn call_hedging(&mut self, call: Call<Req>, tried: &Tried) -> Option<Self::Choosing> {
        self.pass(call, Hedging(tried)).hedge()
    }
}

impl<S: Chooses, Req, Res, F> Chooses for Codec<S, Req, Res, F> {
    inner_chooses!();
}

impl<C: Connect, Req, Res, F> Connect for Codec<C, Req, Res, F> {
    type Service = Codec<C::Service, Req, Res, F>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        let decode = Decode { of_member: true, types: PhantomData };
        Codec::with(self.inner.connect(member), decode)
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<Res, F, E> Hold<Reply<Encoded>, E> for Decode<Res, F>
where
    F: Reads<Res>,
    E: Into<BoxError> + 'static,
{
    type Response = Reply<Res>;

    fn settle(&mut self, result: Result<Reply<Encoded>, E>) -> Result<Reply<Res>, Error> {
        let reply = result.map_err(Error::from_service)?;
        match F::read(reply.body()) {
            Ok(body) => Ok(reply.map(|_| body)),
            Err(error) => Err(self.blame(error, &reply)),
        }
    }
}

impl<Res, F> Decode<Res, F> {
    #[cold]
    fn blame(self, error: Error, reply: &Reply<Encoded>) -> Error {
        let error = if self.of_member { error } else { error.without_blame() };
        match reply.endpoint_key() {
            Some(key) => error.at_endpoint(key),
            None => error,
        }
    }
}

impl<S: Clone, Req, Res, F> Clone for Codec<S, Req, Res, F> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.decode)
    }
}

impl<Res, F> Clone for Decode<Res, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Res, F> Copy for Decode<Res, F> {}

impl<S: fmt::Debug, Req, Res, F> fmt::Debug for Codec<S, Req, Res, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("inner", &self.inner).finish()
    }
}

impl<Res, F> fmt::Debug for Decode<Res, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decode").field("of_member", &self.of_member).finish()
    }
}
