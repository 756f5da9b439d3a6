//! Keys of Amazon's services, which are known, or which a service beside a container or an instance hands out for its role.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use reqwest::{RequestBuilder, redirect::Policy};
use serde::Deserialize;
use slipway_process::Clock;
use tokio::sync::Mutex;
use url::{Host, Url};

use super::signature::{AwsKeys, written};
use crate::{answer, connections::root_cause};

/// How long such a service may take to be reached, and to answer. It is beside us, or it is not there.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(5);
/// Longest answer, in bytes.
const LONGEST: usize = 64 << 10;
/// Keys are had anew so many seconds before they end.
const BEFORE: u64 = 300;
/// How long a token for an instance's service is asked for, in seconds.
const TOKEN_TIME: &str = "300";
const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const ROLES: &str = "latest/meta-data/iam/security-credentials/";
/// Hosts that may be asked for keys without TLS, beside loopback: those of ECS and EKS.
const OF_CONTAINERS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
const NONE: &str = "it takes keys of AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), keep them in \
                    ~/.aws/credentials, or run where a role gives some; `aws configure export-credentials --format env` prints those of a \
                    role elsewhere";

/// Where keys come from.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum AwsSource {
    /// There are none.
    #[default]
    Nowhere,
    /// They are known.
    Keys(AwsKeys),
    /// From the service of a container's role.
    Container {
        /// Its address. Without TLS it must be of this host, or one that ECS or EKS have.
        address: String,
        /// What is shown to it.
        token: Option<ContainerToken>,
    },
    /// From the service of an instance's role, which is at this address.
    Instance(String),
}

/// What is shown to the service of a container's role. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum ContainerToken {
    /// This.
    Text(String),
    /// What a file holds, which changes.
    File(PathBuf),
}

impl fmt::Debug for ContainerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContainerToken(…)")
    }
}

