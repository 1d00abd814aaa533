//! Serves a plugin: any `Service<Call<T>>`, the way the callers of [`transport`](crate::transport)
//! reach it.

mod http;

pub use self::http::{HttpServe, ServeFuture, http};
