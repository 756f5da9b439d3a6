//! Tokens from a registry's token server: asked for with a password (`GET`), an identity token (OAuth2 `POST`) or
//! anonymously, and kept until shortly before they expire.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, header::AUTHORIZATION};
use serde::Deserialize;
use slipway_process::Clock;
use url::{Url, form_urlencoded};

use crate::{
    RegistryError,
    answer::{self, complaint},
    call::{Call, IDLE},
    connections::{Connections, root_cause},
    credentials::Credential,
    retry::{Trouble, retry_after},
    scheme::origin_of,
};

/// Largest answer of a token server.
const ANSWER_LIMIT: usize = 256 * 1024;
/// Tokens that are kept; more are forgotten all at once.
const CAPACITY: usize = 4096;
/// What a token lives when its server does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Longest that a token is used without asking again.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);
/// How we call ourselves in OAuth2.
const CLIENT_ID: &str = "slipway";

/// What a token is good for: registry host and scopes.
pub(crate) type Purpose = (String, Vec<String>);

/// A token as it goes into the `Authorization` header.
#[derive(Clone, Debug)]
struct Token {
    header: HeaderValue,
    /// On the monotonic clock.
    expires: Duration,
}

/// Where tokens are had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TokenServer {
    pub(crate) realm: Url,
    pub(crate) service: Option<String>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// Tokens by purpose. Of those who want the same one at the same time, one asks and the others wait.
pub(crate) struct Tokens {
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<Purpose, Slot>>,
}

#[derive(Deserialize)]
struct Grant {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

impl Tokens {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, slots: Mutex::default() }
    }

    /// A token for `purpose`, other than the `rejected` one; by `fetch`, with how long it lives, when there is none.
    pub(crate) async fn get(
        &self,
        purpose: Purpose,
        rejected: Option<&HeaderValue>,
        fetch: impl Future<Output = Result<(HeaderValue, Duration), Trouble>>,
    ) -> Result<HeaderValue, Trouble> {
        let slot = self.slot(purpose);
        let mut held = slot.lock().await;
        let now = self.clock.monotonic();
        if let Some(token) = held.as_ref()
            && now < token.expires
            && Some(&token.header) != rejected
        {
            return Ok(token.header.clone());
        }
        *held = None;
        let (header, life) = fetch.await?;
        *held = Some(Token { header: header.clone(), expires: now + usable(life) });
        Ok(header)
    }

    fn slot(&self, purpose: Purpose) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= CAPACITY && !slots.contains_key(&purpose) {
            slots.clear();
        }
        Arc::clone(slots.entry(purpose).or_default())
    }
}

/// How long a token is used: a little less than it lives, as clocks and networks are slow.
fn usable(life: Duration) -> Duration {
    (life.mul_f64(0.9)).min(LONGEST_LIFE)
}

/// Asks a token server; the `Authorization` header and how long it lives.
pub(crate) async fn fetch(
    connections: &Connections,
    call: &Call,
    server: &TokenServer,
    credential: Option<&Credential>,
    scopes: &[String],
    now_unix_millis: u64,
) -> Result<(HeaderValue, Duration), Trouble> {
    let place = origin_of(&server.realm);
    let say = |what: String| call.say(format_args!("get a token from {place}: {what}"));
    let request = request(server, credential, scopes).map_err(|why| RegistryError::Refused(say(why)))?;
    let client = connections.to(&server.realm).map_err(|why| RegistryError::Refused(say(why)))?;
    let unavailable = |why: String| Trouble::passing(RegistryError::Unavailable(say(why)));
    let mut response = tokio::time::timeout(IDLE, client.execute(request))
        .await
        .map_err(|_| unavailable(format!("no answer for {} s", IDLE.as_secs())))?
        .map_err(|error| unavailable(root_cause(&error)))?;

    let status = response.status();
    if !status.is_success() {
        let retry_after = retry_after(response.headers(), now_unix_millis);
        let complaint = complaint(&mut response, &secrets_in(credential)).await;
        return Err(refused(call, &say(answer::said(status, &complaint)), status, credential, retry_after));
    }
    let body = answer::read(&mut response, ANSWER_LIMIT).await.map_err(|error| match error {
        answer::ReadError::TooLarge => RegistryError::Refused(say("its answer is too large".to_owned())).into(),
        answer::ReadError::Broken(why) => unavailable(why),
    })?;
    read_grant(&body).map_err(|why| RegistryError::Refused(say(why.to_owned())).into())
}

