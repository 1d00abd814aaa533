//! The files of TLS that the config of a registry names.

use std::path::PathBuf;

use crate::dial::Dialer;
#[cfg(feature = "tls")]
use crate::dial::TlsConfig;

/// Certificates and keys, as PEM files.
pub(super) struct TlsFiles<'a> {
    pub(super) ca: &'a Option<PathBuf>,
    pub(super) cert: &'a Option<PathBuf>,
    pub(super) key: &'a Option<PathBuf>,
}

impl TlsFiles<'_> {
    pub(super) fn mistake(&self) -> Option<String> {
        match (filled(self.cert), filled(self.key)) {
            (Some(_), None) => Some("`tls_cert` needs a `tls_key`".to_owned()),
            (None, Some(_)) => Some("`tls_key` needs a `tls_cert`".to_owned()),
            _ => None,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn config(&self) -> TlsConfig {
        let [ca_file, cert_file, key_file] = [self.ca, self.cert, self.key].map(filled);
        TlsConfig { ca_file, cert_file, key_file, ..TlsConfig::default() }
    }

    /// How to connect with them.
    #[cfg_attr(not(any(feature = "consul", feature = "eureka")), allow(dead_code))]
    pub(super) fn dialer(&self) -> Dialer {
        #[cfg(feature = "tls")]
        return Dialer::with_tls(self.config());
        #[cfg(not(feature = "tls"))]
        {
            // Nothing reads it.
            let _ = self.ca;
            Dialer::default()
        }
    }
}

/// As Go writes what is not there.
fn filled(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.clone().filter(|path| !path.as_os_str().is_empty())
}
