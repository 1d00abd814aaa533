use super::{
    error::{BoxError, Error},
    kind::Kind,
    word::Word,
};

/// Whose fault a failed call is. Exactly one of these, for every error path of the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The endpoint's: evidence for breakers, health and budgets.
    Endpoint,
    /// A connection's that had been used before: it says that the connection is dead, not the
    /// endpoint. An idempotent call may be sent again.
    Connection,
    /// The caller's: its body, its misuse of a client, a deadline that had passed, a config.
    Caller,
    /// Not decided: the deadline or the overall limit of the call ended it on its way. Counts as a
    /// call that was dropped.
    Cancelled,
    /// Ours: a guard said no.
    Guard,
}

impl Error {
    pub(crate) fn fault(&self) -> Fault {
        match self.kind() {
            _ if self.is_refused() => Fault::Guard,
            Kind::InvalidConfig | Kind::InvalidRequest | Kind::Unavailable => Fault::Caller,
            _ if !self.word.has(Word::BLAMELESS) => Fault::Endpoint,
            Kind::Connection => Fault::Connection,
            Kind::Timeout if !self.is_unsent() => Fault::Cancelled,
            // That of the last attempt: none of them is evidence.
            Kind::RetryExhausted => self.last().map_or(Fault::Caller, Self::fault),
            _ => Fault::Caller,
        }
    }

    /// Whether this says anything about an endpoint.
    pub(crate) fn is_evidence(&self) -> bool {
        self.fault() == Fault::Endpoint
    }

    /// Makes the error of a call that never reached its endpoint, such as one for which no connection
    /// could be made.
    ///
    /// For a transport of your own. The kind is [`Kind::Connection`] and
    /// [`is_unsent`](Self::is_unsent) is true, so the call may go to another endpoint whatever it
    /// does. Counts as a failure of the endpoint.
    ///
    /// ```
    /// use tower_upstream::error::{Error, Kind};
    /// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    /// let error = Error::unsent(refused);
    /// assert!(error.kind() == Kind::Connection && error.is_unsent());
    /// ```
    pub fn unsent(source: impl Into<BoxError>) -> Self {
        Self::not_sent(Kind::Connection).message("the call could not be sent").caused_by(source)
    }

    /// Makes the error of a call that a guard turned away before it was sent.
    ///
    /// For a guard of your own. The kind is [`Kind::Overloaded`], and [`is_refused`](Self::is_refused) is
    /// true. Counts as a failure of no endpoint. From below a balancer, the call goes to another endpoint
    /// once, whatever it does, and that costs no retry budget.
    ///
    /// ```
    /// use tower_upstream::error::{Error, Kind};
    /// let error = Error::refusal("it is day");
    /// assert!(error.kind() == Kind::Overloaded && error.is_refused() && error.is_unsent());
    /// assert_eq!(error.to_string(), "[RATELIMIT_1502] a guard refused the call: it is day");
    /// ```
    pub fn refusal(source: impl Into<BoxError>) -> Self {
        Self::refused(Kind::Overloaded).message("a guard refused the call").caused_by(source)
    }

    /// Makes the error of a call that failed because a connection that had been idle was dead.
    ///
    /// For a transport of your own. The kind is [`Kind::Connection`]. Does not count against the
    /// endpoint, and an idempotent call may be sent again. An error on a fresh connection is the
    /// endpoint's: return that error as it is.
    ///
    /// ```
    /// use tower_upstream::error::{Error, Kind};
    /// let error = Error::connection("reset by peer");
    /// assert!(error.kind() == Kind::Connection && !error.is_unsent());
    /// ```
    pub fn connection(source: impl Into<BoxError>) -> Self {
        let error = Self::failed(Kind::Connection).without_blame();
        error.message("an idle connection had broken").caused_by(source)
    }

    /// Makes the error of a config that cannot work, which `text` says in the words of a program, such as
    /// `"`module` is not set"`.
    ///
    /// For a `plugins::Factory` of your own (feature `config`). The kind is [`Kind::InvalidConfig`], and
    /// [`is_unsent`](Self::is_unsent) is true. Does not count against an endpoint.
    ///
    /// ```
    /// use tower_upstream::error::{Error, Kind};
    /// let error = Error::invalid_config("`module` is not set");
    /// assert!(error.kind() == Kind::InvalidConfig && error.is_unsent());
    /// assert_eq!(error.to_string(), "[CONFIG_1703] `module` is not set");
    /// ```
    pub fn invalid_config(text: impl Into<String>) -> Self {
        Self::not_sent(Kind::InvalidConfig).message(text.into())
    }

    /// Makes the error of a call that failed because of what its caller sent, such as a body that
    /// broke off.
    ///
    /// For a transport of your own. The kind is [`Kind::InvalidRequest`]. Does not count against the
    /// endpoint, and the call is not sent again.
    ///
    /// ```
    /// use tower_upstream::error::{Error, Kind};
    /// let error = Error::caller("the upload was aborted");
    /// assert_eq!(error.kind(), Kind::InvalidRequest);
    /// ```
    pub fn caller(source: impl Into<BoxError>) -> Self {
        Self::failed(Kind::InvalidRequest).without_blame().caused_by(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_somebodys_fault() {
        let timeout = Error::failed(Kind::Timeout);
        let exhausted = |last| Error::exhausted(vec![Error::connection("reset")], last);
        for (error, fault) in [
            (Error::refused(Kind::RateLimited), Fault::Guard),
            (Error::failed(Kind::RateLimited), Fault::Endpoint),
            (Error::not_sent(Kind::Connection), Fault::Endpoint),
            (Error::unsent("refused"), Fault::Endpoint),
            (Error::refusal("it is day"), Fault::Guard),
            (Error::connection("reset"), Fault::Connection),
            (Error::caller("too long"), Fault::Caller),
            (Error::not_sent(Kind::InvalidConfig), Fault::Caller),
            (timeout.clone(), Fault::Endpoint),
            (timeout.without_blame(), Fault::Cancelled),
            (Error::blameless(Kind::Timeout), Fault::Caller),
            (exhausted(Error::connection("reset")), Fault::Connection),
            (exhausted(Error::refused(Kind::CircuitOpen)), Fault::Guard),
            (exhausted(Error::caller("too long")), Fault::Caller),
            (exhausted(Error::unsent("refused")), Fault::Endpoint),
        ] {
            assert_eq!(error.fault(), fault, "{error:?}");
        }
    }
}
