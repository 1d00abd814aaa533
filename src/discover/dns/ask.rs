//! One query, and what its answer is: records, none, or no answer.

use std::time::Duration;

use hickory_resolver::{
    ResolveError, TokioResolver,
    proto::{
        ProtoErrorKind,
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
};

/// Records, or none, and for how long that holds.
#[derive(Debug, Clone)]
pub(super) struct Answer<T> {
    pub(super) records: Vec<T>,
    pub(super) ttl: Duration,
}

/// For how long it holds that there is nothing, if nothing says that.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// Asks for the records of a type. That a name does not exist, or has no such records, is an answer.
pub(super) async fn ask<T>(
    resolver: &TokioResolver,
    name: &Name,
    of: RecordType,
    read: impl Fn(&RData) -> Option<T>,
) -> Result<Answer<T>, ResolveError> {
    match resolver.lookup(name.clone(), of).await {
        Ok(lookup) => {
            let records = lookup.record_iter().filter_map(|record| read(record.data())).collect();
            // With those of the aliases on the way.
            let ttl = lookup.record_iter().map(|record| record.ttl()).min();
            Ok(Answer { records, ttl: seconds(ttl) })
        }
        Err(error) => match negative_ttl(&error) {
            Some(ttl) => Ok(Answer { records: Vec::new(), ttl: seconds(ttl) }),
            None => Err(error),
        },
    }
}

fn seconds(ttl: Option<u32>) -> Duration {
    ttl.map_or(NEGATIVE_TTL, |ttl| Duration::from_secs(ttl.into()))
}

/// `None`: it is no answer, such as SERVFAIL, a refusal, or silence.
fn negative_ttl(error: &ResolveError) -> Option<Option<u32>> {
    match error.proto()?.kind() {
        ProtoErrorKind::NoRecordsFound {
            negative_ttl,
            response_code: ResponseCode::NXDomain | ResponseCode::NoError,
            ..
        } => Some(*negative_ttl),
        _ => None,
    }
}
