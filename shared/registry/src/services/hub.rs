//! Docker Hub deletes tags, one at a time, by the interface that its web pages use.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde::Deserialize;
use slipway_process::Clock;
use tokio::sync::Mutex;

use super::Desk;
use crate::{RegistryError, Removed, tokens::bearer};

const USUAL: &str = "https://hub.docker.com";
/// For how long a token is used; Docker Hub's are good for ten minutes at least.
const LIFE: Duration = Duration::from_secs(300);

pub(super) struct Hub {
    clock: Arc<dyn Clock>,
    /// The last token, and until when it is used.
    token: Mutex<Option<(HeaderValue, Duration)>>,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
}

impl Hub {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, token: Mutex::default() }
    }

    /// Deletes a tag.
    pub(super) async fn remove(&self, desk: &Desk<'_>, tag: &str) -> Result<Removed, RegistryError> {
        let url = desk.address(USUAL, &format!("/v2/repositories/{}/tags/{tag}/", desk.call.repo.path))?;
        let expected = &[StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED];
        for is_last in [false, true] {
            let call = desk.call.clone().at(&url).header(AUTHORIZATION, self.token(desk).await?);
            let call = if is_last { call.expect(&expected[..1]) } else { call.expect(expected) };
            match desk.client.transport().beside(&call).await?.status {
                StatusCode::NOT_FOUND => return Ok(Removed::Absent),
                // It has run out.
                StatusCode::UNAUTHORIZED => *self.token.lock().await = None,
                _ => return Ok(Removed::Done),
            }
        }
        Err(RegistryError::Denied(desk.call.say("the token is not accepted")))
    }

    /// Of those who want one at the same time, one asks.
    async fn token(&self, desk: &Desk<'_>) -> Result<HeaderValue, RegistryError> {
        let mut kept = self.token.lock().await;
        let now = self.clock.monotonic();
        if let Some((token, until)) = &*kept
            && now < *until
        {
            return Ok(token.clone());
        }
        let (user, password) = desk.password().await?;
        let body = serde_json::json!({ "identifier": user, "secret": password }).to_string();
        let mut call = desk.call.clone().at(&desk.address(USUAL, "/v2/auth/token")?).body(Bytes::from(body));
        call.method = Method::POST;
        let call = call.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = desk.client.transport().beside(&call).await?;
        let grant: Grant =
            serde_json::from_slice(&answer.body).map_err(|_| desk.refused("Docker Hub gave no token"))?;
        let token = bearer(&grant.access_token).map_err(|why| desk.refused(&why))?;
        *kept = Some((token.clone(), now + LIFE));
        Ok(token)
    }
}
