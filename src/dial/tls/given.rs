//! What TLS of this crate's own clients may have beside files.

use std::fmt;

use zeroize::Zeroizing;

/// PEM as it is, instead of a file, and what is said of the server. Never changes.
#[derive(Default, Clone)]
pub(crate) struct GivenTls {
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) cert: Option<Vec<u8>>,
    pub(crate) key: Option<Zeroizing<Vec<u8>>>,
    /// Whether any certificate of the server will do.
    pub(crate) trusts_all: bool,
}

impl fmt::Debug for GivenTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenTls")
            .field("ca", &self.ca.is_some())
            .field("cert", &self.cert.is_some())
            .field("key", &self.key.is_some())
            .field("trusts_all", &self.trusts_all)
            .finish()
    }
}
