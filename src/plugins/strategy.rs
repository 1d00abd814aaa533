use std::{sync::Arc, time::Duration};

use super::call_key::{CallKey, FORWARDED};
use crate::{
    balance::{
        Candidates, ConsistentHash, Geographic, HealthBased, LeastLatency, LeastRequest, Notes,
        PeakEwma, Pick, PickFirst, Priority, Random, RoundRobin, Sticky, Strategy, WeightedRandom,
        WeightedRoundRobin,
    },
    config::{BalanceSection, SchemeName, StickySection, StrategyName},
    endpoint::Locality,
    member::Member,
    plugin::Call,
    session::SessionTable,
};

macro_rules! strategies {
    ($($strategy:ident: $type:ty,)+) => {
        /// Any strategy of this crate, by the name that a `balance` section has.
        ///
        /// ```
        /// use tower_upstream::{config::{BalanceSection, StrategyName}, plugins::AnyStrategy};
        /// let strategy = AnyStrategy::of(&BalanceSection::from(StrategyName::RoundRobin));
        /// assert!(matches!(strategy, AnyStrategy::RoundRobin(_)));
        /// ```
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "each is the strategy of its name")]
        pub enum AnyStrategy {
            $($strategy($type),)+
        }

        /// State of an [`AnyStrategy`]: that of the strategy which it is.
        #[non_exhaustive]
        #[allow(missing_docs, reason = "each is the table of the strategy of its name")]
        pub enum AnyTable {
            $($strategy(<$type as Strategy>::Table),)+
        }

        impl std::fmt::Debug for AnyTable {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$strategy(_) => concat!("AnyTable(", stringify!($strategy), ")"),)+
                })
            }
        }

        impl Strategy for AnyStrategy {
            type Table = AnyTable;

            fn table(&self, members: &[Arc<Member>], before: Option<&AnyTable>) -> AnyTable {
                match self {
                    $(Self::$strategy(strategy) => {
                        let before = match before {
                            Some(AnyTable::$strategy(before)) => Some(before),
                            _ => None,
                        };
                        AnyTable::$strategy(strategy.table(members, before))
                    })+
                }
            }

            fn table_among(
                &self,
                members: &[Arc<Member>],
                all: &[Arc<Member>],
                before: Option<&AnyTable>,
            ) -> AnyTable {
                match self {
                    $(Self::$strategy(strategy) => {
                        let before = match before {
                            Some(AnyTable::$strategy(before)) => Some(before),
                            _ => None,
                        };
                        AnyTable::$strategy(strategy.table_among(members, all, before))
                    })+
                }
            }

            fn renew_after(&self, table: &AnyTable) -> Option<Duration> {
                match (self, table) {
                    $((Self::$strategy(strategy), AnyTable::$strategy(table)) => {
                        strategy.renew_after(table)
                    })+
                    // Each makes its own table.
                    _ => None,
                }
            }

            fn watch(&self, table: &AnyTable) -> Option<Duration> {
                match (self, table) {
                    $((Self::$strategy(strategy), AnyTable::$strategy(table)) => {
                        strategy.watch(table)
                    })+
                    _ => None,
                }
            }

            fn hedges(&self) -> bool {
                match self {
                    $(Self::$strategy(strategy) => strategy.hedges(),)+
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$strategy(strategy) => strategy.name(),)+
                }
            }

            fn draw(&self, table: &AnyTable, bound: u32) -> u32 {
                match (self, table) {
                    $((Self::$strategy(strategy), AnyTable::$strategy(table)) => {
                        strategy.draw(table, bound)
                    })+
                    _ => 0,
                }
            }
        }

        impl<T> Pick<Call<T>> for AnyStrategy {
            #[inline]
            fn pick(
                &self,
                table: &AnyTable,
                candidates: Candidates<'_>,
                request: &Call<T>,
            ) -> Option<usize> {
                match (self, table) {
                    $((Self::$strategy(strategy), AnyTable::$strategy(table)) => {
                        strategy.pick(table, candidates, request)
                    })+
                    _ => None,
                }
            }

            fn affinity(&self, request: &Call<T>) -> Option<u64> {
                match self {
                    $(Self::$strategy(strategy) => strategy.affinity(request),)+
                }
            }

            fn explain(
                &self,
                table: &AnyTable,
                candidates: Candidates<'_>,
                request: &Call<T>,
                notes: &Notes,
            ) -> Option<usize> {
                match (self, table) {
                    $((Self::$strategy(strategy), AnyTable::$strategy(table)) => {
                        strategy.explain(table, candidates, request, notes)
                    })+
                    _ => None,
                }
            }
        }
    };
}

