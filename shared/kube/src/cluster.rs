//! Lists of one cluster, page by page.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Certificate, Identity, StatusCode, header::AUTHORIZATION};
use serde_json::Value;
use slipway_process::child;
use url::Url;

use crate::{
    KubeError,
    access::{Context, Exec, Source, error},
    images::{KINDS, Kind, of},
};

/// Workloads of one page.
const PAGE: usize = 500;
/// Largest page that is read, in bytes.
const LARGEST_PAGE: usize = 256 << 20;
/// More pages than any cluster has.
const MAX_PAGES: usize = 10_000;
/// How often a list is begun again that became too old while it was read.
const MAX_STARTS: u32 = 5;
/// Tries of one request; fewer where nobody listens.
const TRIES: u32 = 5;
const TRIES_TO_CONNECT: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// How long a cluster may take for a page, and a program to say who one is.
const PATIENCE: Duration = Duration::from_secs(60);

/// An image that runs, or is to run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Running {
    /// Its name, as the workload has it.
    pub image: String,
    /// Who says so: `context prod: deployments shop/api`.
    pub who: String,
}

/// A cluster that can be asked.
pub struct Cluster {
    name: String,
    server: Url,
    client: reqwest::Client,
    authorization: Option<String>,
}

/// How a request ended.
enum Answer {
    Page(Value),
    /// There is no such list.
    Unknown,
    /// The list that was begun is not there any more.
    TooOld,
}

impl Cluster {
    /// The cluster of a context. Nothing is asked of it yet; a program may be run that says who one is.
    ///
    /// # Errors
    /// When a certificate or token cannot be read.
    pub async fn open(context: &Context) -> Result<Self, KubeError> {
        let failed = |why: String| error(format!("context {}: {why}", context.name));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server: Url = context.server.parse().map_err(|why| failed(format!("`{}`: {why}", context.server)))?;
        let said = match &context.user.exec {
            Some(exec) => ask(exec).await.map_err(failed)?,
            None => Value::Null,
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .tls_danger_accept_invalid_certs(context.insecure);
        if let Some(authority) = &context.authority {
            let pem = read(authority).await.map_err(failed)?;
            let known = Certificate::from_pem_bundle(&pem);
            builder = builder
                .tls_certs_only(known.map_err(|_| failed("the authority's certificate cannot be read".to_owned()))?);
        }
        if let Some(identity) = identity(context, &said).await.map_err(failed)? {
            builder = builder.identity(identity);
        }
        let client = builder.build().map_err(|_| failed("connections cannot be set up".to_owned()))?;
        let authorization = authorization(context, &said).await.map_err(failed)?;
        Ok(Self { name: context.name.clone(), server, client, authorization })
    }

    /// All images that workloads of all kinds name, in one namespace or in all.
    ///
    /// # Errors
    /// When one kind cannot be listed as a whole: what is not seen would be taken for not there.
    pub async fn images(&self, namespace: Option<&str>) -> Result<Vec<Running>, KubeError> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for kind in KINDS {
            for item in self.list(kind, namespace).await? {
                let (name, images) = of(kind, &item);
                for image in images {
                    // Of several workloads, one is named.
                    found.entry(image).or_insert_with(|| format!("context {}: {} {name}", self.name, kind.name));
                }
            }
        }
        Ok(found.into_iter().map(|(image, who)| Running { image, who }).collect())
    }

