use super::*;

#[test]
fn every_mistake_is_named_and_clamping_leaves_none() {
    let absurd = HealthConfig::default()
        .with_interval(Duration::ZERO)
        .with_interval_unhealthy(Duration::MAX)
        .with_timeout(Duration::ZERO)
        .with_rise(0)
        .with_fall(0)
        .with_parallel(0)
        .with_parallel_scheduled(0)
        .with_jitter(f64::NAN);
    let text = absurd.validate().unwrap_err().to_string();
    for name in ["interval", "interval_unhealthy", "timeout", "rise", "fall", "jitter"]
        .into_iter()
        .chain(["parallel", "parallel_scheduled"])
    {
        let name = format!("`{name}`");
        assert!(text.contains(&name), "{text}");
    }
    assert!(absurd.clamped().validate().is_ok());
    assert!(HealthConfig::go().validate().is_ok());
    assert!(HealthConfig::monitor().validate().is_ok());
}

#[cfg(feature = "http")]
#[test]
fn an_endpoint_that_cannot_be_asked_is_a_mistake_that_is_named() {
    let config = |endpoint: &str| HealthConfig::default().with_endpoint(endpoint);
    for endpoint in ["", "/health", "ready?full=1", "http://10.0.0.1:8080/up"] {
        assert!(config(endpoint).validate().is_ok(), "{endpoint}");
    }
    for endpoint in ["ftp://a/health", "http://", "/a b", "http://user:secret@a/"] {
        let text = config(endpoint).validate().unwrap_err().to_string();
        assert!(text.contains("`endpoint`") && !text.contains("secret"), "{text}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn durations_are_text_or_nanoseconds_and_unknown_keys_are_named() {
    let text = r#"{"interval": "1m30s", "timeout": 1500000000, "fall": 5}"#;
    let config: HealthConfig = serde_json::from_str(text).unwrap();
    let expected = HealthConfig::default()
        .with_interval(Duration::from_secs(90))
        .with_timeout(Duration::from_millis(1_500))
        .with_fall(5);
    assert_eq!(config, expected);
    let text = r#"{"enabled": false, "failure_limit": 4, "initial": "first_result_decides"}"#;
    let config: HealthConfig = serde_json::from_str(text).unwrap();
    assert_eq!((config.enabled, config.fall, config.initial), (false, 4, Initial::FirstResult));
    #[cfg(feature = "http")]
    {
        let text = r#"{"interval": "30s", "timeout": 5000000000, "endpoint": "/ready"}"#;
        let config: HealthConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.target(), HealthConfig::default().target()), ("/ready", "/health"));
        let empty: HealthConfig = serde_json::from_str(r#"{"endpoint": ""}"#).unwrap();
        assert_eq!(empty.target(), "/health");
    }
    let twice = r#"{"failure_limit": 4, "fall": 3}"#;
    assert!(serde_json::from_str::<HealthConfig>(twice).is_err());
    let error = serde_json::from_str::<HealthConfig>(r#"{"intervall": 1}"#).unwrap_err();
    assert!(error.to_string().contains("intervall"));
}
