//! Lists of endpoints.

use std::collections::HashSet;

use tower_upstream::{
    Endpoint,
    discover::{Difference, EndpointSet, diff},
    error::Kind,
};

/// What a file with endpoints says.
pub fn list(bytes: &[u8]) {
    let set = match EndpointSet::from_json(bytes, "") {
        Ok(set) => set,
        Err(error) => {
            assert_eq!(error.kind(), Kind::InvalidConfig);
            assert!(error.to_string().len() < 2_048);
            return;
        }
    };
    let keys: HashSet<&str> = set.iter().map(|endpoint| endpoint.key()).collect();
    assert_eq!(keys.len(), set.len());
    for endpoint in set.iter() {
        assert!(endpoint.address().as_str().parse::<Endpoint>().is_ok());
    }
    // The same bytes are the same set, and a key finds its endpoint.
    let again = EndpointSet::from_json(bytes, "").unwrap();
    assert!(diff(&set, &again).next().is_none());
    assert!(set.iter().all(|endpoint| set.get(endpoint.key()) == Some(endpoint)));
    let all = diff(&[], &set).filter(|change| matches!(change, Difference::Insert(_)));
    assert_eq!(all.count(), set.len());
}
