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

#[derive(Clone)]
pub(super) struct Choices {
    strategy: &'static str,
    /// The last ones, no more than are listed, each with the circumstances. Those that were chosen have no reason yet.
    considered: Vec<(Considered, Regime)>,
}

impl Choices {
    #[cold]
    pub(super) fn new(strategy: &'static str) -> Box<Self> {
        Box::new(Self { strategy, considered: Vec::new() })
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
        let regime = match regime {
            Regime::Normal if notes.is_spilled() => Regime::Spill,
            Regime::Normal if notes.is_random() => Regime::Random,
            regime => regime,
        };
        let mut noted = notes.into_noted();
        if let Some(picked) = picked.filter(|&index| noted.iter().all(|of| of.index != index)) {
            noted.push(Noted::new(picked, PassedOver::NotDrawn));
        }
        // The others could not be had: the end of the call tells why.
        for of in noted.into_iter().filter(|of| candidates.is_free(of.index)) {
            let Some(candidate) = candidates.get(of.index) else { continue };
            let number = |of: Option<f64>| of.filter(|of| !of.is_nan());
            let passed_over = (picked != Some(of.index)).then_some(of.passed_over);
            let (cost, bound) = (number(of.cost), number(of.bound));
            let key = candidate.member().shared_key().clone();
            self.consider(Considered { key, cost, bound, passed_over }, regime);
        }
        picked
    }

    /// It was chosen without a strategy.
    fn take(&mut self, member: &Member, regime: Regime) {
        self.consider(Considered::unseen(member.shared_key(), None), regime);
    }

    /// The last word counts of what is considered again.
    fn consider(&mut self, of: Considered, regime: Regime) {
        let before = self.considered.iter().position(|(before, _)| before.key == of.key);
        // Not one that was chosen: the call may go there yet.
        let least = || {
            let is_over = |(before, _): &(Considered, _)| before.passed_over.is_some();
            self.considered.iter().position(is_over).unwrap_or(0)
        };
        let full = (self.considered.len() >= Decision::MOST).then(least);
        if let Some(at) = before.or(full) {
            self.considered.remove(at);
        }
        self.considered.push((of, regime));
    }

