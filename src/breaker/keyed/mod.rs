use std::{
    fmt,
    hash::Hash,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

mod keys;

use self::keys::Keys;
use super::{
    AtResponse, CircuitBreakerConfig, CircuitBreakerHandle, ResponseFuture, Settle,
    admitted::Admitted,
    circuit::{Circuit, Shared},
    future::Judging,
    policy::Policy,
};
use crate::{
    choose::{Choose, Chooses, Tried},
    connect::Connect,
    error::{BoxError, Error},
    guard::{Avoiding, Pass, Plain},
    member::Member,
    outcome::TypeName,
};

/// Puts a [`KeyedCircuitBreaker`] around a service: a circuit for each key of a request, such as its
/// host, tenant or route. Made by [`CircuitBreakerLayer::by_key`](super::CircuitBreakerLayer::by_key).
///
/// The circuits belong to the layer value: all that it and its clones make share them, also below a
/// balancer. There a keyed circuit knows nothing of endpoints: it refuses in `call`, and the balancer
/// skips no endpoint.
///
/// # Bounds
/// At most [`max_keys`](Self::max_keys) circuits. For a new key beyond, the one that was used longest
/// ago goes, of a few that have no call on its way and are closed, or have been open for their time;
/// what it had counted is forgotten. Where all of those are open or in use, the new key shares one
/// more circuit with all keys that find no place: [`handle_for_others`](Self::handle_for_others). So a
/// flood of keys costs neither memory nor a circuit that is open.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{BoxError, CircuitBreakerLayer};
///
/// let layer = CircuitBreakerLayer::default().by_key(|tenant: &u32| *tenant).max_keys(1_000);
/// let service = ServiceBuilder::new()
///     .layer(layer.clone())
///     .service(service_fn(async |tenant: u32| Ok::<_, BoxError>(tenant)));
/// assert!(layer.handle_for(&7).is_none());
/// # let _ = service;
/// ```
pub struct KeyedCircuitBreakerLayer<K, F, C = AtResponse> {
    keys: Arc<Keys>,
    of: PhantomData<fn(&K)>,
    key: F,
    settle: C,
}

const DEFAULT_MAX_KEYS: usize = 10_000;

impl<K: Hash, F, C> KeyedCircuitBreakerLayer<K, F, C> {
    pub(super) fn new(policy: Arc<Policy>, key: F, settle: C) -> Self {
        Self { keys: Keys::new(policy, DEFAULT_MAX_KEYS), of: PhantomData, key, settle }
    }

    /// How many keys have a circuit of their own, from 1 to 1,000,000. Default 10,000. A circuit takes
    /// about a kilobyte; a window of calls two bits more for each.
    ///
    /// Set it before the layer is used: it begins with no circuits.
    #[must_use]
    pub fn max_keys(self, max: usize) -> Self {
        let keys = Keys::new(self.keys.policy().clone(), max.clamp(1, 1_000_000));
        Self { keys, ..self }
    }

    /// How many keys have a circuit of their own now.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The circuit of `key`, if it has one.
    pub fn handle_for(&self, key: &K) -> Option<CircuitBreakerHandle> {
        let circuit = self.keys.find(key)?;
        Some(CircuitBreakerHandle::new(circuit, false))
    }

    /// The circuit that all keys share which find no place.
    pub fn handle_for_others(&self) -> CircuitBreakerHandle {
        CircuitBreakerHandle::new(self.keys.others(), false)
    }

    /// The same settings, with circuits of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        F: Clone,
        C: Clone,
    {
        let policy = self.keys.policy().fresh();
        let keys = Keys::new(policy, self.keys.most());
        Self { keys, of: PhantomData, key: self.key.clone(), settle: self.settle.clone() }
    }

    /// Gives new settings to all circuits, and to those to come; see
    /// [`CircuitBreakerHandle::update`].
    ///
    /// # Errors
    /// `InvalidConfig` that names all mistakes at once; then nothing changes.
    pub fn update(&self, config: &CircuitBreakerConfig) -> Result<(), Error> {
        self.keys.update(config)
    }
}

impl<S, K, F: Clone, C: Clone> Layer<S> for KeyedCircuitBreakerLayer<K, F, C> {
    type Service = KeyedCircuitBreaker<S, K, F, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { keys, of, key, settle } = self.clone();
        KeyedCircuitBreaker { inner, keys, of, key, settle }
    }
}

