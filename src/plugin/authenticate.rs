//! Calls that carry credentials.

use super::call::Call;
use crate::{
    auth::{Authenticate, Credentials},
    endpoint::Endpoint,
    error::Error,
};

/// The transport looks at where it sends them.
impl<T> Authenticate for Call<T> {
    fn authenticate(
        &mut self,
        credentials: &Credentials,
        _: Option<&Endpoint>,
    ) -> Result<(), Error> {
        credentials.http_fields()?;
        self.set_credentials(credentials.clone());
        Ok(())
    }
}
