//! Proving who we are to a registry.
//!
//! A first request goes out without proof. If the registry answers 401, its challenge is remembered and met: with the
//! password (Basic), or with a token for just what the request needs (Bearer). Later requests bring their proof at once;
//! a token that is rejected (expired in the middle of an upload, say) is fetched anew, once per request.
//!
//! A credential goes to the registry it was configured for and, over HTTPS, to the token server which that registry
//! names; never anywhere else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderValue, StatusCode};
use slipway_process::Clock;
use url::Url;

use crate::{
    RegistryError,
    answer::{Complaint, said, trouble},
    call::Call,
    challenge::{Challenge, challenge},
    connections::Connections,
    credentials::{Credential, Credentials},
    retry::Trouble,
    scheme::check_realm,
    tokens::{TokenServer, Tokens, basic, bearer, fetch},
};

/// Registries whose challenge is remembered; more are forgotten all at once.
const CAPACITY: usize = 1024;
/// Scopes that a challenge may add to what we ask for.
const MAX_ADDED_SCOPES: usize = 8;

/// What a registry wants to see.
#[derive(Clone, Debug)]
enum Proof {
    Basic,
    Bearer(TokenServer),
}

pub(crate) struct Auth {
    connections: Arc<Connections>,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    tokens: Tokens,
    proofs: Mutex<HashMap<String, Proof>>,
}

impl Auth {
    pub(crate) fn new(connections: Arc<Connections>, credentials: Credentials, clock: Arc<dyn Clock>) -> Self {
        let tokens = Tokens::new(Arc::clone(&clock));
        Self { connections, credentials, clock, tokens, proofs: Mutex::default() }
    }

    /// The `Authorization` header for a call, as far as the registry's wishes are known.
    pub(crate) async fn header(&self, call: &Call) -> Result<Option<HeaderValue>, Trouble> {
        let known = self.proofs.lock().unwrap_or_else(PoisonError::into_inner).get(call.host()).cloned();
        let Some(proof) = known else { return Ok(None) };
        match proof {
            Proof::Basic => self.basic(call).await,
            Proof::Bearer(server) => self.token(call, &server, &call.scopes, None).await.map(Some),
        }
    }

    /// What we are known by to the service of a call.
    pub(crate) async fn credential(&self, call: &Call) -> Result<Option<Credential>, RegistryError> {
        self.credentials.of(&call.repo).await.map_err(|why| RegistryError::Denied(call.say(why)))
    }

    /// The header to try after a 401 that `registry` answered to `used`.
    ///
    /// # Errors
    /// When there is none: the challenge cannot be met, or was met and is put again.
    pub(crate) async fn meet(
        &self,
        call: &Call,
        registry: &Url,
        headers: &HeaderMap,
        complaint: &Complaint,
        used: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Trouble> {
        let status = StatusCode::UNAUTHORIZED;
        let Some(challenge) = challenge(headers) else { return Err(trouble(call, status, complaint, None)) };
        let (proof, asked) = understand(call, registry, challenge)?;
        self.remember(call.host(), proof.clone());
        match proof {
            Proof::Bearer(server) => {
                let mut scopes = call.scopes.clone();
                scopes.extend(asked.into_iter().take(MAX_ADDED_SCOPES).filter(|scope| !call.scopes.contains(scope)));
                self.token(call, &server, &scopes, used).await
            }
            Proof::Basic => {
                let mut header = self.basic(call).await?;
                if used.is_some() && header.as_ref() == used {
                    // What was good once may have run out: there may be another by now.
                    self.credentials.distrust(call.host());
                    header = self.basic(call).await?;
                }
                match header {
                    Some(header) if used != Some(&header) => Ok(header),
                    Some(_) => Err(trouble(call, status, complaint, None)),
                    None => Err(login_needed(call, status, complaint)),
                }
            }
        }
    }

    fn remember(&self, host: &str, proof: Proof) {
        let mut proofs = self.proofs.lock().unwrap_or_else(PoisonError::into_inner);
        if proofs.len() >= CAPACITY && !proofs.contains_key(host) {
            proofs.clear();
        }
        proofs.insert(host.to_owned(), proof);
    }

    async fn basic(&self, call: &Call) -> Result<Option<HeaderValue>, Trouble> {
        let denied = |why: String| Trouble::Final(RegistryError::Denied(call.say(why)));
        match self.credentials.of(&call.repo).await.map_err(denied)? {
            Some(Credential::Password { user, password }) => basic(&user, &password).map(Some).map_err(denied),
            Some(Credential::Access(token)) => bearer(&token).map(Some).map_err(denied),
            Some(Credential::Identity(_)) => Err(denied(format!(
                "the registry wants a password, but the credential for it is an identity token; log in with a \
                 password: `docker login {}`",
                call.host()
            ))),
            None => Ok(None),
        }
    }

    /// A token of a token server, or the one that is a credential by itself; and for how long it is good.
    async fn fetch(
        &self,
        call: &Call,
        server: &TokenServer,
        credential: Option<&Credential>,
        scopes: &[String],
    ) -> Result<(HeaderValue, std::time::Duration), Trouble> {
        if let Some(Credential::Access(token)) = credential {
            let denied = |why: String| Trouble::Final(RegistryError::Denied(call.say(why)));
            return Ok((bearer(token).map_err(denied)?, std::time::Duration::ZERO));
        }
        fetch(&self.connections, call, server, credential, scopes, self.clock.unix_millis()).await
    }

    async fn token(
        &self,
        call: &Call,
        server: &TokenServer,
        scopes: &[String],
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Trouble> {
        let fetching = async {
            let denied = |why: String| Trouble::Final(RegistryError::Denied(call.say(why)));
            let credential = self.credentials.of(&call.repo).await.map_err(denied)?;
            let fetched = self.fetch(call, server, credential.as_ref(), scopes).await;
            let is_refused = match &fetched {
                Ok((header, _)) => Some(header) == rejected && matches!(credential, Some(Credential::Access(_))),
                Err(trouble) => matches!(trouble, Trouble::Final(RegistryError::Denied(_))),
            };
            if !is_refused {
                return fetched;
            }
            // What was good once may have run out: there may be another by now.
            self.credentials.distrust(call.host());
            let other = self.credentials.of(&call.repo).await.map_err(denied)?;
            if other == credential { fetched } else { self.fetch(call, server, other.as_ref(), scopes).await }
        };
        self.tokens.get((call.host().to_owned(), call.scopes.clone()), rejected, fetching).await
    }
}

/// What a challenge asks for, once its token server is found to be one that may see our credentials.
fn understand(call: &Call, registry: &Url, challenge: Challenge) -> Result<(Proof, Vec<String>), RegistryError> {
    let Challenge::Bearer { realm, service, scopes } = challenge else { return Ok((Proof::Basic, Vec::new())) };
    let refuse = |why: String| {
        RegistryError::Refused(call.say(format_args!("the registry names a token server that is not trusted: {why}")))
    };
    let realm = registry.join(&realm).map_err(|error| refuse(format!("its address is malformed ({error})")))?;
    check_realm(registry, &realm).map_err(refuse)?;
    Ok((Proof::Bearer(TokenServer { realm, service }), scopes))
}

fn login_needed(call: &Call, status: StatusCode, complaint: &Complaint) -> Trouble {
    let host = call.host();
    let said = said(status, complaint);
    Trouble::Final(RegistryError::Denied(call.say(format_args!("{said}; log in: `docker login {host}`"))))
}
