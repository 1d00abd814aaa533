//! What a layer above a balancer may ask of it: which endpoint a call reached, and another one next time.
//!
//! Guide: [extending](../_guide/extending/index.html).

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use crate::{decision::Decision, member::Member};

/// A service that chooses one of several endpoints for each call.
///
/// Implemented by [`Balance`](crate::balance::Balance), and passed through by every layer of this
/// crate that may stand above it. It is what lets a
/// [`FailoverLayer`](crate::failover::FailoverLayer) send the next attempt elsewhere.
///
/// Implement it, and [`Chooses`], for a layer of yours that stands between the two. A failover calls
/// `call_avoiding` and `call_hedging` only, so what such a layer does must be in those, too.
///
/// # Example
/// ```
/// use tower_upstream::choose::{Choose, Tried};
///
/// fn again<S: Choose<Req>, Req>(service: &mut S, request: Req, tried: &Tried) -> S::Choosing {
///     service.call_avoiding(request, tried)
/// }
/// ```
pub trait Choose<Req>: Service<Req> + Chooses {
    /// Future of the response, which also tells the member that was chosen.
    type Choosing: Future<Output = Result<Self::Response, Self::Error>> + Chosen;

    /// Like `call`, but chooses one of the endpoints that were not tried, while there is one.
    fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing;

    /// Like `call_avoiding`, for a call that is sent while another attempt of it is in flight, which is among
    /// `tried`: so only to an endpoint that was not tried and takes the call at once. `None` if there is none
    /// that is worth it, and then nothing was sent. Default: none, so a service that does not know it is never
    /// used for hedging.
    ///
    /// Called if [`can_hedge`](Chooses::can_hedge) said so, on a service that is ready. A layer of yours
    /// implements both:
    ///
    /// ```
    /// # use std::task::{Context, Poll};
    /// use tower::Service;
    /// use tower_upstream::choose::{Choose, Chooses, Tried};
    ///
    /// struct Mine<S>(S);
    /// # impl<S: Service<Req>, Req> Service<Req> for Mine<S> {
    /// #     type Response = S::Response;
    /// #     type Error = S::Error;
    /// #     type Future = S::Future;
    /// #     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> { self.0.poll_ready(cx) }
    /// #     fn call(&mut self, request: Req) -> S::Future { self.0.call(request) }
    /// # }
    ///
    /// impl<S: Chooses> Chooses for Mine<S> {
    ///     fn has_untried(&self, tried: &Tried) -> bool {
    ///         self.0.has_untried(tried)
    ///     }
    ///     fn can_hedge(&self, tried: &Tried) -> bool {
    ///         self.0.can_hedge(tried)
    ///     }
    /// }
    ///
    /// impl<S: Choose<Req>, Req> Choose<Req> for Mine<S> {
    ///     type Choosing = S::Choosing;
    ///
    ///     fn call_avoiding(&mut self, request: Req, tried: &Tried) -> S::Choosing {
    ///         self.0.call_avoiding(request, tried)
    ///     }
    ///     fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<S::Choosing> {
    ///         self.0.call_hedging(request, tried)
    ///     }
    /// }
    /// ```
    fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
        let _ = (request, tried);
        None
    }
}

/// A service that chooses, whatever the request. See [`Choose`].
///
/// ```
/// use std::task::{Context, Poll};
/// use tower_upstream::choose::{Chooses, Tried};
///
/// /// A layer of one's own that may stand between a failover and a balancer.
/// struct Mine<S>(S);
///
/// impl<S: Chooses> Chooses for Mine<S> {
///     fn has_untried(&self, tried: &Tried) -> bool {
///         self.0.has_untried(tried)
///     }
///     fn poll_endpoint(&mut self, cx: &mut Context<'_>) -> Poll<()> {
///         self.0.poll_endpoint(cx)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not choose an endpoint, so a `FailoverLayer` cannot stand above it",
    label = "between `FailoverLayer` and `BalanceLayer` only layers that pass `Choose` on can stand",
    note = "put a timeout for each attempt into `Attempts::timeout`, and other layers above \
            `FailoverLayer` or below `BalanceLayer`",
    note = "a single client has no other endpoint: retry with `tower::retry`"
)]
pub trait Chooses {
    /// Returns whether an endpoint can be chosen that is not among `tried`.
    fn has_untried(&self, tried: &Tried) -> bool;

    /// Whether a call that has tried `tried` may be sent to one more endpoint, while one of those has it. Asked
    /// before the hedge is paid for. Default: no.
    fn can_hedge(&self, tried: &Tried) -> bool {
        let _ = tried;
        false
    }

