use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    body::{Request, Response},
    by_name::CallFuture,
    plugins::Plugins,
};
use crate::{
    error::Error,
    outcome::TypeName,
    plugin::{Call, Reply},
};

/// All plugins as one service: each call goes to the plugin that it names.
///
/// Made by [`Plugins::by`]. It is always ready. A call waits until its plugin is ready in the response future, so a
/// plugin that is not ready holds up no call of another one.
///
/// # Differences from tower's
/// `tower::steer::Steer` has a fixed list of services, and is ready when all of them are.
///
/// # Errors
/// `PLUGIN_1201`, with the nearest name, if there is no such plugin; otherwise those of
/// [`Upstream`](super::Upstream).
///
/// # Cancel safety
/// Dropping the response drops the call.
pub struct ByCall<Req, Res, F> {
    plugins: Plugins<Req, Res>,
    name: F,
}

impl<Req: Request, Res: Response> Plugins<Req, Res> {
    /// Returns all plugins as one service, which finds the plugin of a call by the name that `name` returns, such as
    /// that in a header. A call without a name is refused with `PLUGIN_1201`: return an empty text for it.
    ///
    /// ```
    /// use tower::{ServiceExt, service_fn};
    /// use tower_upstream::{BoxError, Call, Reply, error::Code, plugins::Plugins};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
    /// let plugins = Plugins::<u64, u64>::new();
    /// plugins.register("double", service_fn(async |call: Call<u64>| {
    ///     Ok::<_, BoxError>(Reply::new(2 * call.into_body()))
    /// }))?;
    /// let service = plugins.by(|call| call.headers().get("x-plugin").map_or("", String::as_str));
    /// let call = Call::new(21).with_header("x-plugin", "double");
    /// assert_eq!(service.clone().oneshot(call).await?.into_body(), 42);
    /// assert_eq!(service.oneshot(Call::new(21)).await.unwrap_err().code(), Code::PLUGIN_1201);
    /// # Ok(()) }
    /// ```
    pub fn by<F>(&self, name: F) -> ByCall<Req, Res, F>
    where
        F: Fn(&Call<Req>) -> &str,
    {
        ByCall { plugins: self.clone(), name }
    }
}

impl<Req, Res, F> Service<Call<Req>> for ByCall<Req, Res, F>
where
    Req: Request,
    Res: Response,
    F: Fn(&Call<Req>) -> &str,
{
    type Response = Reply<Res>;
    type Error = Error;
    type Future = CallFuture<Req, Res>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, call: Call<Req>) -> CallFuture<Req, Res> {
        CallFuture::new(self.plugins.find((self.name)(&call)), call)
    }
}

impl<Req, Res, F: Clone> Clone for ByCall<Req, Res, F> {
    fn clone(&self) -> Self {
        Self { plugins: self.plugins.clone(), name: self.name.clone() }
    }
}

impl<Req: Request, Res: Response, F> fmt::Debug for ByCall<Req, Res, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByCall")
            .field("plugins", &self.plugins)
            .field("name", &TypeName::<F>::new())
            .finish()
    }
}
