//! One call: which coordinator is asked, how often, and how long.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use reqwest::Response;
use serde::de::DeserializeOwned;
use slipway_protocol::{Code, Refusal};
use url::Url;

use crate::{Client, ClientError, backoff::Backoff, connection::cause};

/// Longest wait between tries.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// Longest answer that is read, in bytes.
const ANSWER: usize = 64 << 20;
/// Longest refusal that is read, in bytes.
const REFUSAL: usize = 64 << 10;
/// How long a coordinator may take to show that it lives.
const SIGN: Duration = Duration::from_secs(3);

/// A call that means the same when it arrives twice.
pub(crate) struct Call {
    /// What it is for, as in "submit the build".
    pub(crate) doing: String,
    pub(crate) method: Method,
    /// Below the address, without a slash in front; parts are of characters that need no escape.
    pub(crate) path: String,
    pub(crate) body: Option<Vec<u8>>,
    /// How long one try may take to be answered.
    pub(crate) each: Duration,
    /// How long it is tried; every coordinator is asked at least once.
    pub(crate) patience: Duration,
}

impl Call {
    /// A call that asks for something and is answered soon.
    pub(crate) fn get(doing: impl Into<String>, path: String) -> Self {
        let (each, patience) = (Duration::from_secs(10), Duration::from_secs(20));
        Self { doing: doing.into(), method: Method::GET, path, body: None, each, patience }
    }

    /// A call with a body.
    pub(crate) fn with(self, method: Method, body: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("what is said between roles is JSON");
        Self { method, body: Some(body), ..self }
    }

    pub(crate) fn patience(self, each: Duration, patience: Duration) -> Self {
        Self { each, patience, ..self }
    }
}

/// Why a try failed.
pub(crate) enum Trouble {
    /// There is no answer, or none of a coordinator.
    Away(String),
    /// It said no.
    Refused(Refusal),
}

impl Trouble {
    fn is_final(&self) -> bool {
        matches!(self, Self::Refused(refusal) if !refusal.code.is_retryable())
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Away(why) => why,
            Self::Refused(refusal) => &refusal.message,
        }
    }

    pub(crate) fn error(self, doing: &str) -> ClientError {
        let doing = doing.to_owned();
        match self {
            Self::Refused(refusal) if !refusal.code.is_retryable() => {
                ClientError::Refused { doing, code: refusal.code, message: refusal.message }
            }
            Self::Away(why) => ClientError::Away { doing, why },
            Self::Refused(refusal) => ClientError::Away { doing, why: refusal.message },
        }
    }
}

impl Client {
    /// Makes a call and reads its answer.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClientError> {
        let body = self.call(call).await?;
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::Malformed { doing: call.doing.clone(), why: error.to_string() })
    }

    /// Makes a call until a coordinator answers it; answers the body.
    pub(crate) async fn call(&self, call: &Call) -> Result<Bytes, ClientError> {
        self.repeat(call, |at| async move {
            let once = async {
                let response = self.send(call, &at).await?;
                read(response, ANSWER).await.map_err(Trouble::Away)
            };
            let late = || Trouble::Away(format!("{at} gave no answer within {} s", call.each.as_secs()));
            tokio::time::timeout(call.each, once).await.unwrap_or_else(|_| Err(late()))
        })
        .await
    }

    /// Makes a call until a coordinator begins to answer it.
    pub(crate) async fn open(&self, call: &Call) -> Result<(Url, Response), ClientError> {
        self.repeat(call, |at| async move {
            let late = || Trouble::Away(format!("{at} gave no answer within {} s", call.each.as_secs()));
            let response = tokio::time::timeout(call.each, self.send(call, &at)).await.unwrap_or_else(|_| Err(late()));
            Ok((at, response?))
        })
        .await
    }

    async fn repeat<T, F: Future<Output = Result<T, Trouble>>>(
        &self,
        call: &Call,
        once: impl Fn(Url) -> F,
    ) -> Result<T, ClientError> {
        let begun = self.0.clock.monotonic();
        let mut backoff = Backoff::new(LONGEST_WAIT);
        // A whole round goes without a wait: the next coordinator may be up.
        let mut left = self.0.addresses.count();
        loop {
            let at = self.0.addresses.current();
            let trouble = match once(at.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            if trouble.is_final() {
                return Err(trouble.error(&call.doing));
            }
            self.note(&at, &trouble);
            left = left.saturating_sub(1);
            if left == 0 {
                if self.0.clock.monotonic().saturating_sub(begun) >= call.patience {
                    return Err(trouble.error(&call.doing));
                }
                tracing::debug!("{}: {}; trying again", call.doing, trouble.text());
                backoff.wait().await;
                left = self.0.addresses.count();
            }
        }
    }

    /// A try failed: somebody else may have to be asked.
    pub(crate) fn note(&self, at: &Url, trouble: &Trouble) {
        let addresses = &self.0.addresses;
        match trouble {
            Trouble::Refused(Refusal { code: Code::Busy, .. }) => {}
            Trouble::Refused(Refusal { leader: Some(leader), .. }) if addresses.follow(at, leader) => {}
            Trouble::Refused(_) | Trouble::Away(_) => addresses.pass_over(at),
        }
    }

    /// One try at one coordinator: an answer that is a success, its body not read yet.
    pub(crate) async fn send(&self, call: &Call, at: &Url) -> Result<Response, Trouble> {
        let url = at.join(&call.path).map_err(|error| Trouble::Away(format!("{at}: {error}")))?;
        let mut request = self.0.http.request(call.method.clone(), url);
        if let Some(token) = &self.0.token {
            request = request.header(header::AUTHORIZATION, token.authorization());
        }
        if let Some(body) = &call.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        let response = request.send().await.map_err(|error| Trouble::Away(format!("{at}: {}", cause(&error))))?;
        let status = response.status();
        if status.is_success() { Ok(response) } else { Err(refusal(at, status, response).await) }
    }

    /// Whether a coordinator still answers anything at all: one that is stopped or cut off does not.
    pub(crate) async fn is_alive(&self, at: &Url) -> bool {
        let Ok(url) = at.join("livez") else { return false };
        self.0.http.get(url).timeout(SIGN).send().await.is_ok()
    }
}

/// What an answer that is no success says.
async fn refusal(at: &Url, status: StatusCode, response: Response) -> Trouble {
    let body = read(response, REFUSAL).await.unwrap_or_default();
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(&body) {
        return Trouble::Refused(refusal);
    }
    // A proxy that reaches nobody answers for itself.
    if status.is_server_error() || status.is_redirection() || status == StatusCode::TOO_MANY_REQUESTS {
        return Trouble::Away(format!("{at} answers {status}"));
    }
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::Conflict,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        _ => Code::Invalid,
    };
    let message = format!("{at} answers {status}; is it a coordinator?");
    Trouble::Refused(Refusal { code, message, leader: None })
}

/// The whole body, of at most `limit` bytes.
async fn read(mut response: Response, limit: usize) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| format!("the answer broke off: {}", cause(&error)))?
    {
        if body.len() + chunk.len() > limit {
            return Err(format!("the answer is longer than {limit} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
