//! What is sent, and what must come of it.

use std::cell::Cell;

use axum::body::Body;
use http::{Request, Response, StatusCode};

use crate::inner::FAILS;

/// A stream of requests, numbered from 0.
pub(crate) trait Traffic: Copy + Send + Sync + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;

    /// Which requests these are: what is measured is compared with the bare loop over the same.
    const LOOP: &'static str = "plain";

    fn request(self, number: u64) -> Self::Request;

    /// What is sent before, to bring about the state that is measured.
    fn opening(self) -> impl Iterator<Item = Self::Request> {
        (0..1_000).map(move |number| self.request(number))
    }

    /// How many of so many requests succeed.
    fn successes(self, calls: u64) -> u64;

    #[inline]
    fn is_success(_: &Self::Response) -> bool {
        true
    }
}

/// All succeed.
#[derive(Clone, Copy)]
pub(crate) struct Good;

/// Would all succeed, if they were not refused: nothing but refusals makes this come out. Before
/// it a thousand fail.
#[derive(Clone, Copy)]
pub(crate) struct Refused;

/// Of each hundred the last fails.
#[derive(Clone, Copy)]
pub(crate) struct OneInAHundred;

/// All succeed, and have a hundred thousand keys in turn.
#[derive(Clone, Copy)]
pub(crate) struct Keys;

/// Each of the hundred thousand keys has had its share, and is refused.
#[derive(Clone, Copy)]
pub(crate) struct KeysRefused;

/// The same over HTTP, where a refusal is an answer.
#[derive(Clone, Copy)]
pub(crate) struct Http<T>(pub(crate) T);

impl Traffic for Good {
    type Request = u64;
    type Response = u64;

    #[inline]
    fn request(self, number: u64) -> u64 {
        number
    }

    fn successes(self, calls: u64) -> u64 {
        calls
    }
}

impl Traffic for Refused {
    type Request = u64;
    type Response = u64;

    #[inline]
    fn request(self, number: u64) -> u64 {
        number
    }

    fn opening(self) -> impl Iterator<Item = u64> {
        (0..1_000).map(|_| FAILS)
    }

    fn successes(self, _: u64) -> u64 {
        0
    }
}

impl Traffic for OneInAHundred {
    type Request = u64;
    type Response = u64;

    #[inline]
    fn request(self, number: u64) -> u64 {
        if number % 100 == 99 { FAILS } else { number }
    }

    fn successes(self, calls: u64) -> u64 {
        calls - calls / 100
    }
}

const KEYS: u64 = 100_000;

/// Far from its neighbours; each comes once in a round.
#[inline]
fn key(number: u64) -> u64 {
    number % KEYS * 61_803 % KEYS
}

impl Traffic for Keys {
    type Request = u64;
    type Response = u64;

    #[inline]
    fn request(self, number: u64) -> u64 {
        key(number)
    }

    fn opening(self) -> impl Iterator<Item = u64> {
        0..KEYS
    }

    fn successes(self, calls: u64) -> u64 {
        calls
    }
}

impl Traffic for KeysRefused {
    type Request = u64;
    type Response = u64;

    #[inline]
    fn request(self, number: u64) -> u64 {
        key(number)
    }

    fn opening(self) -> impl Iterator<Item = u64> {
        0..KEYS
    }

    fn successes(self, _: u64) -> u64 {
        0
    }
}

thread_local! {
    static KEY: Cell<u64> = const { Cell::new(0) };
}

/// Made right before it is sent, so its key is still at hand.
#[inline]
fn http_request(key: u64) -> Request<u64> {
    KEY.set(key);
    Request::new(key)
}

/// The key of the request that is sent just now by this thread.
#[inline]
pub(crate) fn key_at_hand() -> u64 {
    KEY.get()
}

impl<T: Traffic<Request = u64>> Traffic for Http<T> {
    type Request = Request<u64>;
    type Response = Response<Body>;

    const LOOP: &'static str = "http";

    #[inline]
    fn request(self, number: u64) -> Request<u64> {
        http_request(self.0.request(number))
    }

    fn opening(self) -> impl Iterator<Item = Request<u64>> {
        self.0.opening().map(http_request)
    }

    fn successes(self, calls: u64) -> u64 {
        self.0.successes(calls)
    }

    #[inline]
    fn is_success(response: &Response<Body>) -> bool {
        response.status() == StatusCode::OK
    }
}
