//! Which collector, by OpenTelemetry's own variables.

use std::time::Duration;

use slipway_process::Environment;
use url::Url;

/// Where a collector listens; `/v1/traces` is added.
pub const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Where it listens for traces; taken as it is.
pub const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// Variables that hold secrets: what is sent with every call.
pub const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];

const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
/// The one protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";
/// Variables that ask for what does not exist here.
const NOT_YET: [&str; 8] = [
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
];
/// How long a call may take when nothing is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A collector, and who speaks to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub(crate) endpoint: Url,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Duration,
    /// What is said of this process with every call.
    pub(crate) resource: Vec<(String, String)>,
}

/// Why traces cannot be sent as the environment wants it. Values of headers are not shown.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl Settings {
    /// What the environment says for the program part `service`; `None` = it names no collector, or wants no traces.
    ///
    /// # Errors
    /// When a value is malformed or asks for what is not supported.
    pub fn new(environment: &Environment, service: &str) -> Result<Option<Self>, SettingsError> {
        let Some(endpoint) = endpoint(environment)? else { return Ok(None) };
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, environment.non_empty(name)?.to_owned())))
        };
        if let Some((name, protocol)) = first(&PROTOCOLS).filter(|(_, protocol)| protocol != PROTOCOL) {
            return Err(not_yet(&format!("{name}={}", shown(&protocol)), &format!("only {PROTOCOL} is spoken")));
        }
        if let Some((name, _)) = first(&NOT_YET).filter(|(_, value)| value != "none") {
            return Err(not_yet(name, "unset it"));
        }
        let headers = match first(&HEADERS) {
            Some((name, text)) => pairs(name, &text)?,
            None => Vec::new(),
        };
        let timeout = match first(&TIMEOUTS) {
            Some((name, text)) => milliseconds(name, &text)?,
            None => TIMEOUT,
        };
        Ok(Some(Self { endpoint, headers, timeout, resource: resource(environment, service)? }))
    }

    /// The collector's address without what may be secret in it.
    pub(crate) fn place(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }
}

fn endpoint(environment: &Environment) -> Result<Option<Url>, SettingsError> {
    let is_off = environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || environment.get("OTEL_TRACES_EXPORTER") == Some("none");
    if is_off {
        return Ok(None);
    }
    let (name, text) = match (environment.non_empty(TRACES_ENDPOINT), environment.non_empty(ENDPOINT)) {
        (Some(text), _) => (TRACES_ENDPOINT, text.to_owned()),
        (None, Some(text)) => (ENDPOINT, format!("{}/v1/traces", text.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // The text may hold a password.
    let refuse = || SettingsError(format!("{name}: this is no address; write http://127.0.0.1:4318"));
    url.map(Some).ok_or_else(refuse)
}

fn resource(environment: &Environment, service: &str) -> Result<Vec<(String, String)>, SettingsError> {
    const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let mut resource = match environment.non_empty(ATTRIBUTES) {
        Some(text) => pairs(ATTRIBUTES, text)?,
        None => Vec::new(),
    };
    let mut say = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            resource.retain(|(known, _)| known != name);
            resource.push((name.to_owned(), value.to_owned()));
        }
    };
    say("service.version", Some(env!("CARGO_PKG_VERSION")));
    say("service.name", environment.non_empty("OTEL_SERVICE_NAME"));
    if !resource.iter().any(|(name, _)| name == "service.name") {
        resource.push(("service.name".to_owned(), service.to_owned()));
    }
    Ok(resource)
}

/// `NAME=VALUE,…`, values with percent signs for what else would separate them.
fn pairs(name: &str, text: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let refuse = |pair: &str| {
        let key = shown(pair.split('=').next().unwrap_or_default());
        SettingsError(format!("{name}: `{key}…` is no pair; write NAME=VALUE,NAME=VALUE"))
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').ok_or_else(|| refuse(""))?;
        let (key, value) = (key.trim(), value.trim());
        let value = decoded(value).filter(|_| !key.is_empty()).ok_or_else(|| refuse(pair))?;
        Ok((key.to_owned(), value))
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.extend(hex::decode(digits).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn milliseconds(name: &str, text: &str) -> Result<Duration, SettingsError> {
    let refuse = |_| SettingsError(format!("{name}: `{}` is no number of milliseconds", shown(text)));
    text.trim().parse().map(Duration::from_millis).map_err(refuse)
}

fn not_yet(what: &str, hint: &str) -> SettingsError {
    SettingsError(format!("not supported yet: {what}; {hint}"))
}

/// A value in a message: bounded, on one line.
fn shown(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let environment: Environment = variables.iter().copied().collect();
        Settings::new(&environment, "slipway").map_err(|error| error.to_string())
    }

    fn place(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).expect("settings").map(|settings| settings.endpoint.to_string())
    }

    #[test]
    fn a_collector_is_found_by_the_standard_variables() {
        let base = (ENDPOINT, "http://c.example:4318/");
        let traces = (TRACES_ENDPOINT, "https://t.example/in");
        assert_eq!(place(&[]), None);
        assert_eq!(place(&[base]).as_deref(), Some("http://c.example:4318/v1/traces"));
        assert_eq!(place(&[base, traces]).as_deref(), Some("https://t.example/in"));
        assert_eq!(place(&[base, ("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(place(&[base, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(place(&[base, (PROTOCOLS[1], PROTOCOL)]).as_deref(), Some("http://c.example:4318/v1/traces"));
    }

    #[test]
    fn headers_and_the_name_of_the_service_are_taken() {
        let settings = read(&[
            (ENDPOINT, "http://c.example:4318"),
            (HEADERS[1], "api-key=a%20b, x=y"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=ci,team=build"),
            ("OTEL_SERVICE_NAME", "shop"),
            (TIMEOUTS[1], "500"),
        ]);
        let settings = settings.expect("settings").expect("a collector");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings.headers, [pair("api-key", "a b"), pair("x", "y")]);
        assert!(settings.resource.contains(&pair("team", "build")));
        assert!(settings.resource.contains(&pair("service.name", "shop")));
        assert_eq!(settings.resource.iter().filter(|(name, _)| name == "service.name").count(), 1);
        assert_eq!(settings.timeout, Duration::from_millis(500));
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        let base = (ENDPOINT, "http://c.example:4318");
        let table: [(&[(&str, &str)], &str); 5] = [
            (&[(ENDPOINT, "user:hush@c")], "OTEL_EXPORTER_OTLP_ENDPOINT: this is no address"),
            (&[base, (PROTOCOLS[1], "grpc")], "not supported yet: OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
            (&[base, (NOT_YET[6], "gzip")], "not supported yet: OTEL_EXPORTER_OTLP_COMPRESSION"),
            (&[base, (HEADERS[1], "key=hush%zz")], "OTEL_EXPORTER_OTLP_HEADERS: `key…` is no pair"),
            (&[base, (TIMEOUTS[1], "soon")], "OTEL_EXPORTER_OTLP_TIMEOUT: `soon` is no number"),
        ];
        for (variables, expected) in table {
            let said = read(variables).err().unwrap_or_default();
            assert!(said.starts_with(expected) && !said.contains("hush"), "{said}");
        }
    }
}
