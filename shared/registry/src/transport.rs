//! The one way to a registry: scheme, authentication, redirects and retries around each [`Call`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, LOCATION},
};
use reqwest::Response;
use slipway_oci::BlobDigest;
use slipway_process::Clock;
use url::Url;

use crate::{
    RegistryError,
    answer::{self, ReadError, complaint},
    auth::Auth,
    call::{Call, Target, root},
    connections::{Connections, Fault, fault, root_cause},
    credentials::Credential,
    mirrors::Mirrors,
    retry::{
        MAX_TRIES, Patience, TRIES_FOR_DOUBT, TRIES_FOR_STRANGERS, Trouble, is_limited, limited_until, retry_after,
    },
    scheme::{Scheme, follow, origin_of, same_origin, ways},
    tokens::secrets_of,
};

const MAX_REDIRECTS: usize = 5;
/// How long a host may take to show how it is spoken to.
const PROBE: Duration = Duration::from_secs(6);
/// How long a host that never answered may take to begin its first answer. It is asked once: who is silent for so long
/// is more likely not there than busy, and somebody waits to hear that.
const FIRST_CONTACT: Duration = Duration::from_secs(12);
/// Largest answer of an interface beside the registry's.
const INTERFACE_LIMIT: usize = 8 * 1024 * 1024;
/// Hosts whose scheme is remembered; more are forgotten all at once.
const CAPACITY: usize = 1024;

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Where it came from, after redirects.
    pub(crate) url: Url,
}

pub(crate) struct Transport {
    insecure: bool,
    connections: Arc<Connections>,
    auth: Auth,
    clock: Arc<dyn Clock>,
    mirrors: Arc<Mirrors>,
    /// How each host that ever answered is spoken to.
    schemes: Mutex<HashMap<String, Scheme>>,
}

impl Transport {
    pub(crate) fn new(
        insecure: bool,
        connections: Arc<Connections>,
        auth: Auth,
        (clock, mirrors): (Arc<dyn Clock>, Arc<Mirrors>),
    ) -> Self {
        Self { insecure, connections, auth, clock, mirrors, schemes: Mutex::default() }
    }

    /// How often a call is worth trying. No time is spent on a mirror: there is always another way.
    pub(crate) fn patience(&self, call: &Call) -> Patience {
        if self.mirrors.has(call.host()) { Patience::short() } else { Patience::default() }
    }