    async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Value>, KubeError> {
        'again: for _ in 0..MAX_STARTS {
            for group in kind.groups {
                match self.list_in(group, kind, namespace).await? {
                    Listed::All(items) => return Ok(items),
                    Listed::Unknown => {}
                    Listed::TooOld => continue 'again,
                }
            }
            // What cannot be seen is not taken for not there.
            return Err(self.failed(kind, "the cluster answered 404: it has no such list"));
        }
        Err(self.failed(kind, &format!("the list became too old {MAX_STARTS} times while it was read")))
    }

    async fn list_in(&self, group: &str, kind: Kind, namespace: Option<&str>) -> Result<Listed, KubeError> {
        let scope = namespace.map(|name| format!("namespaces/{name}/")).unwrap_or_default();
        let (mut items, mut next) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let mut url =
                self.server.join(&format!("{}/{group}/{scope}{}", self.server.path().trim_end_matches('/'), kind.name));
            if let Ok(url) = &mut url {
                url.query_pairs_mut().append_pair("limit", &PAGE.to_string());
                if !next.is_empty() {
                    url.query_pairs_mut().append_pair("continue", &next);
                }
            }
            let url = url.map_err(|why| self.failed(kind, &why.to_string()))?;
            let page = match self.ask(&url, kind).await? {
                Answer::Page(page) => page,
                Answer::Unknown => return Ok(Listed::Unknown),
                Answer::TooOld => return Ok(Listed::TooOld),
            };
            let Some(own) = page["items"].as_array() else {
                return Err(self.failed(kind, "the answer is no list"));
            };
            items.extend(own.iter().cloned());
            next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if next.is_empty() {
                return Ok(Listed::All(items));
            }
        }
        Err(self.failed(kind, &format!("more than {MAX_PAGES} pages")))
    }

    /// One page; busy clusters are asked again.
    async fn ask(&self, url: &Url, kind: Kind) -> Result<Answer, KubeError> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let (why, most) = match self.ask_once(url, kind).await? {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            if tries >= most {
                return Err(self.failed(kind, &format!("{why} (tried {tries} times)")));
            }
            tracing::debug!("{}: {why}; asked again", self.name);
            tokio::time::sleep(pause).await;
            (tries, pause) = (tries + 1, pause * 3);
        }
    }

    /// The answer; or why there is none yet, and how many tries that is worth.
    async fn ask_once(&self, url: &Url, kind: Kind) -> Result<Result<Answer, (String, u32)>, KubeError> {
        let mut request = self.client.get(url.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(why) if why.is_connect() => return Ok(Err((cause(&why), TRIES_TO_CONNECT))),
            Err(why) => return Ok(Err((cause(&why), TRIES))),
        };
        let status = response.status();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(piece)) if body.len() + piece.len() <= LARGEST_PAGE => body.extend_from_slice(&piece),
                Ok(Some(_)) => return Err(self.failed(kind, "the answer is too large")),
                Ok(None) => break,
                Err(why) => return Ok(Err((cause(&why), TRIES))),
            }
        }
        let document: Value = serde_json::from_slice(&body).unwrap_or_default();
        let said: String = document["message"].as_str().unwrap_or_default().chars().take(300).collect();
        match status {
            StatusCode::OK => Ok(Ok(Answer::Page(document))),
            StatusCode::NOT_FOUND => Ok(Ok(Answer::Unknown)),
            StatusCode::GONE => Ok(Ok(Answer::TooOld)),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Ok(Err((format!("the cluster answered {status}"), TRIES)))
            }
            status => Err(self.failed(kind, &format!("the cluster answered {status} ({said})"))),
        }
    }

    fn failed(&self, kind: Kind, why: &str) -> KubeError {
        error(format!("context {}: list {}: {why}", self.name, kind.name))
    }
}

/// What became of a list.
enum Listed {
    All(Vec<Value>),
    Unknown,
    TooOld,
}

/// What a program says: the status of an `ExecCredential`.
async fn ask(exec: &Exec) -> Result<Value, String> {
    let program = &exec.program;
    let version = if exec.version.is_empty() { "client.authentication.k8s.io/v1" } else { &exec.version };
    let info = serde_json::json!({"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": false}});
    let mut command = child::async_command(program);
    command.args(&exec.arguments).envs(exec.variables.iter().map(|(name, value)| (name, value)));
    command.env("KUBERNETES_EXEC_INFO", info.to_string()).stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.map_err(|_| format!("`{program}` does not end"))?;
    let output = output.map_err(|why| format!("run `{program}` to learn who you are: {why}"))?;
    if !output.status.success() {
        // What it printed may hold a credential.
        return Err(format!("`{program}`, which says who you are, failed ({})", output.status));
    }
    let mut document: Value =
        serde_json::from_slice(&output.stdout).map_err(|_| format!("`{program}` printed no ExecCredential"))?;
    Ok(document["status"].take())
}

async fn identity(context: &Context, said: &Value) -> Result<Option<Identity>, String> {
    let told = said["clientCertificateData"].as_str().zip(said["clientKeyData"].as_str());
    let (certificate, key) = match (told, &context.user.certificate) {
        (Some((certificate, key)), _) => (certificate.as_bytes().to_vec(), key.as_bytes().to_vec()),
        (None, Some((certificate, key))) => (read(certificate).await?, read(key).await?),
        (None, None) => return Ok(None),
    };
    let both = [certificate, b"\n".to_vec(), key].concat();
    Identity::from_pem(&both).map(Some).map_err(|_| "your certificate and key cannot be read".to_owned())
}

async fn authorization(context: &Context, said: &Value) -> Result<Option<String>, String> {
    if let Some(token) = said["token"].as_str() {
        return Ok(Some(format!("Bearer {token}")));
    }
    if let Some(token) = &context.user.token {
        let token = read(token).await?;
        let token = String::from_utf8(token).map_err(|_| "your token is no text".to_owned())?;
        return Ok(Some(format!("Bearer {}", token.trim())));
    }
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let basic = context.user.password.as_ref().map(|(name, password)| STANDARD.encode(format!("{name}:{password}")));
    Ok(basic.map(|text| format!("Basic {text}")))
}

async fn read(source: &Source) -> Result<Vec<u8>, String> {
    match source {
        Source::Bytes(bytes) => Ok(bytes.clone()),
        Source::File(path) => tokio::fs::read(path).await.map_err(|why| format!("read {}: {why}", path.display())),
    }
}

/// The innermost message: outer ones may hold addresses.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