fn request(
    server: &TokenServer,
    credential: Option<&Credential>,
    scopes: &[String],
) -> Result<reqwest::Request, String> {
    let mut url = server.realm.clone();
    if let Some(Credential::Identity(token)) = credential {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT_ID);
        form.append_pair("refresh_token", token).append_pair("scope", &scopes.join(" "));
        server.service.iter().for_each(|service| {
            form.append_pair("service", service);
        });
        let mut request = reqwest::Request::new(Method::POST, url);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        *request.body_mut() = Some(Bytes::from(form.finish()).into());
        return Ok(request);
    }
    let mut query = url.query_pairs_mut();
    server.service.iter().for_each(|service| {
        query.append_pair("service", service);
    });
    scopes.iter().for_each(|scope| {
        query.append_pair("scope", scope);
    });
    if let Some(Credential::Password { user, .. }) = credential {
        query.append_pair("account", user).append_pair("client_id", CLIENT_ID);
    }
    drop(query);
    let mut request = reqwest::Request::new(Method::GET, url);
    if let Some(Credential::Password { user, password }) = credential {
        request.headers_mut().insert(AUTHORIZATION, basic(user, password)?);
    }
    Ok(request)
}

fn refused(
    call: &Call,
    said: &str,
    status: http::StatusCode,
    credential: Option<&Credential>,
    retry_after: Option<Duration>,
) -> Trouble {
    let host = call.host();
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => Trouble::Passing {
            error: RegistryError::Unavailable(said.to_owned()),
            retry_after,
            tries: crate::retry::MAX_TRIES,
        },
        // OAuth2 says 400 for an identity token that is void.
        400 | 401 | 403 => {
            let next = match credential {
                Some(_) => format!("the credentials for {host} are not accepted; log in again: `docker login {host}`"),
                None => format!("log in: `docker login {host}`"),
            };
            Trouble::Final(RegistryError::Denied(format!("{said}; {next}")))
        }
        _ => Trouble::Final(RegistryError::Refused(said.to_owned())),
    }
}

fn read_grant(body: &[u8]) -> Result<(HeaderValue, Duration), &'static str> {
    let grant: Grant = serde_json::from_slice(body).map_err(|_| "its answer is no token document")?;
    let text = grant.token.filter(|text| !text.is_empty());
    let token = text.or(grant.access_token).filter(|text| !text.is_empty()).ok_or("its answer holds no token")?;
    let life = grant.expires_in.filter(|seconds| *seconds >= 0.0);
    let life = life.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(DEFAULT_LIFE);
    Ok((bearer(&token).map_err(|_| "its token is no header value")?, life))
}

/// `Authorization: Bearer …`, kept out of debug output.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, String> {
    sensitive(format!("Bearer {token}"))
}

/// `Authorization: Basic …`, kept out of debug output.
pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    use base64::Engine as _;
    let pair = format!("{user}:{password}");
    sensitive(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

/// What of an `Authorization` header must never be shown: its token, or its password in any form.
pub(crate) fn secrets_of(header: Option<&HeaderValue>) -> Vec<String> {
    use base64::Engine as _;
    let Some((_, proof)) = header.and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' ')) else {
        return Vec::new();
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(proof).ok();
    let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let password = pair.as_deref().and_then(|pair| pair.split_once(':')).map(|(_, password)| password.to_owned());
    let all = [Some(proof.to_owned()), password];
    all.into_iter().flatten().filter(|secret| !secret.is_empty()).collect()
}

fn secrets_in(credential: Option<&Credential>) -> Vec<String> {
    match credential {
        None => Vec::new(),
        Some(Credential::Identity(token) | Credential::Access(token)) => vec![token.clone()],
        Some(Credential::Password { user, password }) => secrets_of(basic(user, password).ok().as_ref()),
    }
}

