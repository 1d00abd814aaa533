use super::*;

fn target(query: ConsulQuery, index: Option<u64>) -> String {
    let target = query.target("web", query.consistency, index);
    target.strip_prefix("/v1/health/service/web").unwrap().to_owned()
}

#[test]
fn every_part_of_a_query_is_sent() {
    let query = ConsulQuery::default;
    for (query, expected) in [
        (query(), ""),
        (query().with_consistency(ConsulConsistency::Stale), "?stale"),
        (query().with_consistency(ConsulConsistency::Consistent), "?consistent"),
        (query().with_consistency(ConsulConsistency::Cached), "?cached"),
        (query().with_only_passing(true), "?passing=1"),
        (query().with_tag("v1").with_tag("a b"), "?tag=v1&tag=a%20b"),
        (query().with_filter("Meta.zone == \"a\""), "?filter=Meta.zone%20%3D%3D%20%22a%22"),
        (query().with_near("_agent"), "?near=_agent"),
        (
            query().with_datacenter("dc2").with_namespace("team").with_partition("p"),
            "?dc=dc2&ns=team&partition=p",
        ),
    ] {
        assert_eq!(target(query, None), expected);
    }
    let query = query().with_consistency(ConsulConsistency::Stale).with_only_passing(true);
    assert_eq!(target(query.clone(), Some(16)), "?index=16&wait=55s&stale&passing=1");
    let name = query.target("a/b?c", ConsulConsistency::Default, None);
    assert_eq!(name, "/v1/health/service/a%2Fb%3Fc?passing=1");
}

#[test]
fn a_query_says_more_than_the_config() {
    let scope = Scope {
        datacenter: Some("dc1".to_owned()),
        namespace: Some("all".to_owned()),
        partition: Some(String::new()),
    };
    let query = ConsulQuery::default().with_namespace("team").completed(&scope);
    assert_eq!(target(query, None), "?dc=dc1&ns=team");
}

#[test]
fn all_mistakes_are_named_at_once_and_clamped() {
    let wrong =
        ConsulQuery::default().with_wait(Duration::from_millis(1)).with_min_interval(Duration::MAX);
    let text = wrong.validate().unwrap_err().to_string();
    assert!(text.contains("`wait`") && text.contains("`min_interval`"), "{text}");
    assert!(wrong.completed(&Scope::default()).validate().is_ok());
}