strategies! {
    LeastRequest: LeastRequest,
    PeakEwma: PeakEwma,
    LeastLatency: LeastLatency,
    HealthBased: HealthBased,
    RoundRobin: RoundRobin,
    WeightedRoundRobin: WeightedRoundRobin,
    Random: Random,
    WeightedRandom: WeightedRandom,
    Geographic: Geographic,
    Priority: Priority,
    PickFirst: PickFirst,
    ConsistentHash: ConsistentHash<CallKey>,
}

impl AnyStrategy {
    /// Returns the strategy that `balance` names, with its settings.
    pub fn of(balance: &BalanceSection) -> Self {
        let choices = balance.choices.unwrap_or(2);
        match balance.strategy {
            StrategyName::LeastRequest if balance.full_scan => {
                Self::LeastRequest(LeastRequest::new().with_full_scan())
            }
            StrategyName::LeastRequest => {
                Self::LeastRequest(LeastRequest::new().with_choices(choices))
            }
            StrategyName::PeakEwma => Self::PeakEwma(PeakEwma::new().with_choices(choices)),
            StrategyName::LeastLatency if balance.full_scan => {
                Self::LeastLatency(LeastLatency::new().with_full_scan())
            }
            StrategyName::LeastLatency => {
                Self::LeastLatency(LeastLatency::new().with_choices(choices))
            }
            StrategyName::HealthBased => Self::HealthBased(HealthBased::new()),
            StrategyName::RoundRobin => Self::RoundRobin(RoundRobin::new()),
            StrategyName::WeightedRoundRobin => Self::WeightedRoundRobin(WeightedRoundRobin::new()),
            StrategyName::Random => Self::Random(Random::new()),
            StrategyName::WeightedRandom => Self::WeightedRandom(WeightedRandom::new()),
            StrategyName::Geographic => {
                let (region, zone) = (balance.region.clone(), balance.zone.clone());
                let here = Locality { region, zone, sub_zone: String::new() };
                Self::Geographic(Geographic::from(here).with_regions(balance.regions.clone()))
            }
            StrategyName::Priority => Self::Priority(Priority::new()),
            StrategyName::PickFirst => Self::PickFirst(PickFirst::new()),
            StrategyName::ConsistentHash => Self::by_hash(balance, SESSION_KEY, SchemeName::Maglev),
            StrategyName::IpHash => {
                Self::by_hash(balance, (FORWARDED, "client_ip"), SchemeName::Rendezvous)
            }
        }
    }

    fn by_hash(balance: &BalanceSection, key: (&str, &str), scheme: SchemeName) -> Self {
        let hash = &balance.hash;
        let strategy = ConsistentHash::by_key(CallKey::from(hash.key.or(key.0, key.1)));
        Self::ConsistentHash(
            strategy
                .with_scheme(hash.scheme_or(scheme))
                .with_bounded_load(hash.bounded_load())
                .with_fade_in(hash.curve()),
        )
    }
}

/// Where the key of a session is, unless something else is written.
const SESSION_KEY: (&str, &str) = ("X-Session-ID", "session_id");

/// The sessions of a plugin, if it has any, by what its `balance` section says.
pub type AnySessions = Option<SessionTable<CallKey>>;

/// The sessions of a plugin, and what was written of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Sessions(Option<(StickySection, SessionTable<CallKey>)>);

impl Sessions {
    /// Those of a `balance` section: the ones of `before` go on, if they are told apart in the same way.
    pub(super) fn of(balance: &BalanceSection, before: Option<&Self>) -> Self {
        Self(balance.sessions().map(|sticky| {
            let is_same = |(of, _): &&(StickySection, _)| {
                of.key == sticky.key && of.max_sessions == sticky.max_sessions
            };
            let known = before.and_then(|before| before.0.as_ref()).filter(is_same);
            let table = match known {
                Some((_, table)) => table.clone(),
                None => {
                    let key = sticky.key.or(SESSION_KEY.0, SESSION_KEY.1);
                    SessionTable::by_key(key.into()).with_max_sessions(sticky.max_sessions)
                }
            };
            let table = table.with_session_timeout(sticky.session_timeout);
            (sticky, table)
        }))
    }

    /// The strategy of a `balance` section, with these.
    pub(super) fn strategy(&self, balance: &BalanceSection) -> Sticky<AnyStrategy, AnySessions> {
        let strategy = AnyStrategy::of(balance);
        match &self.0 {
            None => Sticky::new(strategy, None),
            Some((sticky, table)) => {
                let drain_timeout = sticky.drain_timeout;
                Sticky::new(strategy, Some(table.clone())).with_drain_timeout(drain_timeout)
            }
        }
    }
}
