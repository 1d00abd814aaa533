use std::{error::Error as StdError, sync::Arc};

use super::error::Error;

impl Error {
    /// Takes the error of another type out of this one: the inner service's, as it was before the
    /// layers of this crate took it over. It may stand behind several errors of this crate, such as
    /// that of the last attempt.
    ///
    /// # Errors
    /// Returns the error itself, unchanged, in three cases: there is no `E` in it; the `E` stands behind
    /// an error of another crate, which only [`source`](StdError::source) can look through; or a clone
    /// of this error exists, so that the `E` belongs to both. An `Arc<E>` that the service answered with
    /// is found as `Arc<E>`.
    ///
    /// # Example
    /// ```
    /// use std::io;
    /// use tower_upstream::error::{BoxError, Error};
    ///
    /// fn exit_code(error: Error) -> i32 {
    ///     match error.downcast::<io::Error>() {
    ///         Ok(error) => error.raw_os_error().unwrap_or(1),
    ///         Err(error) if error.is_refused() => 75,
    ///         Err(_) => 1,
    ///     }
    /// }
    /// let error = Error::from_service(io::Error::from_raw_os_error(111));
    /// assert_eq!(exit_code(error), 111);
    /// ```
    pub fn downcast<E: StdError + 'static>(mut self) -> Result<E, Self> {
        self.take_out().ok_or(self)
    }

    /// Changes nothing if there is no such source, or another error shares it.
    fn take_out<E: StdError + 'static>(&mut self) -> Option<E> {
        let rest = Arc::get_mut(self.rest.as_mut()?)?;
        let Some(source) = &mut rest.source else {
            return rest.history.last_mut()?.take_out();
        };
        let source = Arc::get_mut(source)?;
        if !source.is::<E>() {
            return source.downcast_mut::<Self>()?.take_out();
        }
        let source = Arc::into_inner(rest.source.take()?)?;
        Some(*source.downcast().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;
    use crate::error::{BoxError, Kind};

    #[derive(Debug, PartialEq)]
    struct Mine(u8);

    impl fmt::Display for Mine {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "mine {}", self.0)
        }
    }

    impl StdError for Mine {}

    #[test]
    fn what_a_service_answered_with_comes_out_whole() {
        assert_eq!(Error::from_service(Mine(7)).downcast::<Mine>().unwrap(), Mine(7));
        assert_eq!(
            Error::from_service(BoxError::from(Mine(7))).downcast::<Mine>().unwrap(),
            Mine(7)
        );
        let shared = Arc::new(Mine(7));
        let error = Error::from_service(shared.clone()).downcast::<Mine>().unwrap_err();
        assert!(Arc::ptr_eq(&error.downcast::<Arc<Mine>>().unwrap(), &shared));
    }

    #[test]
    fn layers_of_ours_do_not_hide_it() {
        let inner = || Error::from_service(Mine(7));
        let outer = Error::refused(Kind::AllEndpointsDown).caused_by(inner()).message("more");
        assert_eq!(outer.downcast::<Mine>().unwrap(), Mine(7));
        let twice = Error::failed(Kind::Connection).caused_by(Error::unsent(inner()));
        assert_eq!(twice.downcast::<Mine>().unwrap(), Mine(7));
        let exhausted = Error::exhausted(vec![Error::failed(Kind::Timeout)], inner());
        assert_eq!(exhausted.after_attempts(2, None).downcast::<Mine>().unwrap(), Mine(7));
    }

    #[test]
    fn what_cannot_be_taken_leaves_the_error_as_it_was() {
        let error = Error::from_service(Mine(7));
        let clone = error.clone();
        let error = error.downcast::<Mine>().unwrap_err();
        assert!(error.source().is_some_and(|source| source.is::<Mine>()));
        drop(clone);
        let error = error.downcast::<io::Error>().unwrap_err();
        assert!(Error::refused(Kind::RateLimited).downcast::<Mine>().is_err());
        let foreign = Error::from_service(io::Error::other(Mine(7)));
        assert!(foreign.downcast::<Mine>().unwrap_err().downcast::<io::Error>().is_ok());
        // Of one that all attempts share, such as a refusal, likewise.
        let last = Error::from_service(Mine(8));
        let exhausted = Error::exhausted(vec![last.clone()], last);
        let exhausted = exhausted.downcast::<Mine>().unwrap_err();
        assert_eq!((exhausted.kind(), exhausted.history().len()), (Kind::RetryExhausted, 2));
        assert_eq!(error.downcast::<Mine>().unwrap(), Mine(7));
    }
}
