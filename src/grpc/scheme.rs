//! The schemes of addresses that are reached over gRPC.

/// Whether an address of gRPC asks for TLS. `None` if it is none of gRPC.
pub(crate) fn is_secure(scheme: Option<&str>) -> Option<bool> {
    let is_one = |known: &[&str]| {
        scheme.is_some_and(|scheme| known.iter().any(|known| scheme.eq_ignore_ascii_case(known)))
    };
    match scheme {
        None => Some(false),
        Some(_) if is_one(&["grpc", "http", "grpc+unix", "http+unix"]) => Some(false),
        Some(_) if is_one(&["grpc-tls", "grpcs", "https"]) => Some(true),
        Some(_) => None,
    }
}
