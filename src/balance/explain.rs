//! What is noted of the choice for a call that is explained, while it is made.

use std::sync::Arc;

use super::strategy::{Candidates, Noted, Notes, Pick};
use crate::{
    choose::Tried,
    decision::{Considered, Decision, PassedOver, Regime},
    member::{Member, Reason},
};

/// Notes of the choices for one call; `None` if it is not explained.
pub(super) type Told = Option<Box<Choices>>;

pub(super) struct Choices {
    strategy: &'static str,
    /// Of the last choice.
    regime: Regime,
    /// The last ones, no more than are listed. Those that were chosen have no reason yet.
    considered: Vec<Considered>,
}

impl Choices {
    #[cold]
    pub(super) fn new(strategy: &'static str) -> Box<Self> {
        Box::new(Self { strategy, regime: Regime::Normal, considered: Vec::new() })
    }

    /// What the strategy picks, with what it compares.
    fn pick<P, Req>(
        &mut self,
        strategy: &P,
        table: &P::Table,
        candidates: Candidates<'_>,
        request: &Req,
        regime: Regime,
    ) -> Option<usize>
    where
        P: Pick<Req>,
    {
        let notes = Notes::default();
        let picked = strategy.explain(table, candidates, request, &notes);
        self.regime = match regime {
            Regime::Normal if notes.is_spilled() => Regime::Spill,
            Regime::Normal if notes.is_random() => Regime::Random,
            regime => regime,
        };
        let mut noted = notes.into_noted();
        if let Some(picked) = picked.filter(|&index| noted.iter().all(|of| of.index != index)) {
            noted.push(Noted::new(picked, PassedOver::NotDrawn));
        }
        for of in noted {
            let Some(candidate) = candidates.get(of.index) else { continue };
            let member = candidate.member();
            let why = match picked == Some(of.index) {
                true => None,
                false if candidates.is_free(of.index) => Some(of.passed_over),
                false => Some(barred(member).unwrap_or(PassedOver::Tried)),
            };
            let number = |of: Option<f64>| of.filter(|of| !of.is_nan());
            self.consider(member, number(of.cost), number(of.bound), why);
        }
        picked
    }

    /// It was chosen without a strategy.
    fn take(&mut self, member: &Member, regime: Regime) {
        self.regime = regime;
        self.consider(member, None, None, None);
    }

    /// The last word counts of what is considered again.
    fn consider(
        &mut self,
        member: &Member,
        cost: Option<f64>,
        bound: Option<f64>,
        passed_over: Option<PassedOver>,
    ) {
        let key = member.shared_key();
        let before = self.considered.iter().position(|of| of.key == *key);
        let full = (self.considered.len() >= Decision::MOST).then_some(0);
        if let Some(at) = before.or(full) {
            self.considered.remove(at);
        }
        self.considered.push(Considered { key: key.clone(), cost, bound, passed_over });
    }

    /// The decision, once the call is made to `chosen`, or to none. `all` are the members of the set; `beside`
    /// says more of the call than the choice knew.
    #[cold]
    pub(super) fn decide(
        mut self,
        chosen: Option<&Member>,
        all: &[Arc<Member>],
        tried: &Tried,
        beside: Option<Regime>,
    ) -> Arc<Decision> {
        let again = (!tried.is_empty()).then_some(Regime::Failover);
        let regime = beside.or(again).unwrap_or(self.regime);
        let endpoint = chosen.map(|member| member.shared_key().clone());
        let at = self.considered.iter().position(|of| Some(&of.key) == endpoint.as_ref());
        let mut candidates = Vec::new();
        if let Some(key) = &endpoint {
            let of = at.map(|at| self.considered.remove(at));
            let (cost, bound) = of.map_or((None, None), |of| (of.cost, of.bound));
            candidates.push(Considered { key: key.clone(), cost, bound, passed_over: None });
        }
        for mut of in self.considered {
            of.passed_over.get_or_insert(PassedOver::NotReady);
            candidates.push(of);
        }
        for member in all {
            if candidates.len() >= Decision::MOST {
                break;
            }
            let key = member.shared_key();
            if candidates.iter().any(|of| of.key == *key) {
                continue;
            }
            let why = if tried.contains(member) { Some(PassedOver::Tried) } else { barred(member) };
            let passed_over = Some(why.unwrap_or(PassedOver::NotDrawn));
            let key = key.clone();
            candidates.push(Considered { key, cost: None, bound: None, passed_over });
        }
        candidates.truncate(Decision::MOST);
        let (strategy, members) = (self.strategy, all.len());
        Arc::new(Decision { endpoint, strategy, regime, candidates, members })
    }
}

/// What `strategy` picks, and the notes of it if the call is explained.
#[inline]
pub(super) fn pick<P, Req>(
    told: &mut Told,
    strategy: &P,
    table: &P::Table,
    candidates: Candidates<'_>,
    request: &Req,
    regime: Regime,
) -> Option<usize>
where
    P: Pick<Req>,
{
    match told {
        None => strategy.pick(table, candidates, request),
        Some(choices) => choices.pick(strategy, table, candidates, request, regime),
    }
}

/// `member` was chosen without a strategy.
pub(super) fn take(told: &mut Told, member: &Member, regime: Regime) {
    if let Some(choices) = told {
        choices.take(member, regime);
    }
}

/// Why a member can get no call at present.
fn barred(member: &Member) -> Option<PassedOver> {
    member.reasons().next().map(|reason| match reason {
        Reason::Unhealthy => PassedOver::Unhealthy,
        Reason::CircuitOpen => PassedOver::CircuitOpen,
        Reason::Busy => PassedOver::Busy,
        Reason::Ejected => PassedOver::Ejected,
        Reason::Draining => PassedOver::Draining,
        Reason::Disabled => PassedOver::Disabled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn a_call_that_considers_many_remembers_the_last_ones() {
        let member = |number: usize| Member::new(Endpoint::new(format!("a:{number}")).unwrap());
        let members: Vec<_> = (1..=1_000).map(member).collect();
        let mut choices = Choices::new("any");
        for member in &members {
            choices.consider(member, Some(1.0), None, Some(PassedOver::Costlier));
            assert!(choices.considered.len() <= Decision::MOST);
        }
        choices.consider(&members[990], Some(2.0), None, None);
        assert_eq!(choices.considered.len(), Decision::MOST);
        let decision = choices.decide(Some(&*members[990]), &members, Tried::NONE, None);
        let listed = decision.candidates();
        assert_eq!((listed.len(), decision.members()), (Decision::MOST, 1_000));
        assert_eq!((listed[0].key(), listed[0].cost()), ("a:991", Some(2.0)));
        assert_eq!((listed[1].key(), listed[63].key()), ("a:937", "a:1000"));
    }
}
