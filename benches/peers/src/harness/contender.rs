//! Who is compared, and at what.

use tower::Service;

use super::{
    alone::{self, Subject},
    crowd::{self, Sampler},
};
use crate::traffic::Traffic;

/// What several do, each in its way.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) contenders: Vec<Contender>,
}

/// One way to do it.
pub(crate) struct Contender {
    pub(super) name: &'static str,
    pub(super) role: Role,
    /// The traffic that it gets, and so the bare loop that it is compared with.
    pub(super) traffic: &'static str,
    /// Whether it keeps a record of each call for a while, so that its past makes it slower.
    pub(super) keeps_records: bool,
    pub(super) alone: Option<Box<dyn Fn() -> Box<dyn Subject>>>,
    pub(super) together: Option<Box<dyn Fn() -> Box<dyn Sampler>>>,
}

/// One contender for one workload, as callgrind runs it.
pub(super) struct Case {
    name: String,
    prepare: Box<dyn Fn() -> Box<dyn Subject>>,
}

impl Workload {
    pub(super) fn into_cases(self) -> impl Iterator<Item = Case> {
        let workload = self.name;
        self.contenders.into_iter().filter_map(move |contender| {
            let name = contender.case(workload);
            Some(Case { name, prepare: contender.alone? })
        })
    }
}

impl Case {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn prepare(&self) -> Box<dyn Subject> {
        (self.prepare)()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The loop and the inner service.
    Bare,
    /// A lower bound that was written by hand: it does less than is asked for.
    Floor,
    Peer,
    Ours,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Floor => "floor",
            Self::Peer => "peer",
            Self::Ours => "ours",
        }
    }
}

impl Contender {
    pub(crate) fn bare(name: &'static str) -> Self {
        Self::new(name, Role::Bare)
    }

    pub(crate) fn floor(name: &'static str) -> Self {
        Self::new(name, Role::Floor)
    }

    pub(crate) fn peer(name: &'static str) -> Self {
        Self::new(name, Role::Peer)
    }

    pub(crate) fn ours(name: &'static str) -> Self {
        Self::new(name, Role::Ours)
    }

    /// The name of the [`Case`].
    pub(super) fn case(&self, workload: &str) -> String {
        format!("{workload}: {}", self.name)
    }

    fn new(name: &'static str, role: Role) -> Self {
        Self { name, role, traffic: "", keeps_records: false, alone: None, together: None }
    }

    /// As one task, and as clones that many tasks call.
    pub(crate) fn both<T, S>(self, traffic: T, build: impl Fn() -> S + Clone + 'static) -> Self
    where
        T: Traffic,
        S: Service<T::Request, Response = T::Response, Future: Send> + Clone + Send + 'static,
    {
        self.alone(traffic, build.clone()).together(traffic, build)
    }

    /// As one task, which owns the service.
    pub(crate) fn alone<T, S>(mut self, traffic: T, build: impl Fn() -> S + 'static) -> Self
    where
        T: Traffic,
        S: Service<T::Request, Response = T::Response> + 'static,
    {
        self.traffic = T::LOOP;
        self.alone = Some(Box::new(move || alone::prepare(traffic, &build)));
        self
    }

    /// As clones that many tasks call.
    pub(crate) fn together<T, S>(mut self, traffic: T, build: impl Fn() -> S + 'static) -> Self
    where
        T: Traffic,
        S: Service<T::Request, Response = T::Response, Future: Send> + Clone + Send + 'static,
    {
        self.traffic = T::LOOP;
        self.together = Some(Box::new(move || crowd::prepare(traffic, &build)));
        self
    }

    /// Starts with ten thousand calls on record, as of a thousand a second for ten seconds, and
    /// gets samples so short that there are not many more in the end. The row tells how many.
    pub(crate) fn keeps_records(mut self) -> Self {
        self.keeps_records = true;
        self
    }
}