    /// The decision, once the call is made to `chosen`, or to none. `all` are the members of the set; `beside`
    /// says more of the call than the choice knew, and `bars` what bars a member: for a call that looks at what nothing
    /// bars first, or for any.
    #[cold]
    pub(super) fn decide(
        mut self,
        chosen: Option<&Member>,
        all: &[Arc<Member>],
        tried: &Tried,
        beside: Option<Regime>,
        bars: impl Fn(&Member, bool) -> Option<PassedOver>,
    ) -> Arc<Decision> {
        let endpoint = chosen.map(|member| member.shared_key().clone());
        let at = self.considered.iter().position(|(of, _)| Some(&of.key) == endpoint.as_ref());
        let first = at.map(|at| self.considered.remove(at));
        let last = self.considered.last().map(|(_, regime)| *regime);
        let made = first.as_ref().map(|(_, regime)| *regime).or(last).unwrap_or(Regime::Normal);
        let again = (!tried.is_empty()).then_some(Regime::Failover);
        let regime = beside.or(again).unwrap_or(made);
        // A further attempt looks at what nothing bars first, also in a panic.
        let is_strict = !tried.is_empty() && made != Regime::Panic;

        let mut candidates = Vec::new();
        if let Some(key) = &endpoint {
            let first = first.map_or_else(|| Considered::unseen(key, None), |(of, _)| of);
            candidates.push(Considered { passed_over: None, ..first });
        }
        for (mut of, _) in self.considered {
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
            let why = match tried.contains(member) {
                true => PassedOver::Tried,
                false => bars(member, is_strict).unwrap_or(PassedOver::NotDrawn),
            };
            candidates.push(Considered::unseen(key, Some(why)));
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

/// Why a member can get no call at present, by those of the `bars` that it has.
pub(super) fn barred(member: &Member, bars: u64) -> Option<PassedOver> {
    member.reasons().find(|reason| reason.bits() & bars != 0).map(|reason| match reason {
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
        let considered = |member: &Member, cost, passed_over| {
            let key = member.shared_key().clone();
            Considered { key, cost: Some(cost), bound: None, passed_over }
        };
        choices.consider(considered(&members[0], 3.0, None), Regime::Spill);
        for member in &members[1..] {
            let of = considered(member, 1.0, Some(PassedOver::Costlier));
            choices.consider(of, Regime::Normal);
            assert!(choices.considered.len() <= Decision::MOST);
        }
        choices.consider(considered(&members[990], 2.0, None), Regime::Normal);
        assert_eq!(choices.considered.len(), Decision::MOST);
        let decide = |choices: Choices, chosen: &Arc<Member>| {
            choices.decide(Some(&**chosen), &members, Tried::NONE, None, |_, _| None)
        };
        let before = Choices { considered: choices.considered.clone(), ..*choices };
        let decision = decide(before, &members[0]);
        let first = &decision.candidates()[0];
        assert_eq!((first.key(), first.cost()), ("a:1", Some(3.0)), "it was chosen first");
        assert_eq!(decision.regime(), Regime::Spill, "as it was then");
        let decision = decide(*choices, &members[990]);
        let listed = decision.candidates();
        assert_eq!((listed.len(), decision.members()), (Decision::MOST, 1_000));
        assert_eq!((listed[0].key(), listed[0].cost()), ("a:991", Some(2.0)));
        assert_eq!((listed[1].key(), listed[1].passed_over()), ("a:1", Some(PassedOver::NotReady)));
        assert_eq!((listed[2].key(), listed[63].key()), ("a:938", "a:1000"));
    }

    fn why(decision: &Decision) -> Vec<(String, Option<PassedOver>)> {
        let all = decision.candidates().iter();
        all.map(|of| (of.key().to_owned(), of.passed_over())).collect()
    }

    #[test]
    fn the_circumstances_are_those_of_the_last_choice_and_what_is_called_was_not_passed_over() {
        let member = |key: &str| Member::new(Endpoint::new(key).unwrap());
        let members = ["a:1", "b:1", "c:1"].map(member);
        let decide = |made: Regime, chosen: Option<usize>, tried: &Tried| {
            let mut choices = Choices::new("any");
            let key = members[0].shared_key();
            choices.consider(Considered::unseen(key, Some(PassedOver::Costlier)), made);
            let chosen = chosen.map(|chosen| &*members[chosen]);
            let strict = |_: &Member, is_strict: bool| is_strict.then_some(PassedOver::Unhealthy);
            choices.decide(chosen, &members, tried, None, strict)
        };
        let told = |key: &str, why| (key.to_owned(), why);
        let not_drawn = Some(PassedOver::NotDrawn);
        let compared = told("a:1", Some(PassedOver::Costlier));
        let others = [told("b:1", not_drawn), told("c:1", not_drawn)];
        // To the one that was compared, to another, or to none.
        for (chosen, first) in [(Some(0), told("a:1", None)), (None, compared.clone())] {
            let decision = decide(Regime::Spill, chosen, Tried::NONE);
            assert_eq!(why(&decision), [&[first][..], &others].concat());
            assert_eq!(decision.regime(), Regime::Spill);
        }
        let decision = decide(Regime::Spill, Some(1), Tried::NONE);
        assert_eq!(why(&decision)[..2], [told("b:1", None), compared]);
        assert_eq!(decision.regime(), Regime::Spill);
        // A further attempt goes by health, unless there is a panic.
        let mut tried = Tried::default();
        tried.insert(members[1].clone());
        for (made, reason) in
            [(Regime::Normal, PassedOver::Unhealthy), (Regime::Panic, PassedOver::NotDrawn)]
        {
            let decision = decide(made, Some(0), &tried);
            let of = [(told("b:1", Some(PassedOver::Tried))), told("c:1", Some(reason))];
            assert_eq!((&why(&decision)[1..], decision.regime()), (&of[..], Regime::Failover));
        }
    }
}
