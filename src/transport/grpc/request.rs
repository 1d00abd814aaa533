//! The requests that are sent to a plugin.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Uri,
    header::{CONTENT_TYPE, TE, USER_AGENT},
    uri,
};

use super::config::GrpcConfig;
use crate::{
    auth::Credentials,
    endpoint::{Address, without_user},
    error::{Error, Kind},
    grpc::{Encode, Flavour, context, frame, scheme, timeout},
    member::Member,
    plugin::Call,
    time,
    transport::{counts::Counts, description::Description, http::usable_path},
};

const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tower-upstream/", env!("CARGO_PKG_VERSION")));

/// The plugin that requests are made for, in the flavour `F`.
pub(super) struct Target<F = ()> {
    pub(super) key: Arc<str>,
    pub(super) address: Address,
    pub(super) counts: Arc<Counts>,
    /// Of what carries none of its own.
    credentials: Credentials,
    pub(super) info: Description,
    /// The URL of the method that is called. Or why calls cannot be sent there.
    execute: Result<Uri, Error>,
    flavour: PhantomData<fn() -> F>,
}

impl Target {
    /// A URL of the host that calls go to. Without a host, if they go nowhere.
    pub(super) fn host(member: &Member) -> Uri {
        method(member.endpoint().address(), "", "").unwrap_or_default()
    }
}

impl<F: Flavour> Target<F> {
    pub(super) fn new(member: &Member, counts: Arc<Counts>, credentials: Credentials) -> Self {
        let (key, address) = (member.shared_key().clone(), member.endpoint().address().clone());
        let execute = method(&address, F::SERVICE, "Execute");
        let info = Description::default();
        Self { key, address, counts, credentials, info, execute, flavour: PhantomData }
    }

    /// Makes the request of a call.
    pub(super) fn execute<Req>(
        &self,
        call: &Call<Req>,
        config: &GrpcConfig,
    ) -> Result<Request<Bytes>, Error>
    where
        F: Encode<Req>,
    {
        let head = self.execute_head(call, config.request_timeout)?;
        let body = frame::frame(|message| F::encode(call.body(), message)).map_err(|error| {
            Error::not_sent(Kind::InvalidConfig)
                .message("cannot write the message of the call")
                .caused_by(error)
        })?;
        let (length, most) = (body.len() - frame::PREFIX, config.max_request_bytes);
        if length > most {
            return Err(Error::blameless(Kind::InvalidRequest).message(format!(
                "its message has {length} bytes, and at most {most} are sent (`max_request_bytes`)"
            )));
        }
        Ok(head.map(|()| body))
    }

    /// Makes the request of a call without its body. The plugin is told the time that is left of `limit`.
    pub(super) fn execute_head<Req>(
        &self,
        call: &Call<Req>,
        limit: Duration,
    ) -> Result<Request<()>, Error> {
        let left = call.deadline().map(|at| at.saturating_duration_since(time::now()));
        let mut request =
            request(self.execute.clone()?, left.map_or(limit, |left| left.min(limit)));
        context::write_call(request.headers_mut(), call)?;
        add_credentials(request.headers_mut(), self.credentials_of(call))?;
        Ok(request)
    }

    /// What a call shows to be let in.
    pub(super) fn credentials_of<'a, Req>(&'a self, call: &'a Call<Req>) -> &'a Credentials {
        call.credentials().unwrap_or(&self.credentials)
    }

    /// Whether what is shown with what is no call must not be read on the way.
    pub(super) fn is_private(&self) -> bool {
        self.credentials.is_private_over_grpc()
    }

    /// The head of a request for something that is no call.
    pub(super) fn ask(
        &self,
        service: &str,
        name: &str,
        limit: Duration,
    ) -> Result<Request<()>, Error> {
        let mut request = request(method(&self.address, service, name)?, limit);
        add_credentials(request.headers_mut(), &self.credentials)?;
        Ok(request)
    }
}

/// Adds what is shown to be let in, in place of what the caller wrote there.
fn add_credentials(headers: &mut HeaderMap, credentials: &Credentials) -> Result<(), Error> {
    headers.extend(credentials.grpc_metadata()?);
    Ok(())
}

fn request(url: Uri, left: Duration) -> Request<()> {
    // As many as there usually are: a larger one is too much for the quick lists of an allocator.
    let mut headers = HeaderMap::with_capacity(6);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(USER_AGENT, AGENT);
    timeout::write(&mut headers, left);
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url;
    *request.headers_mut() = headers;
    request
}

/// The URL of a method, if this transport can reach it.
fn method(address: &Address, service: &str, name: &str) -> Result<Uri, Error> {
    let is_secure = scheme::is_secure(address.scheme()).ok_or_else(|| {
        let other = address.scheme().unwrap_or_default();
        unusable(
            address,
            &format!(
                "it speaks `grpc`, `grpc-tls`, `grpc+unix`, `http` and `https`, not `{other}`"
            ),
        )
    })?;
    if is_secure && !cfg!(feature = "tls") {
        return Err(unusable(address, "TLS needs the feature `tls`"));
    }
    if !matches!(address.path(), "" | "/") {
        return Err(unusable(address, "an address of gRPC has no path"));
    }
    let socket = address.socket_path();
    socket.as_deref().map_or(Ok(()), usable_path)?;
    let scheme = if is_secure { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
    // The path of a socket cannot be a host, so it is what Go sends there.
    let authority = if socket.is_some() { "localhost" } else { address.authority() };
    let built = Uri::builder().scheme(scheme).authority(authority);
    built
        .path_and_query(format!("/{service}/{name}"))
        .build()
        .map_err(|error| unusable(address, &error.to_string()))
}

fn unusable(address: &Address, problem: &str) -> Error {
    let shown = without_user(address.as_str());
    let message = format!("the gRPC transport cannot reach `{shown}`: {problem}");
    Error::not_sent(Kind::InvalidConfig).message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn an_address_is_one_of_grpc_or_says_what_is_wrong() {
        let url = |address: &str| {
            let endpoint: Endpoint = address.parse().unwrap();
            method(endpoint.address(), "plugin.PluginService", "Execute").map(|url| url.to_string())
        };
        let path = "/plugin.PluginService/Execute";
        for (address, host) in [
            ("10.0.0.1:50051", "http://10.0.0.1:50051"),
            ("grpc://a:1", "http://a:1"),
            ("http://a:1/", "http://a:1"),
            ("http://[::1]:1", "http://[::1]:1"),
            #[cfg(unix)]
            ("grpc+unix://%2Frun%2Fa", "http://localhost"),
        ] {
            assert_eq!(url(address).unwrap(), format!("{host}{path}"), "{address}");
        }
        #[cfg(feature = "tls")]
        for address in ["grpc-tls://a:1", "grpcs://a:1", "https://a:1"] {
            assert_eq!(url(address).unwrap(), format!("https://a:1{path}"), "{address}");
        }
        for address in ["unix:/run/a", "ftp://a:1", "grpc://a:1/x", "grpc+unix://%2F..%2Fa"] {
            let error = url(address).unwrap_err();
            assert!(error.is_unsent() && error.kind() == Kind::InvalidConfig, "{error}");
        }
    }
}