impl<K, F: Clone, C: Clone> Clone for KeyedCircuitBreakerLayer<K, F, C> {
    fn clone(&self) -> Self {
        let (key, settle) = (self.key.clone(), self.settle.clone());
        Self { keys: self.keys.clone(), of: PhantomData, key, settle }
    }
}

impl<K, F, C> fmt::Debug for KeyedCircuitBreakerLayer<K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerLayer")
            .field("keys", &self.keys)
            .field("key", &TypeName::<F>::new())
            .field("settle", &TypeName::<C>::new())
            .finish()
    }
}

/// Stops calling what keeps failing, for each key by itself. Made by a
/// [`KeyedCircuitBreakerLayer`].
pub struct KeyedCircuitBreaker<S, K, F, C = AtResponse> {
    inner: S,
    keys: Arc<Keys>,
    of: PhantomData<fn(&K)>,
    key: F,
    settle: C,
}

impl<S, K: Hash, F, C: Clone> KeyedCircuitBreaker<S, K, F, C> {
    #[inline(always)]
    fn pass<Req, P>(&mut self, request: Req, way: P) -> ResponseFuture<P::Future, C>
    where
        F: Fn(&Req) -> K,
        P: Pass<S, Req>,
    {
        let shared = self.keys.get(&(self.key)(&request));
        let settle = self.settle.clone();
        match Circuit::admit(&shared) {
            Some(ticket) => {
                let admitted = Admitted::new(&shared, ticket);
                let (inner, admitted) = admitted.call(|| way.pass(&mut self.inner, request));
                ResponseFuture::holding(Judging::new(admitted, settle), inner)
            }
            None => ResponseFuture::refused_with(Judging::nothing(settle), refusal(&shared)),
        }
    }
}

#[inline(never)]
fn refusal(shared: &Shared) -> Error {
    shared.local().count_refused();
    shared.core().refusal()
}

impl<S, K, F, C, Req> Service<Req> for KeyedCircuitBreaker<S, K, F, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError> + 'static,
    F: Fn(&Req) -> K,
    K: Hash,
    C: Settle<S::Response, S::Error> + Clone,
{
    type Response = C::Response;
    type Error = Error;
    type Future = ResponseFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::from_service)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.pass(request, Plain)
    }
}

impl<S: Connect, K, F: Clone, C: Clone> Connect for KeyedCircuitBreaker<S, K, F, C> {
    type Service = KeyedCircuitBreaker<S::Service, K, F, C>;

    fn connect(&self, member: &Arc<Member>) -> Self::Service {
        KeyedCircuitBreaker {
            inner: self.inner.connect(member),
            keys: self.keys.clone(),
            of: PhantomData,
            key: self.key.clone(),
            settle: self.settle.clone(),
        }
    }

    fn is_known_client(&self) -> bool {
        self.inner.is_known_client()
    }
}

impl<S: Chooses, K, F, C> Chooses for KeyedCircuitBreaker<S, K, F, C> {
    fn has_untried(&self, tried: &Tried) -> bool {
        self.inner.has_untried(tried)
    }
}

impl<S, K, F, C, Req> Choose<Req> for KeyedCircuitBreaker<S, K, F, C>
where
    S: Choose<Req>,
    S::Error: Into<BoxError> + 'static,
    F: Fn(&Req) -> K,
    K: Hash,
    C: Settle<S::Response, S::Error> + Clone,
{
    type Choosing = ResponseFuture<S::Choosing, C>;

    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
        self.pass(request, Avoiding(tried))
    }
}

impl<S: Clone, K, F: Clone, C: Clone> Clone for KeyedCircuitBreaker<S, K, F, C> {
    fn clone(&self) -> Self {
        let Self { inner, keys, of, key, settle } = self;
        let (inner, key, settle) = (inner.clone(), key.clone(), settle.clone());
        Self { inner, keys: keys.clone(), of: *of, key, settle }
    }
}

impl<S: fmt::Debug, K, F, C> fmt::Debug for KeyedCircuitBreaker<S, K, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreaker")
            .field("inner", &self.inner)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
