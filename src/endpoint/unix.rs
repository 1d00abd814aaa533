//! HTTP and gRPC over a Unix socket: `http+unix://%2Frun%2Ftax.sock/rpc/tax`, with the path of the socket as
//! the host, percent-encoded.

pub(crate) const HTTP_UNIX: &str = "http+unix";
pub(crate) const GRPC_UNIX: &str = "grpc+unix";

/// The scheme of an address whose host is the path of a socket, if this is one.
pub(crate) fn over_socket(scheme: &str) -> Option<&'static str> {
    [HTTP_UNIX, GRPC_UNIX].into_iter().find(|of| scheme.eq_ignore_ascii_case(of))
}

/// The URL of the socket at `path`, which is encoded but for what needs none (RFC 3986 §2.3).
pub(crate) fn unix_url(scheme: &str, path: &str) -> String {
    let mut url = format!("{scheme}://");
    push_encoded(&mut url, path.as_bytes());
    url
}

fn push_encoded(url: &mut String, path: &[u8]) {
    for &byte in path {
        match byte {
            _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => url.push(byte.into()),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// The path of the socket that such a host is, or what is wrong with it.
pub(crate) fn socket_of(host: &str) -> Result<String, &'static str> {
    let (mut path, mut rest) = (Vec::with_capacity(host.len()), host.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let hex = |digit: u8| char::from(digit).to_digit(16);
                let [high, low, after @ ..] = rest else {
                    return Err("a `%` must be followed by two hexadecimal digits");
                };
                let (Some(high), Some(low)) = (hex(*high), hex(*low)) else {
                    return Err("a `%` must be followed by two hexadecimal digits");
                };
                path.push((high * 16 + low) as u8);
                rest = after;
            }
            _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => path.push(byte),
            _ => return Err("its host is no path of a socket, percent-encoded"),
        }
    }
    let path = String::from_utf8(path).map_err(|_| "the path of its socket is not UTF-8")?;
    if !path.starts_with('/') || path.contains('\0') {
        return Err("a socket path must be absolute, with each `/` written as `%2F`");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_path_is_refused() {
        assert_eq!(socket_of("%2frun%2Ftax.sock").as_deref(), Ok("/run/tax.sock"));
        for host in ["", "run", "%2", "%zz", "%2Frun/tax", "%2Fa%00", "%2F%ff", "%2Fa:80"] {
            assert!(socket_of(host).is_err(), "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_path_comes_back(path in "/[^\0]{0,40}") {
            let url = unix_url(HTTP_UNIX, &path);
            let host = url.strip_prefix("http+unix://").unwrap();
            prop_assert_eq!(socket_of(host), Ok(path));
        }
    }
}
