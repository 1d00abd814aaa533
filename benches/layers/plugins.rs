//! Plugins by name, against the stack that they are.

use std::task::{Context, Poll};

use futures::future::{MapOk, Ready, TryFutureExt, ready};
use tower::{Layer, Service};
use tower_upstream::{
    Call, Endpoint, Error, Reply,
    config::{PluginConfig, Sections},
    connect_fn, discover,
    plugin::Encoded,
    plugins::{AnyConnector, CallFuture, Layers, PluginStack, Plugins, Upstream},
};

use crate::harness::{Case, Crowd};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::ok("plugins/the stack", || ByCall(stack())),
        Case::ok("plugins/held", || ByCall(held())),
        Case::ok("plugins/by name, of 1000", || ByName(thousand())),
        Case::ok("plugins/the stack, a clone per call", || ByCall(Cloned(stack()))),
        Case::ok("plugins/typed over encoded", typed),
    ]
}

pub(crate) fn crowds() -> Vec<Crowd> {
    vec![
        Crowd::new("contended/plugins: the stack", || ByCall(stack())),
        Crowd::new("contended/plugins: held", || ByCall(held())),
    ]
}

#[derive(Clone, Copy)]
struct Echo;

impl<T: Send + 'static> Service<Call<T>> for Echo {
    type Response = Reply<T>;
    type Error = Error;
    type Future = Ready<Result<Reply<T>, Error>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, call: Call<T>) -> Self::Future {
        ready(Ok(Reply::new(call.into_body())))
    }
}

fn connector() -> AnyConnector<u64, u64> {
    AnyConnector::new(connect_fn(|_: &Endpoint| Echo))
}

fn stack() -> PluginStack<u64, u64> {
    let endpoints = discover::fixed(["a:1"]).expect("an endpoint");
    let layers = Layers::<u64, u64>::new(&Sections::default(), endpoints).expect("layers");
    layers.named("tax").layer(connector())
}

fn thousand() -> Plugins<u64, u64> {
    let plugins = Plugins::new();
    for n in 0..1_000 {
        let plugin = PluginConfig::new(format!("plugin-{n}"), "echo").with_endpoint("a:1");
        plugins.register_with(plugin, connector()).expect("a plugin");
    }
    plugins
}

fn held() -> Upstream<u64, u64> {
    thousand().get("plugin-500").expect("a plugin")
}

fn typed() -> impl Service<u64, Response = u64, Error = Error> {
    let plugins = Plugins::<Encoded, Encoded>::new();
    plugins.register("echo", Echo).expect("a plugin");
    ByCall(plugins.typed::<u64, u64>("echo").expect("a plugin"))
}

/// Makes a call of each number.
#[derive(Clone)]
struct ByCall<S>(S);

impl<S: Service<Call<u64>, Response = Reply<u64>, Error = Error>> Service<u64> for ByCall<S> {
    type Response = u64;
    type Error = Error;
    type Future = MapOk<S::Future, fn(Reply<u64>) -> u64>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        self.0.call(Call::new(request)).map_ok(Reply::into_body)
    }
}

struct ByName(Plugins<u64, u64>);

impl Service<u64> for ByName {
    type Response = u64;
    type Error = Error;
    type Future = MapOk<CallFuture<u64, u64>, fn(Reply<u64>) -> u64>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: u64) -> Self::Future {
        self.0.call("plugin-500", Call::new(request)).map_ok(Reply::into_body)
    }
}

/// A clone for each call, which is driven to readiness first.
#[derive(Clone)]
struct Cloned<S>(S);

impl<S: Service<Call<u64>, Error = Error> + Clone> Service<Call<u64>> for Cloned<S> {
    type Response = S::Response;
    type Error = Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, call: Call<u64>) -> S::Future {
        let clone = self.0.clone();
        std::mem::replace(&mut self.0, clone).call(call)
    }
}
