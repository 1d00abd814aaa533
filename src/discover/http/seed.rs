//! One base URL that is polled.

use http::Uri;

use super::document::origin;
use crate::{
    dial::{Dialer, HttpClient},
    endpoint::Address,
    error::{Error, Kind, Quoted},
};

#[derive(Debug)]
pub(super) struct Seed {
    pub(super) address: Address,
    /// Of the whole server: it can reach no other one.
    pub(super) client: HttpClient,
}

impl Seed {
    pub(super) fn new(url: &str, dialer: Dialer) -> Result<Self, Error> {
        let address: Address = url.parse()?;
        let can_ask = |scheme: &str| {
            let is = |of: &str| scheme.eq_ignore_ascii_case(of);
            is("http") || is("https") && cfg!(feature = "tls") || is("http+unix") && cfg!(unix)
        };
        if !address.scheme().is_none_or(can_ask) {
            let text = format!(
                "`{address}` cannot be polled: only `http` is, `https` with the feature `tls`, and `http+unix`"
            );
            return Err(Error::not_sent(Kind::InvalidConfig).message(text));
        }
        let client = HttpClient::new(&origin(&address).parse()?, dialer);
        Ok(Self { address, client })
    }

    /// A path below that of the URL.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.address.path().trim_end_matches('/'))
    }

    /// The path of a URL, or of a reference from one, that is at this server.
    ///
    /// # Errors
    /// It is elsewhere.
    pub(super) fn path_of(&self, url: &str) -> Result<String, Error> {
        let refused = || {
            let shown = Quoted(url);
            let text = format!("it leads to `{shown}`, which is not at the same host and port");
            Error::failed(Kind::Transport).message(text)
        };
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if uri.scheme().is_none() && uri.authority().is_none() {
            // `//host` is another one.
            let is_path = path.starts_with('/') && !path.starts_with("//");
            return if is_path { Ok(path.to_owned()) } else { Err(refused()) };
        }
        let there = uri.scheme_str().zip(uri.authority());
        let there = there.ok_or_else(refused)?;
        let there: Address = format!("{}://{}", there.0, there.1).parse().map_err(|_| refused())?;
        let here = origin(&self.address).parse::<Address>();
        if here.is_ok_and(|here| here == there) { Ok(path.to_owned()) } else { Err(refused()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_at_the_same_host_and_port_is_followed() {
        let seed = Seed::new("http://tax.example/base/", Dialer::default()).unwrap();
        assert_eq!(seed.path("/_farp/discovery"), "/base/_farp/discovery");
        for (url, path) in
            [("/x?y=z", "/x?y=z"), ("http://TAX.example:80/x", "/x"), ("http://tax.example", "/")]
        {
            assert_eq!(seed.path_of(url).unwrap(), path, "{url}");
        }
        for url in [
            "//evil/x",
            "http://evil/x",
            "https://tax.example/x",
            "http://tax.example:81/x",
            "http://tax.example@evil/x",
            "http://169.254.169.254/latest",
            "file:///etc/passwd",
            "x/y",
            "",
            "http://",
            "/a b",
        ] {
            assert!(seed.path_of(url).is_err(), "{url}");
        }
        assert!(Seed::new("ftp://a:1", Dialer::default()).is_err());
        assert!(Seed::new("nonsense", Dialer::default()).is_err());
    }
}
