//! Which of the candidates gets a call.

mod candidates;
mod least_request;
mod random;
mod round_robin;
mod strategy;

pub use self::{
    candidates::{Candidate, Candidates},
    least_request::LeastRequest,
    random::Random,
    round_robin::{RoundRobin, RoundRobinTable},
    strategy::{Pick, Strategy},
};
