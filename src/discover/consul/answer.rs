//! What the headers of an answer say of it.

use std::time::Duration;

use http::HeaderMap;

use super::query::{ConsulConsistency, ConsulQuery};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Meta {
    pub(super) index: Option<u64>,
    /// Servers that stream may not tell it.
    pub(super) known_leader: Option<bool>,
    /// How long ago the server, or the agent's cache, heard of the leader.
    pub(super) lag: Duration,
    is_stale: bool,
    /// Whether there is more that this token must not read.
    is_filtered: bool,
    /// What may be done without a rule.
    default_policy: Policy,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Policy {
    /// A server of before version 1.11 tells neither that nor what it left out.
    #[default]
    Unknown,
    Allow,
    Deny,
}

impl Meta {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(|text| text.trim().parse::<u64>().ok());
        let is = |name: &str| text(name).map(|text| text.eq_ignore_ascii_case("true"));
        let contact = Duration::from_millis(number("x-consul-lastcontact").unwrap_or(0));
        let age = Duration::from_secs(number("age").unwrap_or(0));
        Self {
            index: number("x-consul-index"),
            known_leader: is("x-consul-knownleader"),
            lag: contact.max(age),
            is_stale: text("x-consul-effective-consistency") == Some("stale"),
            is_filtered: is("x-consul-results-filtered-by-acls") == Some(true),
            default_policy: match text("x-consul-default-acl-policy") {
                Some("allow") => Policy::Allow,
                Some("deny") => Policy::Deny,
                _ => Policy::Unknown,
            },
        }
    }

    /// Whether it is too old to be used as it is.
    pub(super) fn lags(&self, query: &ConsulQuery) -> bool {
        let may = matches!(query.consistency, ConsulConsistency::Stale | ConsulConsistency::Cached);
        may && (self.known_leader == Some(false) || self.lag > query.max_lag)
    }

    /// Whether an empty answer means that there are no instances: the leader says so, and neither a query
    /// that leaves out some nor an access rule can be why.
    ///
    /// `asked` is how it was asked for, `has_token` with a token.
    pub(super) fn rules_out_instances(
        &self,
        query: &ConsulQuery,
        asked: ConsulConsistency,
        has_token: bool,
    ) -> bool {
        let is_of_leader = self.known_leader == Some(true)
            && !self.is_stale
            && matches!(asked, ConsulConsistency::Default | ConsulConsistency::Consistent);
        // With these the health of an instance decides, or may.
        let is_whole = !query.only_passing && query.filter.is_none();
        let nothing_is_hidden = match self.default_policy {
            _ if self.is_filtered => false,
            Policy::Allow => true,
            Policy::Deny => has_token,
            Policy::Unknown => false,
        };
        is_of_leader && is_whole && nothing_is_hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: &[(&str, &str)] = &[
        ("X-Consul-Knownleader", "true"),
        ("X-Consul-Lastcontact", "0"),
        ("X-Consul-Effective-Consistency", "leader"),
        ("X-Consul-Index", "16"),
    ];

    fn meta(headers: &[(&str, &str)]) -> Meta {
        let mut map = HeaderMap::new();
        for (name, value) in LEADER.iter().chain(headers) {
            let name: http::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        Meta::of(&map)
    }

    #[test]
    fn an_empty_answer_is_certain_only_if_no_access_rule_can_have_hidden_instances() {
        const ALLOW: (&str, &str) = ("X-Consul-Default-Acl-Policy", "allow");
        const DENY: (&str, &str) = ("X-Consul-Default-Acl-Policy", "deny");
        const FILTERED: (&str, &str) = ("X-Consul-Results-Filtered-By-Acls", "true");
        let all = ConsulQuery::default();
        for (headers, has_token, expected) in [
            (&[][..], true, false),
            (&[ALLOW][..], false, true),
            (&[ALLOW, FILTERED][..], false, false),
            (&[DENY][..], false, false),
            (&[DENY][..], true, true),
            (&[DENY, FILTERED][..], true, false),
            (&[ALLOW, ("X-Consul-Knownleader", "false")][..], true, false),
            (&[ALLOW, ("X-Consul-Effective-Consistency", "stale")][..], true, false),
        ] {
            let meta = meta(headers);
            let certain = meta.rules_out_instances(&all, ConsulConsistency::Default, has_token);
            assert_eq!(certain, expected, "{headers:?} {has_token}");
        }
        let meta = meta(&[ALLOW]);
        for (query, asked) in [
            (all.clone(), ConsulConsistency::Stale),
            (all.clone(), ConsulConsistency::Cached),
            (all.clone().with_only_passing(true), ConsulConsistency::Default),
            (all.with_filter("x"), ConsulConsistency::Default),
        ] {
            assert!(!meta.rules_out_instances(&query, asked, true));
        }
    }

    #[test]
    fn an_answer_lags_if_its_server_has_lost_the_leader() {
        let query = |consistency| ConsulQuery::default().with_consistency(consistency);
        for (headers, lags) in [
            (&[][..], false),
            (&[("X-Consul-Knownleader", "false")][..], true),
            (&[("X-Consul-Lastcontact", "10000")][..], false),
            (&[("X-Consul-Lastcontact", "15102")][..], true),
            (&[("Age", "11")][..], true),
        ] {
            let meta = meta(headers);
            assert_eq!(meta.lags(&query(ConsulConsistency::Stale)), lags, "{headers:?}");
            assert_eq!(meta.lags(&query(ConsulConsistency::Cached)), lags);
            assert!(!meta.lags(&query(ConsulConsistency::Default)));
        }
        // What does not tell it has not lost it.
        assert!(!Meta::of(&HeaderMap::new()).lags(&query(ConsulConsistency::Stale)));
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        let meta = meta(&[("X-Consul-Index", "-1"), ("X-Consul-Knownleader", "maybe")]);
        assert_eq!((meta.index, meta.known_leader), (None, Some(false)));
    }
}
