//! Calls that carry credentials.

use super::call::Call;
use crate::{
    auth::{Authenticate, Credentials},
    endpoint::Endpoint,
    error::Error,
};

impl<T> Call<T> {
    /// Sets what the caller shows to be let in, in place of what it has.
    ///
    /// A transport sends it in its own way; it is not among the [`headers`](Self::headers). An
    /// [`AuthLayer`](crate::auth::AuthLayer) does this for all calls.
    ///
    /// ```
    /// use tower_upstream::{Call, auth::Credentials};
    /// let call = Call::new("IT").with_credentials(Credentials::bearer("abc.def"));
    /// assert!(call.credentials().is_some() && call.headers().is_empty());
    /// ```
    #[must_use]
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.context_mut().credentials = Some(credentials);
        self
    }

    /// Returns what the caller shows to be let in.
    ///
    /// ```
    /// assert!(tower_upstream::Call::new("IT").credentials().is_none());
    /// ```
    pub fn credentials(&self) -> Option<&Credentials> {
        self.context.as_ref()?.credentials.as_ref()
    }
}

/// The transport looks at where it sends them.
impl<T> Authenticate for Call<T> {
    fn authenticate(
        &mut self,
        credentials: &Credentials,
        _: Option<&Endpoint>,
    ) -> Result<(), Error> {
        credentials.http_fields()?;
        self.context_mut().credentials = Some(credentials.clone());
        Ok(())
    }
}