/// The keys, had anew before they end.
pub(super) struct Keys {
    source: AwsSource,
    clock: Arc<dyn Clock>,
    http: OnceLock<Result<reqwest::Client, String>>,
    had: Mutex<Option<(AwsKeys, Option<String>)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answered {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl Keys {
    pub(super) fn new(source: AwsSource, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, http: OnceLock::new(), had: Mutex::default() }
    }

    /// Keys that hold for some minutes; why there are none, without any secret.
    pub(super) async fn get(&self) -> Result<AwsKeys, String> {
        if let AwsSource::Keys(keys) = &self.source {
            return Ok(keys.clone());
        }
        let mut had = self.had.lock().await;
        let soon = written(self.clock.unix_millis() / 1000 + BEFORE);
        if let Some((keys, _)) = had.as_ref().filter(|(_, end)| end.as_ref().is_none_or(|end| *end > soon)) {
            return Ok(keys.clone());
        }
        let Answered { access_key_id, secret_access_key, token, expiration } = self.ask().await?;
        let keys = AwsKeys { id: access_key_id, secret: secret_access_key, token };
        *had = Some((keys.clone(), expiration.map(|moment| plain(&moment))));
        Ok(keys)
    }

    async fn ask(&self) -> Result<Answered, String> {
        let (of, answer) = match &self.source {
            AwsSource::Nowhere | AwsSource::Keys(_) => return Err(NONE.to_owned()),
            AwsSource::Container { address, token } => (
                "the service that has the keys of the container's role",
                self.of_container(address, token.as_ref()).await,
            ),
            AwsSource::Instance(address) => ("the metadata of an instance", self.of_instance(address).await),
        };
        // What it says is not told: it may hold keys.
        let read =
            answer.and_then(|text| serde_json::from_slice(&text).map_err(|_| "its answer has no keys".to_owned()));
        read.map_err(|why| format!("{NONE}; {of}: {why}"))
    }

    async fn of_container(&self, address: &str, token: Option<&ContainerToken>) -> Result<bytes::Bytes, String> {
        let url = Url::parse(address).map_err(|error| format!("its address is malformed ({error})"))?;
        if !is_trusted(&url) {
            return Err("its address is neither https nor of this host, ECS or EKS: it is not asked".to_owned());
        }
        let mut request = self.http()?.get(url);
        if let Some(token) = token {
            let text = match token {
                ContainerToken::Text(text) => text.clone(),
                ContainerToken::File(file) => {
                    let read = read_short(file).map_err(|error| format!("read its token {}: {error}", file.display()));
                    read?.trim().to_owned()
                }
            };
            request = request.header(AUTHORIZATION, secret(&text)?);
        }
        read(request).await
    }

    async fn of_instance(&self, address: &str) -> Result<bytes::Bytes, String> {
        let base = Url::parse(&format!("{}/", address.trim_end_matches('/')));
        let base = base.map_err(|error| format!("its address is malformed ({error})"))?;
        let at = |path: &str| base.join(path).map_err(|error| format!("its address is malformed ({error})"));
        let token = read(self.http()?.put(at("latest/api/token")?).header(TTL, TOKEN_TIME)).await?;
        let token = secret(&String::from_utf8_lossy(&token))?;
        let get = |url: Url| Ok::<_, String>(self.http()?.get(url).header(TOKEN, token.clone()));
        let roles = read(get(at(ROLES)?)?).await.map_err(|why| format!("ask for the instance's role: {why}"))?;
        let roles = String::from_utf8_lossy(&roles).into_owned();
        let role = roles.lines().next().unwrap_or_default().trim();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
        if role.is_empty() || role.len() > 128 || !role.bytes().all(is_plain) {
            return Err("the instance has no role".to_owned());
        }
        read(get(at(&format!("{ROLES}{role}"))?)?).await
    }

    fn http(&self) -> Result<&reqwest::Client, String> {
        let open = || {
            let builder = || {
                let builder = reqwest::Client::builder().no_proxy().referer(false).redirect(Policy::none());
                builder.connect_timeout(CONNECT).timeout(ANSWER)
            };
            let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
            client.map_err(|error| format!("cannot set up connections: {}", root_cause(&error)))
        };
        self.http.get_or_init(open).as_ref().map_err(Clone::clone)
    }
}

/// Whether keys may be asked for at an address.
fn is_trusted(url: &Url) -> bool {
    let is_near = match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || OF_CONTAINERS.contains(&ip.to_string().as_str()),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || OF_CONTAINERS.contains(&ip.to_string().as_str()),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_near)
}

fn secret(text: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text).map_err(|_| "its token cannot stand in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn read_short(file: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(file)?.take(u64::try_from(LONGEST).unwrap_or(u64::MAX)).read_to_string(&mut text)?;
    Ok(text)
}

/// The body of an answer that is a success.
async fn read(request: RequestBuilder) -> Result<bytes::Bytes, String> {
    // Its address may be a secret.
    let sent = request.send().await.map_err(reqwest::Error::without_url);
    let mut response = sent.map_err(|error| format!("it does not answer ({})", root_cause(&error)))?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answered {}", response.status().as_u16()));
    }
    let body = answer::read(&mut response, LONGEST).await;
    body.map_err(|_| "its answer is too long, or broke off".to_owned())
}

/// A moment such as `2015-08-30T12:36:00Z` as `20150830T123600Z`, which can be compared.
fn plain(moment: &str) -> String {
    moment.split('.').next().unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_asked_for_where_nobody_listens() {
        let trusted = |text: &str| is_trusted(&text.parse().expect("an address"));
        for address in [
            "http://169.254.170.2/v2/credentials/x",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://localhost:1/x",
            "http://127.0.0.2/x",
            "http://[::1]/x",
            "https://keys.example/x",
        ] {
            assert!(trusted(address), "{address}");
        }
        for address in ["http://keys.example/x", "http://169.254.169.254/x", "http://10.0.0.1/x", "ftp://localhost/x"] {
            assert!(!trusted(address), "{address}");
        }
    }

    #[test]
    fn moments_can_be_compared() {
        assert_eq!(plain("2015-08-30T12:36:00Z"), written(1_440_938_160));
        assert!(plain("2015-08-30T12:36:01.5Z") > written(1_440_938_160));
    }
}
