use http::{HeaderValue, Request};

use super::{
    credentials::Credentials,
    exposure::{is_private, leads_privately},
};
use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Kind},
};

/// Request that can carry [`Credentials`].
///
/// Implemented for [`Call`](crate::Call) and `http::Request`. Implement it for requests of yours to put an
/// [`AuthLayer`](super::AuthLayer) around their services.
///
/// # Example
/// ```
/// use tower_upstream::{Endpoint, Error, auth::{Authenticate, Credentials}};
///
/// struct Ask { text: String, credentials: Option<Credentials> }
///
/// impl Authenticate for Ask {
///     fn authenticate(&mut self, with: &Credentials, _: Option<&Endpoint>) -> Result<(), Error> {
///         self.credentials = Some(with.clone());
///         Ok(())
///     }
/// }
/// ```
pub trait Authenticate {
    /// Adds `credentials`, in place of those that it has. `endpoint` is where it goes, if that is known.
    ///
    /// # Errors
    /// Why they cannot be sent, or must not: nothing of the request is sent then.
    fn authenticate(
        &mut self,
        credentials: &Credentials,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), Error>;
}

impl<B> Authenticate for Request<B> {
    fn authenticate(
        &mut self,
        credentials: &Credentials,
        endpoint: Option<&Endpoint>,
    ) -> Result<(), Error> {
        let fields = credentials.http_fields()?;
        if credentials.is_private() {
            let uri = self.uri();
            match (endpoint, uri.scheme_str(), uri.host()) {
                (Some(endpoint), ..) if leads_privately(endpoint.address()) => {}
                (Some(endpoint), ..) => {
                    return Err(Credentials::exposed(&format!("`{}`", endpoint.address())));
                }
                (None, Some(scheme), Some(host)) if is_private(scheme, host) => {}
                (None, _, Some(host)) => return Err(Credentials::exposed(&format!("`{host}`"))),
                (None, ..) => {
                    return Err(Error::not_sent(Kind::InvalidConfig)
                        .coded(Some(Code::AUTH_1105))
                        .message(
                            "cannot tell where the request goes, so its credentials might be read \
                             on the way; put the `AuthLayer` below the balancer, or set \
                             `allow_plaintext` if they may be",
                        ));
                }
            }
        }
        for (name, value) in fields {
            self.headers_mut().insert(name.clone(), HeaderValue::clone(value));
        }
        Ok(())
    }
}
