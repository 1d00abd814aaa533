//! What to ask, and where.

use std::fmt;

use http::Uri;

use crate::{
    dial::Way,
    endpoint::{Address, Endpoint, HTTP_UNIX, without_user},
    error::Quoted,
    wire::without_zone,
};

#[derive(Clone)]
pub(super) enum Target {
    /// Below the path of the endpoint.
    Path(String),
    /// As it is, whatever the endpoint.
    Url(Uri),
}

/// Where to connect to, and the host and path to ask for there.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    pub(super) way: Way,
    pub(super) authority: String,
    pub(super) path: String,
}

impl Target {
    /// A path, or a URL that starts with `http://` or `https://`; or what is wrong with it.
    pub(super) fn parse(target: &str) -> Result<Self, String> {
        parse_target(target).map_err(|problem| {
            let target = without_user(target);
            let shown = Quoted(&target);
            format!(
                "cannot check health at `{shown}`: {problem}; write `/path`, or \
                 `http://host:port/path`"
            )
        })
    }

    /// Where that is for `endpoint`. `None` for a path without one.
    pub(super) fn place(&self, endpoint: Option<&Endpoint>) -> Option<Place> {
        match (self, endpoint) {
            (Self::Url(url), _) => {
                let authority = url.authority()?;
                Some(Place {
                    way: Way::of(url.scheme_str(), authority.host(), authority.port_u16()),
                    authority: without_zone(authority.as_str()).into_owned(),
                    path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
                })
            }
            (Self::Path(path), Some(endpoint)) => {
                let address = endpoint.address();
                let (way, authority) = Way::to(address);
                Some(Place { way, authority, path: join(address, path) })
            }
            (Self::Path(_), None) => None,
        }
    }

    /// Why this can never be asked of `endpoint`.
    pub(super) fn problem(&self, endpoint: Option<&Endpoint>) -> Option<String> {
        match (self, endpoint) {
            (Self::Url(_), _) => None,
            (Self::Path(path), None) => Some(format!(
                "a health check of the path `{}` needs an endpoint; here, above a balancer, give \
                 an absolute URL, or a closure with `check_upstream`",
                without_user(path)
            )),
            (Self::Path(_), Some(endpoint)) => match endpoint.address().scheme() {
                None => None,
                Some(scheme) if can_speak(scheme) => None,
                Some(scheme) if scheme.eq_ignore_ascii_case(HTTP_UNIX) && cfg!(unix) => None,
                Some(scheme) => Some(format!(
                    "`HttpCheck` cannot reach a `{scheme}` endpoint; use `check_fn` with a client \
                     that can, or give an `http://` URL"
                )),
            },
        }
    }
}

fn can_speak(scheme: &str) -> bool {
    let is = |of: &str| scheme.eq_ignore_ascii_case(of);
    is("http") || (is("https") && cfg!(feature = "tls"))
}

fn parse_target(target: &str) -> Result<Target, &'static str> {
    if target.contains("://") {
        let url: Uri = target.parse().map_err(|_| "it is not a URL")?;
        if !url.scheme_str().is_some_and(can_speak) {
            return Err("only `http` is supported, and `https` with the feature `tls`");
        }
        match url.authority() {
            Some(authority) if authority.as_str().contains('@') => Err("it holds a user name"),
            // The parser takes any text for a port.
            Some(authority)
                if authority.port_u16().is_none()
                    && authority.as_str().trim_end_matches(':') != authority.host() =>
            {
                Err("its port is not a number up to 65535")
            }
            Some(authority) if !authority.host().is_empty() => Ok(Target::Url(url)),
            _ => Err("it has no host"),
        }
    } else {
        let path = format!("/{}", target.trim_start_matches('/'));
        match path.parse::<Uri>() {
            Ok(_) => Ok(Target::Path(path)),
            Err(_) => Err("it is not a path"),
        }
    }
}

/// The base path of the address and `path`, which starts with a slash.
fn join(address: &Address, path: &str) -> String {
    format!("{}{path}", address.path().trim_end_matches('/'))
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{:?}", without_user(path)),
            Self::Url(url) => write!(f, "{:?}", without_user(&url.to_string())),
        }
    }
}
