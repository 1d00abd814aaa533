use serde::{Serialize, de::DeserializeOwned};

/// The body of a call that [`Plugins`](super::Plugins) can send: any that serde writes, and that can be copied.
///
/// ```
/// use tower_upstream::{plugin::Encoded, plugins::Request};
/// fn is_fit<T: Request>() {}
/// is_fit::<(String, u64)>();
/// is_fit::<Encoded>();
/// ```
pub trait Request: Serialize + Clone + Send + Sync + 'static {}

impl<T: Serialize + Clone + Send + Sync + 'static> Request for T {}

/// The body of a reply that [`Plugins`](super::Plugins) can receive: any that serde reads and writes, and that
/// can be copied.
///
/// It is written where its size counts: a `cached` fallback keeps a number of bytes.
///
/// ```
/// use tower_upstream::{plugin::Encoded, plugins::Response};
/// fn is_fit<T: Response>() {}
/// is_fit::<Vec<u64>>();
/// is_fit::<Encoded>();
/// ```
pub trait Response: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Response for T {}
