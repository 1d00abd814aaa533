//! A Service that stands for a name elsewhere: the type `ExternalName`.

use super::{
    super::{encode::encode, host::endpoint_at},
    object::{Service, ServiceSpec},
    query::KubernetesQuery,
    server::Server,
    slice::{choose, scheme},
};
use crate::{
    endpoint::{Endpoint, Status},
    error::{Error, Kind},
};

/// The endpoint of a Service whose slices have none. `None`: it stands for no name, is not there, or must not be seen,
/// unless it `was_seen` before.
pub(super) async fn external(
    server: &Server,
    namespace: &str,
    name: &str,
    query: &KubernetesQuery,
    was_seen: bool,
) -> Result<Option<Endpoint>, Error> {
    let target = format!("/api/v1/namespaces/{}/services/{}", encode(namespace), encode(name));
    let body = match server.get(&target).await {
        Ok(body) => body,
        // A server that has just started denies all for a moment.
        Err(failure) if failure.is_missing() || failure.is_denied() && !was_seen => {
            tracing::debug!(namespace, name, error = %failure.error, "a Service without endpoints cannot be seen");
            return Ok(None);
        }
        Err(failure) => return Err(failure.into()),
    };
    let service: Service = serde_json::from_slice(&body).map_err(|error| {
        server.failed(Kind::Transport, "answers with no Service").caused_by(error)
    })?;
    let endpoint = service.spec.map_or(Ok(None), |spec| endpoint(spec, query))?;
    Ok(endpoint.map(|of| of.with_metadata("name", name).with_metadata("namespace", namespace)))
}

fn endpoint(spec: ServiceSpec, query: &KubernetesQuery) -> Result<Option<Endpoint>, Error> {
    let host = spec.external_name.as_deref().unwrap_or_default().trim_end_matches('.');
    if spec.kind.as_deref() != Some("ExternalName") || host.is_empty() {
        return Ok(None);
    }
    let ports = spec.ports.unwrap_or_default();
    let number = query.port.as_deref().and_then(|port| port.parse::<u16>().ok());
    let chosen = choose(&ports, query.port.as_deref());
    let told = chosen.as_ref().ok().and_then(|(port, _)| scheme(port.app_protocol.as_deref()));
    let scheme = told.or(query.scheme.as_deref());
    let port = match (number, chosen) {
        (Some(number), _) => Some(number),
        (None, Ok((_, number))) => Some(number),
        // As the scheme says.
        (None, Err(_)) if scheme.is_some() && query.port.is_none() => None,
        (None, Err(problem)) => {
            return Err(Error::not_sent(Kind::InvalidConfig).message(format!(
                "the Service stands for `{}`, and {problem}; set `port` to a number",
                crate::wire::start(host, 253).escape_debug()
            )));
        }
    };
    let endpoint = endpoint_at(scheme, host, port, "")?;
    Ok(Some(endpoint.with_status(Status::Passing)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spec: &str, query: KubernetesQuery) -> Result<Option<String>, String> {
        let found = endpoint(serde_json::from_str(spec).unwrap(), &query);
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.map(|endpoint| endpoint.address().as_str().to_owned()))
    }

    #[test]
    fn a_name_is_an_endpoint_with_the_port_that_is_known() {
        let query = KubernetesQuery::default;
        let bare = r#"{"type":"ExternalName","externalName":"db.example.com."}"#;
        let ports = r#"{"type":"ExternalName","externalName":"db.example.com",
                        "ports":[{"name":"pg","port":5432},{"name":"web","port":443,"appProtocol":"https"}]}"#;
        for (spec, query, expected) in [
            (bare, query().with_port("5432"), "db.example.com:5432"),
            (bare, query().with_scheme("https"), "https://db.example.com"),
            (ports, query(), "db.example.com:5432"),
            (ports, query().with_port("web"), "https://db.example.com:443"),
            (ports, query().with_port("8080"), "db.example.com:8080"),
        ] {
            assert_eq!(of(spec, query), Ok(Some(expected.to_owned())));
        }
        let error = of(bare, query()).unwrap_err();
        assert!(error.contains("`db.example.com`") && error.contains("`port`"), "{error}");
        assert!(of(ports, query().with_port("grpc")).is_err());
        for spec in [r#"{"type":"ClusterIP"}"#, "{}", r#"{"type":"ExternalName"}"#] {
            assert_eq!(of(spec, query()), Ok(None));
        }
    }
}