    /// Makes a call, again when that may help. Answers are 2xx, or as the call expects; the body is not read yet.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response, RegistryError> {
        let mut patience = self.patience(call);
        loop {
            match self.attempt(call).await {
                Ok(response) => return Ok(response),
                Err(trouble) => patience.wait(trouble).await?,
            }
        }
    }

    /// Makes a call and reads the whole body of at most `limit` bytes, again when that may help. A body that is not
    /// what `digest` says is fetched again, too: something on the way may have spoilt it.
    pub(crate) async fn fetch(
        &self,
        call: &Call,
        limit: usize,
        digest: Option<&BlobDigest>,
    ) -> Result<Fetched, RegistryError> {
        let mut patience = self.patience(call);
        loop {
            match self.fetch_once(call, limit, digest).await {
                Ok(fetched) => return Ok(fetched),
                Err(trouble) => patience.wait(trouble).await?,
            }
        }
    }

    async fn fetch_once(&self, call: &Call, limit: usize, digest: Option<&BlobDigest>) -> Result<Fetched, Trouble> {
        let mut response = self.attempt(call).await?;
        let body = answer::read(&mut response, limit).await.map_err(|error| match error {
            ReadError::TooLarge => {
                Trouble::Final(RegistryError::Refused(call.say(format_args!("the answer has more than {limit} bytes"))))
            }
            ReadError::Broken(why) => {
                let what = format_args!("the answer broke off ({why})");
                Trouble::passing(RegistryError::Unavailable(call.say(what)))
            }
        })?;
        let announced = digest.cloned().or_else(|| content_digest(response.headers()));
        if let Some(expected) = announced.filter(|_| response.status().is_success()) {
            check_digest(call, &body, &expected)?;
        }
        let (status, url) = (response.status(), response.url().clone());
        Ok(Fetched { status, headers: std::mem::take(response.headers_mut()), body, url })
    }

    /// Makes a call once (twice when the registry asks for proof).
    pub(crate) async fn attempt(&self, call: &Call) -> Result<Response, Trouble> {
        let registry = self.registry(call).await?;
        let url = match &call.target {
            Target::At(url) => url.clone(),
            Target::Root => registry
                .join("v2/")
                .map_err(|error| RegistryError::Refused(call.say(format_args!("malformed address ({error})"))))?,
            Target::Below(tail) => registry
                .join(&format!("v2/{}/{tail}", call.repo.path))
                .map_err(|error| RegistryError::Refused(call.say(format_args!("malformed address ({error})"))))?,
        };
        let header = self.auth.header(call).await?;
        let mut response = self.exchange(call, &registry, url.clone(), header.as_ref()).await?;
        self.remember(call.host(), if registry.scheme() == "http" { Scheme::Http } else { Scheme::Https });
        if response.status() != StatusCode::UNAUTHORIZED || !same_origin(response.url(), &registry) {
            return self.judge(call, response, header.as_ref()).await;
        }
        let complaint = complaint(&mut response, &secrets_of(header.as_ref())).await;
        let header = self.auth.meet(call, &registry, response.headers(), &complaint, header.as_ref()).await?;
        let response = self.exchange(call, &registry, url, Some(&header)).await?;
        self.judge(call, response, Some(&header)).await
    }

    /// Makes a call to an address that the registry gave, once, with a body that cannot be sent again. Proof is shown as an earlier
    /// call has earned it.
    pub(crate) async fn stream(&self, call: &Call, body: reqwest::Body) -> Result<Response, Trouble> {
        let registry = self.registry(call).await?;
        let Target::At(url) = &call.target else {
            return Err(RegistryError::Refused(call.say("nobody said where to")).into());
        };
        let header = self.auth.header(call).await?.filter(|_| same_origin(url, &registry));
        let client = self.connections.to(url).map_err(|why| RegistryError::Refused(call.say(why)))?;
        let mut request = reqwest::Request::new(call.method.clone(), url.clone());
        *request.headers_mut() = call.headers.clone();
        if let Some(value) = &header {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        *request.body_mut() = Some(body);
        let response = client.execute(request).await.map_err(|error| self.broken(call, url, &error))?;
        self.judge(call, response, header.as_ref()).await
    }

    /// What we are known by to the service of a call.
    pub(crate) async fn credential(&self, call: &Call) -> Result<Option<Credential>, RegistryError> {
        self.auth.credential(call).await
    }

    /// Makes a call to another interface of a service than its registry's, at an address that is not the registry's word; proof is
    /// in the call's headers. Again when that may help.
    pub(crate) async fn beside(&self, call: &Call) -> Result<Fetched, RegistryError> {
        let mut patience = Patience::default();
        loop {
            match self.beside_once(call).await {
                Ok(fetched) => return Ok(fetched),
                Err(trouble) => patience.wait(trouble).await?,
            }
        }
    }

    async fn beside_once(&self, call: &Call) -> Result<Fetched, Trouble> {
        let Target::At(url) = &call.target else {
            return Err(RegistryError::Refused(call.say("nobody said where to")).into());
        };
        let response = self.request(call, url, call.headers.get(AUTHORIZATION)).await?;
        let now = self.clock.unix_millis();
        if is_limited(response.status(), response.headers()) {
            let error = RegistryError::Unavailable(call.say("the service takes no more requests for the moment"));
            let retry_after = limited_until(response.headers(), now);
            return Err(Trouble::Passing { error, retry_after, tries: MAX_TRIES });
        }
        let mut response = self.judge(call, response, call.headers.get(AUTHORIZATION)).await?;
        let body = answer::read(&mut response, INTERFACE_LIMIT).await.map_err(|error| match error {
            ReadError::TooLarge => {
                Trouble::Final(RegistryError::Refused(call.say("the answer is longer than such answers are")))
            }
            ReadError::Broken(why) => {
                Trouble::passing(RegistryError::Unavailable(call.say(format_args!("the answer broke off ({why})"))))
            }
        })?;
        let (status, url) = (response.status(), response.url().clone());
        Ok(Fetched { status, headers: std::mem::take(response.headers_mut()), body, url })
    }

    async fn judge(
        &self,
        call: &Call,
        mut response: Response,
        used: Option<&HeaderValue>,
    ) -> Result<Response, Trouble> {
        let status = response.status();
        if status.is_success() || call.expected.contains(&status) {
            return Ok(response);
        }
        let wish = retry_after(response.headers(), self.clock.unix_millis());
        let complaint = complaint(&mut response, &secrets_of(used)).await;
        Err(answer::trouble(call, status, &complaint, wish))
    }

    /// Sends a call to `url` and on to where redirects lead. `authorization` is shown to the registry only, and no
    /// longer once a redirect has led away from it.
    async fn exchange(
        &self,
        call: &Call,
        registry: &Url,
        mut url: Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Trouble> {
        let mut authorization = authorization.filter(|_| same_origin(&url, registry));
        for _ in 0..=MAX_REDIRECTS {
            let response = self.request(call, &url, authorization).await?;
            let Some(next) = redirect(call, &response)? else { return Ok(response) };
            authorization = authorization.filter(|_| same_origin(&next, registry));
            url = next;
        }
        let what = format_args!("more than {MAX_REDIRECTS} redirects");
        Err(RegistryError::Refused(call.say(what)).into())
    }

    async fn request(&self, call: &Call, url: &Url, authorization: Option<&HeaderValue>) -> Result<Response, Trouble> {
        let client = self.connections.to(url).map_err(|why| RegistryError::Refused(call.say(why)))?;
        let mut request = reqwest::Request::new(call.method.clone(), url.clone());
        *request.headers_mut() = call.headers.clone();
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        // An empty body of its own makes for `Content-Length: 0`, which some proxies insist on.
        if matches!(call.method, Method::PUT | Method::POST | Method::PATCH) {
            *request.body_mut() = Some(call.body.clone().into());
        }
        let stranger = !self.is_known(call.host());
        let limit = if stranger { call.first_limit(FIRST_CONTACT) } else { call.time_limit() };
        match tokio::time::timeout(limit, client.execute(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.broken(call, url, &error)),
            Err(_) => {
                let what = format_args!("no answer from {} within {} s", origin_of(url), limit.as_secs());
                let error = RegistryError::Unavailable(call.say(what));
                Err(Trouble::Passing { error, retry_after: None, tries: if stranger { 1 } else { MAX_TRIES } })
            }
        }
    }

    /// A connection that failed.
    fn broken(&self, call: &Call, url: &Url, error: &reqwest::Error) -> Trouble {
        let place = origin_of(url);
        let why = root_cause(error);
        let stranger = !self.is_known(call.host());
        match fault(error) {
            Fault::Certificate => Trouble::Final(RegistryError::Refused(call.say(format_args!(
                "the certificate of {place} is not trusted ({why}); have the system trust its authority, or allow this \
                 with `--skip-tls-verify-registry`"
            )))),
            Fault::NotTls if stranger => Trouble::Final(RegistryError::Refused(call.say(format_args!(
                "{place} does not speak TLS; if it is a plain HTTP registry, allow this with `--insecure-registry`"
            )))),
            Fault::Connect | Fault::NotTls => Trouble::Passing {
                error: RegistryError::Unavailable(call.say(format_args!("cannot connect to {place} ({why})"))),
                retry_after: None,
                tries: match (stranger, error.is_timeout()) {
                    (true, true) => 1,
                    (true, false) => TRIES_FOR_STRANGERS,
                    (false, _) => MAX_TRIES,
                },
            },
            Fault::Other => {
                let what = format_args!("the connection to {place} failed ({why})");
                Trouble::passing(RegistryError::Unavailable(call.say(what)))
            }
        }
    }

    /// The root address of a call's registry; the first time, found out by asking.
    async fn registry(&self, call: &Call) -> Result<Url, Trouble> {
        let host = call.host();
        let known = self.schemes.lock().unwrap_or_else(PoisonError::into_inner).get(host).copied();
        let scheme = match known {
            Some(scheme) => scheme,
            None => self.find_scheme(call).await?,
        };
        self.root(call, scheme)
    }

    fn root(&self, call: &Call, scheme: Scheme) -> Result<Url, Trouble> {
        root(scheme.as_str(), call.host()).map_err(|why| RegistryError::Refused(call.say(why)).into())
    }

    /// Asks a host in each allowed way, without proof, until it answers one. A single way needs no asking.
    async fn find_scheme(&self, call: &Call) -> Result<Scheme, Trouble> {
        if self.mirrors.is_plain(call.host()) {
            return Ok(Scheme::Http);
        }
        let ways = ways(call.host(), self.insecure);
        if let [only] = ways {
            return Ok(*only);
        }
        let mut first = None;
        for &scheme in ways {
            match self.probe(call, scheme).await {
                Ok(true) => {
                    self.remember(call.host(), scheme);
                    return Ok(scheme);
                }
                Ok(false) => {}
                Err(trouble @ Trouble::Final(_)) => return Err(trouble),
                Err(trouble @ Trouble::Passing { .. }) => first = first.or(Some(trouble)),
            }
        }
        Err(first.unwrap_or_else(|| {
            let what = format_args!("{} speaks neither HTTPS nor a registry's HTTP", call.host());
            RegistryError::Refused(call.say(what)).into()
        }))
    }

    /// Whether a host speaks a scheme.
    async fn probe(&self, call: &Call, scheme: Scheme) -> Result<bool, Trouble> {
        let refuse = |why: String| Trouble::Final(RegistryError::Refused(call.say(why)));
        let url = self.root(call, scheme)?.join("v2/").map_err(|error| refuse(error.to_string()))?;
        let client = self.connections.to(&url).map_err(refuse)?;
        let request = reqwest::Request::new(Method::GET, url.clone());
        match tokio::time::timeout(PROBE, client.execute(request)).await {
            Ok(Ok(response)) => Ok(speaks(scheme, &response)),
            Ok(Err(error)) if fault(&error) == Fault::NotTls => Ok(false),
            // A certificate that is not trusted is no reason to go on without any: this one is final.
            Ok(Err(error)) => Err(self.broken(call, &url, &error)),
            Err(_) => {
                let what = format_args!("no answer from {} within {} s", origin_of(&url), PROBE.as_secs());
                let error = RegistryError::Unavailable(call.say(what));
                Err(Trouble::Passing { error, retry_after: None, tries: 1 })
            }
        }
    }

    fn is_known(&self, host: &str) -> bool {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner).contains_key(host)
    }

    fn remember(&self, host: &str, scheme: Scheme) {
        let mut schemes = self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        if schemes.len() >= CAPACITY && !schemes.contains_key(host) {
            schemes.clear();
        }
        schemes.insert(host.to_owned(), scheme);
    }
}

