use std::{fmt, hash::Hash, sync::Arc};

use tower_layer::Layer;

use super::{handle::KeyedCircuitBreakerHandle, keys::Keys, service::KeyedCircuitBreaker};
use crate::{
    breaker::{AtResponse, CircuitHandle, circuit::Circuits, transition::Told},
    key::Labelled,
    outcome::TypeName,
    telemetry::Events,
};

/// Layer that guards calls by a circuit for each key of a request, such as its host, tenant or route.
///
/// Made by [`CircuitBreakerLayer::by_key`](crate::CircuitBreakerLayer::by_key).
///
/// The circuits belong to the layer value: all services that it and its clones make share them, also
/// below a balancer. A keyed circuit knows no endpoints: below a balancer it refuses in `call`, and the
/// balancer skips no endpoint.
///
/// # Bounds
/// At most [`max_keys`](Self::with_max_keys) circuits. For a new key beyond, the circuit that was used
/// longest ago goes, of a few that have no call in flight and are closed, or have been open for their
/// time; what it had counted is forgotten. If all of those are open or in use, the new key shares one more
/// circuit with all keys that find no place: [`handle_for_others`](Self::handle_for_others). So a flood of
/// keys costs neither memory nor a circuit that is open.
///
/// # Example
/// ```
/// use tower::{ServiceBuilder, service_fn};
/// use tower_upstream::{BoxError, CircuitBreakerLayer};
///
/// let layer = CircuitBreakerLayer::default().by_key(|tenant: &u32| *tenant).with_max_keys(1_000);
/// let service = ServiceBuilder::new()
///     .layer(layer.clone())
///     .service(service_fn(async |tenant: u32| Ok::<_, BoxError>(tenant)));
/// assert!(layer.handle_for(&7_u32).is_none());
/// # let _ = service;
/// ```
#[derive(Clone)]
pub struct KeyedCircuitBreakerLayer<K, C = AtResponse> {
    keys: Arc<Keys>,
    key: K,
    settle: C,
}

const DEFAULT_MAX_KEYS: usize = 10_000;

impl<K, C> KeyedCircuitBreakerLayer<K, C> {
    pub(in crate::breaker) fn new(circuits: Arc<Circuits>, key: K, settle: C) -> Self {
        Self { keys: Keys::new(circuits, DEFAULT_MAX_KEYS), key, settle }
    }

    /// Sets the rule that judges calls, as
    /// [`CircuitBreakerLayer::with_classify`](crate::CircuitBreakerLayer::with_classify) does.
    ///
    /// ```
    /// use tower_upstream::{CircuitBreakerLayer, outcome::ErrIsFailure};
    /// let layer =
    ///     CircuitBreakerLayer::default().by_key(|tenant: &u32| *tenant).with_classify(ErrIsFailure);
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_classify<D>(self, classify: D) -> KeyedCircuitBreakerLayer<K, AtResponse<D>> {
        self.with_settle(AtResponse { classify })
    }

    /// Lets `settle` tell when a call has ended, and how.
    pub(crate) fn with_settle<D>(self, settle: D) -> KeyedCircuitBreakerLayer<K, D> {
        KeyedCircuitBreakerLayer { keys: self.keys, key: self.key, settle }
    }

    /// Sets how many keys have a circuit of their own, from 1 to 1,000,000. Default: 10,000.
    ///
    /// A circuit takes about a kilobyte; a window of calls takes two bits more for each call. Set it
    /// before the layer is used: it begins with no circuits.
    #[must_use]
    pub fn with_max_keys(self, max: usize) -> Self {
        let keys = Keys::new(self.keys.circuits().clone(), max.clamp(1, 1_000_000));
        Self { keys, ..self }
    }

    /// Names the key of each circuit in events and logs by what `label` returns for the first request of
    /// the key. Default: no label, since keys may be secret.
    ///
    /// # Bounds
    /// At most 128 bytes of a label are kept, for as long as its circuit.
    ///
    /// ```
    /// use tower_upstream::{CircuitBreakerLayer, telemetry::Events};
    /// let events = Events::new();
    /// events.subscribe(|event| println!("{:?}: {:?}", event.key, event.kind)).detach();
    /// let layer = CircuitBreakerLayer::default()
    ///     .with_events(&events)
    ///     .by_key(|tenant: &u32| *tenant)
    ///     .with_label(|tenant: &u32| format!("tenant {tenant}"));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn with_label<Req, L>(self, label: L) -> KeyedCircuitBreakerLayer<Labelled<K, L>, C>
    where
        L: Fn(&Req) -> String,
    {
        let key = Labelled::new(self.key, label);
        KeyedCircuitBreakerLayer { keys: self.keys, key, settle: self.settle }
    }

    /// Names this layer in refusals ([`Error::guard`](crate::Error::guard)), events and logs. Default: the
    /// name that the layer had before [`by_key`](crate::CircuitBreakerLayer::by_key).
    ///
    /// Set it before the layer is used: it begins with no circuits.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let told = self.keys.circuits().told.clone();
        self.told(Told { name: Some(name.into()), ..told })
    }

    /// Tells listeners of `events` of every transition of every circuit; see
    /// [`CircuitBreakerLayer::with_events`](crate::CircuitBreakerLayer::with_events).
    ///
    /// Set it before the layer is used: it begins with no circuits.
    #[must_use]
    pub fn with_events(self, events: &Events) -> Self {
        let told = self.keys.circuits().told.clone();
        self.told(Told { events: Some(events.clone()), ..told })
    }

    fn told(self, told: Told) -> Self {
        let keys = Keys::new(self.keys.circuits().told(told), self.keys.most());
        Self { keys, ..self }
    }

    /// Returns a handle for the settings and the number of all circuits.
    pub fn handle(&self) -> KeyedCircuitBreakerHandle {
        KeyedCircuitBreakerHandle::new(self.keys.clone())
    }

    /// Returns a handle for the circuit of `key`, or `None` if it has none.
    ///
    /// The key is what the layer hashes: a value of the same type, such as `&7_u64`, or a borrowed form that
    /// hashes the same, such as a `str` for a `String`. If the closure of the layer returns an `Option<String>`,
    /// pass `&Some("blue")`. A value of another type compiles, too, and finds no circuit.
    pub fn handle_for(&self, key: &(impl Hash + ?Sized)) -> Option<CircuitHandle> {
        self.keys.find(key).map(CircuitHandle::new)
    }

    /// Returns a handle for the circuit that keys share which find no place.
    pub fn handle_for_others(&self) -> CircuitHandle {
        CircuitHandle::new(self.keys.others())
    }

    /// Returns a layer with the same settings, name and events, and circuits of its own.
    #[must_use]
    pub fn fresh(&self) -> Self
    where
        K: Clone,
        C: Clone,
    {
        self.clone().told(self.keys.circuits().told.clone())
    }
}

impl<S, K: Clone, C: Clone> Layer<S> for KeyedCircuitBreakerLayer<K, C> {
    type Service = KeyedCircuitBreaker<S, K, C>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyedCircuitBreaker::new(inner, self.keys.clone(), self.key.clone(), self.settle.clone())
    }
}

impl<K, C> fmt::Debug for KeyedCircuitBreakerLayer<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCircuitBreakerLayer")
            .field("keys", &self.keys)
            .field("key", &TypeName::<K>::new())
            .field("settle", &TypeName::<C>::new())
            .finish()
    }
}