fn sensitive(text: String) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(text).map_err(|_| "the credential cannot stand in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hand::Hand;

    fn server() -> TokenServer {
        TokenServer { realm: "https://auth.example/token?x=1".parse().unwrap(), service: Some("r.example".to_owned()) }
    }

    fn scopes() -> Vec<String> {
        vec!["repository:a:pull".to_owned(), "repository:b:pull,push".to_owned()]
    }

    #[tokio::test]
    async fn a_token_is_kept_while_it_lives() {
        let clock = Arc::new(Hand::default());
        let tokens = Tokens::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let purpose = |host: &str| (host.to_owned(), scopes());
        let give = |text: &'static str| async move { Ok((HeaderValue::from_static(text), Duration::from_secs(100))) };
        assert_eq!(tokens.get(purpose("r"), None, give("one")).await.unwrap(), "one");
        assert_eq!(tokens.get(purpose("r"), None, give("two")).await.unwrap(), "one");
        assert_eq!(tokens.get(purpose("s"), None, give("other host")).await.unwrap(), "other host");
        clock.set(89);
        assert_eq!(tokens.get(purpose("r"), None, give("two")).await.unwrap(), "one");
        clock.set(90);
        assert_eq!(tokens.get(purpose("r"), None, give("two")).await.unwrap(), "two");
        let rejected = HeaderValue::from_static("one");
        assert_eq!(tokens.get(purpose("r"), Some(&rejected), give("three")).await.unwrap(), "two");
        let rejected = HeaderValue::from_static("two");
        assert_eq!(tokens.get(purpose("r"), Some(&rejected), give("three")).await.unwrap(), "three");
    }

    #[tokio::test]
    async fn tokens_do_not_pile_up() {
        let tokens = Tokens::new(Arc::new(Hand::default()));
        for number in 0..CAPACITY + 10 {
            tokens.slot((number.to_string(), Vec::new()));
        }
        assert!(tokens.slots.lock().unwrap().len() <= CAPACITY);
    }

    #[test]
    fn passwords_are_shown_to_the_token_server_in_a_header() {
        let credential = Credential::Password { user: "me".to_owned(), password: "s&cret".to_owned() };
        let request = request(&server(), Some(&credential), &scopes()).unwrap();
        assert_eq!(request.method(), Method::GET);
        assert_eq!(
            request.url().as_str(),
            "https://auth.example/token?x=1&service=r.example&scope=repository%3Aa%3Apull\
             &scope=repository%3Ab%3Apull%2Cpush&account=me&client_id=slipway"
        );
        assert_eq!(request.headers()[AUTHORIZATION], "Basic bWU6cyZjcmV0");
        assert!(!format!("{request:?}").contains("bWU6"), "the header is sensitive");
    }

    #[test]
    fn identity_tokens_go_in_the_body() {
        let credential = Credential::Identity("id&tok".to_owned());
        let request = request(&server(), Some(&credential), &scopes()).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.url().as_str(), "https://auth.example/token?x=1");
        let body = std::str::from_utf8(request.body().unwrap().as_bytes().unwrap()).unwrap();
        assert_eq!(
            body,
            "grant_type=refresh_token&client_id=slipway&refresh_token=id%26tok\
             &scope=repository%3Aa%3Apull+repository%3Ab%3Apull%2Cpush&service=r.example"
        );
        assert!(request.headers().get(AUTHORIZATION).is_none());
    }

    #[test]
    fn anonymous_users_show_nothing() {
        let request = request(&server(), None, &[]).unwrap();
        assert_eq!(request.url().as_str(), "https://auth.example/token?x=1&service=r.example");
        assert!(request.headers().is_empty());
    }

    #[test]
    fn secrets_are_known_in_all_their_forms() {
        assert_eq!(secrets_of(basic("me", "hunter2").ok().as_ref()), ["bWU6aHVudGVyMg==", "hunter2"]);
        assert_eq!(secrets_of(bearer("tok").ok().as_ref()), ["tok"]);
        assert_eq!(secrets_of(None), [""; 0]);
    }

    #[test]
    fn grants_are_read() {
        let seconds = Duration::from_secs;
        let cases = [
            (r#"{"token":"t","expires_in":300}"#, Ok(("Bearer t", seconds(300)))),
            (r#"{"access_token":"t"}"#, Ok(("Bearer t", DEFAULT_LIFE))),
            (r#"{"token":"","access_token":"t","expires_in":-5}"#, Ok(("Bearer t", DEFAULT_LIFE))),
            (r#"{"token":"t","expires_in":1e300}"#, Ok(("Bearer t", DEFAULT_LIFE))),
            (r#"{}"#, Err("its answer holds no token")),
            (r#"<html>"#, Err("its answer is no token document")),
            ("{\"token\":\"a\\nb\"}", Err("its token is no header value")),
        ];
        for (body, expected) in cases {
            let expected = expected.map(|(text, life)| (HeaderValue::from_static(text), life));
            assert_eq!(read_grant(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(usable(seconds(1_000_000)), LONGEST_LIFE);
    }
}