/// Whether an answer shows that the host speaks this scheme. HTTPS servers answer plain HTTP with 400 or a redirect.
fn speaks(scheme: Scheme, response: &Response) -> bool {
    let status = response.status();
    let elsewhere = status == StatusCode::BAD_REQUEST || status.is_redirection();
    scheme == Scheme::Https || !elsewhere
}

/// Where an answer redirects a call to; `None` when it does not.
fn redirect(call: &Call, response: &Response) -> Result<Option<Url>, RegistryError> {
    let location = match response.status().as_u16() {
        301 | 302 | 303 | 307 | 308 => response.headers().get(LOCATION),
        _ => None,
    };
    let Some(location) = location else { return Ok(None) };
    let refuse = |why: String| RegistryError::Refused(call.say(format_args!("the redirect is not followed: {why}")));
    let text = location.to_str().map_err(|_| refuse("its address is no text".to_owned()))?;
    let next = follow(response.url(), text).map_err(refuse)?;
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    // What is written goes to the registry, not to where it (or someone on the way) points.
    let stays = same_origin(response.url(), &next) && matches!(response.status().as_u16(), 307 | 308);
    if !(reads || stays) {
        return Err(refuse(format!("it leads a {} to {}", call.method, origin_of(&next))));
    }
    Ok(Some(next))
}

fn check_digest(call: &Call, body: &[u8], expected: &BlobDigest) -> Result<(), Trouble> {
    let actual = BlobDigest::of(body);
    if actual == *expected {
        return Ok(());
    }
    let what = format_args!("expected {expected}, but the {} bytes received are {actual}", body.len());
    Err(Trouble::Passing { error: RegistryError::Corrupt(call.say(what)), retry_after: None, tries: TRIES_FOR_DOUBT })
}

/// `Docker-Content-Digest`, if it is one that we can verify.
pub(crate) fn content_digest(headers: &HeaderMap) -> Option<BlobDigest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}
