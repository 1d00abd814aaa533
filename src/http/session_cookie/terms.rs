//! What a cookie is like.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::keys::{Keys, Token};
use crate::time;

#[derive(Clone)]
pub(super) struct Terms {
    pub(super) keys: Arc<Keys>,
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) secure: bool,
}

/// Cookies of our name that are looked at.
const TRIES: usize = 4;

impl Terms {
    /// What tells the slots of this value and its clones from those of others, while it lives.
    pub(super) fn id(this: &Arc<Self>) -> usize {
        Arc::as_ptr(this) as usize
    }

    /// The session of a request, if it has one that is valid.
    pub(super) fn token(&self, headers: &HeaderMap) -> Option<Token> {
        let now = time::unix();
        let fields = headers.get_all(COOKIE).iter();
        let pairs = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b';'));
        pairs
            .filter_map(|pair| {
                pair.trim_ascii().strip_prefix(self.name.as_bytes())?.strip_prefix(b"=")
            })
            .take(TRIES)
            .find_map(|value| self.keys.open(&self.name, value, now))
    }

    /// How long a cookie lasts: a little longer than a session, so that not every answer needs a new one.
    fn lasts(&self) -> u64 {
        let timeout = self.timeout.as_secs().max(1);
        timeout.saturating_add((timeout / 16).max(1))
    }

    /// Whether a session would end too soon after the call that comes with this cookie, or with its secret.
    pub(super) fn is_to_renew(&self, token: Token) -> bool {
        token.is_old || token.expires < time::unix().saturating_add(self.timeout.as_secs().max(1))
    }

    /// The field that makes a client come back to the endpoint of this name.
    pub(super) fn set_cookie(&self, home: u64) -> Option<HeaderValue> {
        let lasts = self.lasts();
        let value = self.keys.seal(&self.name, home, time::unix().saturating_add(lasts));
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Lax{secure}",
            self.name
        );
        HeaderValue::from_str(&cookie).ok()
    }
}