    /// Ready when an endpoint can be chosen, or when none will be: the service has no runtime. Default:
    /// ready at once, which is what a service says that does not know.
    ///
    /// What a [`FailoverLayer`](crate::failover::FailoverLayer) waits for, if it is to
    /// [wait for an endpoint](crate::failover::Attempts::wait_for_endpoint).
    fn poll_endpoint(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// The response future of a service that chooses.
///
/// ```
/// use tower_upstream::choose::Chosen;
/// fn endpoint<F: Chosen>(future: &F) -> Option<&str> {
///     future.chosen().map(|member| member.key())
/// }
/// ```
pub trait Chosen {
    /// The member that the call went to, or waits for; `None` if it got to none.
    ///
    /// Stays readable after the future has finished.
    fn chosen(&self) -> Option<&Arc<Member>>;

    /// Whether the call was not handed to the endpoint's service yet.
    fn is_unsent(&self) -> bool;

    /// Why the call went to that member, or waits for it, while it has no answer; `None` if the call is not
    /// [explained](crate::balance::BalanceConfig::explain). Default: `None`. Pass it on, so that the error of an
    /// attempt that takes too long tells it.
    fn decision(&self) -> Option<Arc<Decision>> {
        None
    }
}

/// The members that a call has tried.
///
/// ```
/// use tower_upstream::{Endpoint, choose::Tried, member::Member};
/// let member = Member::new("a:1".parse::<Endpoint>()?);
/// let mut tried = Tried::default();
/// tried.insert(member.clone());
/// assert!(tried.contains(&member));
/// # Ok::<(), tower_upstream::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tried {
    // One word, and nothing on the heap before the first failure.
    members: Option<Arc<Vec<Arc<Member>>>>,
}

impl Tried {
    pub(crate) const NONE: &'static Self = &Self { members: None };

    /// Notes that `member` was tried.
    pub fn insert(&mut self, member: Arc<Member>) {
        if !self.contains(&member) {
            Arc::make_mut(self.members.get_or_insert_default()).push(member);
        }
    }

    /// Returns whether `member` was tried.
    #[inline]
    pub fn contains(&self, member: &Member) -> bool {
        match &self.members {
            None => false,
            Some(members) => members.iter().any(|tried| std::ptr::eq(&**tried, member)),
        }
    }

    /// Returns whether none was tried.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_none()
    }

    /// Returns how many were tried.
    pub fn len(&self) -> usize {
        self.members.as_ref().map_or(0, |members| members.len())
    }
}

#[cfg(feature = "tower")]
pub use either::EitherChoosing;

#[cfg(feature = "tower")]
mod either {
    use std::pin::Pin;

    use pin_project_lite::pin_project;
    use tower::util::Either;

    use super::*;

    pin_project! {
        /// The response of one of two services that choose. Made for [`tower::util::Either`].
        #[project = EitherProj]
        #[derive(Debug)]
        #[allow(missing_docs, reason = "the fields are the futures themselves")]
        pub enum EitherChoosing<A, B> {
            /// Of the left one.
            Left { #[pin] future: A },
            /// Of the right one.
            Right { #[pin] future: B },
        }
    }

    impl<A, B, T> Future for EitherChoosing<A, B>
    where
        A: Future<Output = T>,
        B: Future<Output = T>,
    {
        type Output = T;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
            match self.project() {
                EitherProj::Left { future } => future.poll(cx),
                EitherProj::Right { future } => future.poll(cx),
            }
        }
    }

    impl<A: Chosen, B: Chosen> Chosen for EitherChoosing<A, B> {
        fn chosen(&self) -> Option<&Arc<Member>> {
            match self {
                Self::Left { future } => future.chosen(),
                Self::Right { future } => future.chosen(),
            }
        }

        fn is_unsent(&self) -> bool {
            match self {
                Self::Left { future } => future.is_unsent(),
                Self::Right { future } => future.is_unsent(),
            }
        }

        fn decision(&self) -> Option<Arc<Decision>> {
            match self {
                Self::Left { future } => future.decision(),
                Self::Right { future } => future.decision(),
            }
        }
    }

    impl<A: Chooses, B: Chooses> Chooses for Either<A, B> {
        fn has_untried(&self, tried: &Tried) -> bool {
            match self {
                Self::Left(left) => left.has_untried(tried),
                Self::Right(right) => right.has_untried(tried),
            }
        }

        fn can_hedge(&self, tried: &Tried) -> bool {
            match self {
                Self::Left(left) => left.can_hedge(tried),
                Self::Right(right) => right.can_hedge(tried),
            }
        }

        fn poll_endpoint(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            match self {
                Self::Left(left) => left.poll_endpoint(cx),
                Self::Right(right) => right.poll_endpoint(cx),
            }
        }
    }

    impl<A, B, Req> Choose<Req> for Either<A, B>
    where
        A: Choose<Req>,
        B: Choose<Req, Response = A::Response, Error = A::Error>,
        Self: Service<Req, Response = A::Response, Error = A::Error>,
    {
        type Choosing = EitherChoosing<A::Choosing, B::Choosing>;

        fn call_avoiding(&mut self, request: Req, tried: &Tried) -> Self::Choosing {
            match self {
                Self::Left(left) => {
                    EitherChoosing::Left { future: left.call_avoiding(request, tried) }
                }
                Self::Right(right) => {
                    EitherChoosing::Right { future: right.call_avoiding(request, tried) }
                }
            }
        }

        fn call_hedging(&mut self, request: Req, tried: &Tried) -> Option<Self::Choosing> {
            Some(match self {
                Self::Left(left) => {
                    EitherChoosing::Left { future: left.call_hedging(request, tried)? }
                }
                Self::Right(right) => {
                    EitherChoosing::Right { future: right.call_hedging(request, tried)? }
                }
            })
        }
    }
}
