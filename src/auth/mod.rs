//! Credentials on the way out, and their check on the way in.
//!
//! Guide: [what a plugin speaks](../_guide/wire/index.html).
//!
//! # When to use
//! Where a plugin or a service asks callers for proof: [`AuthLayer`] adds [`Credentials`] to the requests of a
//! client, and [`RequireAuthLayer`] lets only such requests into a server. Both know the methods of the Go
//! plugin manager, and [`AuthConfig`] reads its `auth` sections.
//!
//! | | |
//! |---|---|
//! | [`Credentials`] | an API key, a bearer token, a user name and password, headers, or a client certificate |
//! | [`AuthLayer`] | adds them to requests, and keeps them off connections that can be read on the way |
//! | [`RequireAuthLayer`] | answers requests without them with 401 or 403, or with `UNAUTHENTICATED` or `PERMISSION_DENIED` over gRPC |
//! | [`AuthConfig`] | the same from a file |
//! | [`Secret`] | a text that is never shown |
//!
//! A plugin behind a socket asks for a token instead: see
//! [`BridgeConfig::require_auth`](crate::serve::BridgeConfig::require_auth) and
//! [`SocketConfig::token`](crate::transport::SocketConfig::token).
//!
//! # Example
//! Both ends, in memory:
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_upstream::auth::{AuthLayer, Credentials, RequireAuthLayer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_upstream::Error> {
//! let server = ServiceBuilder::new()
//!     .layer(RequireAuthLayer::new([Credentials::bearer("abc.def")]))
//!     .service(service_fn(|_: Request<()>| async {
//!         Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
//!     }));
//! let refused = server.clone().oneshot(Request::new(())).await.unwrap();
//! assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//!
//! let client =
//!     ServiceBuilder::new().layer(AuthLayer::new(Credentials::bearer("abc.def"))).service(server);
//! let request = Request::get("https://tax.internal/").body(()).unwrap();
//! assert_eq!(client.oneshot(request).await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```

mod authenticate;
mod config;
mod credentials;
mod exposure;
mod layer;
mod proof;
mod refusal;
mod render;
mod require;
mod secret;
#[cfg_attr(
    not(feature = "config"),
    allow(dead_code, reason = "only configs are written with secrets")
)]
pub(crate) mod shown;

pub(crate) use self::exposure::leads_privately;
pub use self::{
    authenticate::Authenticate,
    config::{AuthConfig, AuthMethod},
    credentials::Credentials,
    layer::{Auth, AuthLayer},
    require::{ClientCertified, RequireAuth, RequireAuthFuture, RequireAuthLayer},
    secret::Secret,
};
