//! One query, and what its answer is: records, none, or no answer.

use std::time::Duration;

use hickory_resolver::{
    ResolveError, TokioResolver,
    lookup::Lookup,
    proto::{
        ProtoErrorKind,
        op::ResponseCode,
        rr::{Name, RData, RecordType, rdata::SRV},
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
/// Most aliases on the way to SRV records.
const MAX_ALIASES: usize = 8;

/// Asks for the records of a type. That a name does not exist, or has no such records, is an answer.
pub(super) async fn ask<T>(
    resolver: &TokioResolver,
    name: &Name,
    of: RecordType,
    read: impl Fn(&RData) -> Option<T>,
) -> Result<Answer<T>, ResolveError> {
    read_all(resolver.lookup(name.clone(), of).await, read)
}

/// The same, for SRV records. Behind an alias that comes with them, the resolver takes their target for the next alias, and
/// does not find them: so each is looked up by itself then.
pub(super) async fn ask_service(
    resolver: &TokioResolver,
    name: &Name,
) -> Result<Answer<SRV>, ResolveError> {
    let service = |data: &RData| if let RData::SRV(of) = data { Some(of.clone()) } else { None };
    let alias = |data: &RData| data.as_cname().map(|of| of.0.clone());
    let (mut name, mut ttl) = (name.clone(), Duration::MAX);
    for _ in 0..=MAX_ALIASES {
        let error = match resolver.lookup(name.clone(), RecordType::SRV).await {
            Err(error) if is_of_another(&error, &name) => error,
            found => {
                let Answer { records, ttl: own } = read_all(found, service)?;
                return Ok(Answer { records, ttl: ttl.min(own) });
            }
        };
        let aliases = ask(resolver, &name, RecordType::CNAME, alias).await?;
        // There was an alias, and there is none: no answer, but two servers that disagree, as during a change.
        let Some(next) = aliases.records.into_iter().next() else { return Err(error) };
        (name, ttl) = (next, ttl.min(aliases.ttl));
    }
    Err(format!("there are more than {MAX_ALIASES} aliases").into())
}

fn read_all<T>(
    found: Result<Lookup, ResolveError>,
    read: impl Fn(&RData) -> Option<T>,
) -> Result<Answer<T>, ResolveError> {
    match found {
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

/// Whether what has no records is not what was asked for, but what the resolver looked for next.
fn is_of_another(error: &ResolveError, name: &Name) -> bool {
    let kind = error.proto().map(|error| error.kind());
    matches!(kind, Some(ProtoErrorKind::NoRecordsFound { query, .. }) if query.name() != name)
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
