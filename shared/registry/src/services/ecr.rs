//! ECR deletes up to a hundred images or tags by one request; those who want something deleted at the same time share one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use slipway_oci::Repo;
use slipway_process::Clock;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::{
    AwsSource, Desk,
    keys::Keys,
    signature::{Request, sign},
};
use crate::{
    RegistryError, Removed,
    retry::{Patience, Trouble},
};

/// What one request may delete.
const AT_ONCE: usize = 100;
const DELETE: &str = "BatchDeleteImage";
const DESCRIBE: &str = "DescribeRegistries";
/// The host of all public registries.
const PUBLIC: &str = "public.ecr.aws";

pub(super) struct Ecr {
    keys: Keys,
    clock: Arc<dyn Clock>,
    /// The accounts whose public registries have these aliases.
    owners: Mutex<HashMap<String, String>>,
    wishes: Mutex<Vec<Wish>>,
    /// Held by who sends.
    turn: AsyncMutex<()>,
}

struct Wish {
    repo: Repo,
    selector: String,
    tell: oneshot::Sender<Result<Removed, RegistryError>>,
}

/// Where a registry is: `ACCOUNT.dkr.ecr.REGION.amazonaws.com`, or `public.ecr.aws/ALIAS`.
#[derive(PartialEq, Eq, Debug)]
struct Place {
    service: &'static str,
    /// What stands before the names of actions.
    target: &'static str,
    /// `None` = the alias of a public registry tells.
    account: Option<String>,
    region: String,
    interface: String,
}

/// An image or a tag.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ImageId {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    registry_id: &'a str,
    repository_name: &'a str,
    image_ids: Vec<ImageId>,
}

/// The registries of the account that the keys are of.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Registries {
    registries: Vec<Registry>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Registry {
    registry_id: String,
    aliases: Vec<Alias>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Alias {
    name: String,
    status: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answered {
    failures: Vec<Failure>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Failure {
    image_id: ImageId,
    failure_code: String,
    failure_reason: String,
}

/// What went wrong with a whole request.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Fault {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: String,
}

impl Ecr {
    pub(super) fn new(keys: AwsSource, clock: Arc<dyn Clock>) -> Self {
        let keys = Keys::new(keys, Arc::clone(&clock));
        Self { keys, clock, owners: Mutex::default(), wishes: Mutex::default(), turn: AsyncMutex::new(()) }
    }

    /// Deletes an image with its tags, or a tag.
    pub(super) async fn remove(&self, desk: &Desk<'_>, selector: &str) -> Result<Removed, RegistryError> {
        let (tell, mut told) = oneshot::channel();
        let wish = Wish { repo: desk.call.repo.clone(), selector: selector.to_owned(), tell };
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner).push(wish);
        while told.is_empty() && !told.is_terminated() {
            let _turn = self.turn.lock().await;
            let batch = if told.is_empty() { self.take(&desk.call.repo) } else { Vec::new() };
            if batch.is_empty() {
                break;
            }
            let selectors: Vec<&str> = batch.iter().map(|wish| wish.selector.as_str()).collect();
            let mut answers = self.send(desk, &selectors).await;
            for wish in batch {
                let answer = match &mut answers {
                    Ok(failed) => failed.remove(&wish.selector).unwrap_or(Ok(Removed::Done)),
                    Err(error) => Err(error.clone()),
                };
                // Who gave up need not know.
                let _ = wish.tell.send(answer);
            }
        }
        told.try_recv().unwrap_or_else(|_| Err(RegistryError::Unavailable(desk.call.say("who asked for it gave up"))))
    }

    /// What is wished for in a repository, as much as one request may have.
    fn take(&self, repo: &Repo) -> Vec<Wish> {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        wishes
            .extract_if(.., |wish| {
                let taken = wish.repo == *repo && count < AT_ONCE;
                count += usize::from(taken);
                taken
            })
            .collect()
    }

    /// Asks for it; answers what was not done.
    async fn send(
        &self,
        desk: &Desk<'_>,
        selectors: &[&str],
    ) -> Result<HashMap<String, Result<Removed, RegistryError>>, RegistryError> {
        let place = place(&desk.call.repo.host).or(desk.told.map(|_| Place::unknown()));
        let place = place.ok_or_else(|| desk.refused("its host is none of ECR"))?;
        let path = desk.call.repo.path.as_str();
        let (registry, name) = match &place.account {
            Some(account) => (account.clone(), path),
            None => {
                let named = path.split_once('/');
                let (alias, name) = named.ok_or_else(|| desk.refused("a repository there is ALIAS/NAME"))?;
                (self.owner(desk, &place, alias).await?, name)
            }
        };
        let image_ids = selectors.iter().map(|selector| ImageId::new(selector)).collect();
        let asked = Asked { registry_id: &registry, repository_name: name, image_ids };
        let body = serde_json::to_vec(&asked).map_err(|error| desk.refused(&error.to_string()))?;
        let answer: Answered = self.ask(desk, &place, (DELETE, body.into())).await?;
        let failed = answer.failures.into_iter().map(|failure| {
            let selector = failure.image_id.image_digest.or(failure.image_id.image_tag).unwrap_or_default();
            let outcome = match failure.failure_code.as_str() {
                "ImageNotFound" | "ImageTagDoesNotMatchDigest" => Ok(Removed::Absent),
                code => Err(RegistryError::Refused(format!(
                    "delete `{selector}` of {}: {code}: {}",
                    desk.call.repo, failure.failure_reason
                ))),
            };
            (selector, outcome)
        });
        Ok(failed.collect())
    }

    /// The account of the public registry with an alias. By its name alone a repository would be deleted from in the registry of
    /// whatever account the keys are of.
    async fn owner(&self, desk: &Desk<'_>, place: &Place, alias: &str) -> Result<String, RegistryError> {
        let known = || self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known().get(alias) {
            return Ok(account.clone());
        }
        let answer: Registries = self.ask(desk, place, (DESCRIBE, Bytes::from_static(b"{}"))).await?;
        let is_it = |own: &Alias| own.name == alias && own.status == "ACTIVE";
        let found = answer.registries.into_iter().find(|registry| registry.aliases.iter().any(is_it));
        let Some(Registry { registry_id, .. }) = found else {
            let why = format!("the keys of AWS are of an account whose public registry is not `{alias}`");
            return Err(RegistryError::Denied(desk.call.say(why)));
        };
        known().insert(alias.to_owned(), registry_id.clone());
        Ok(registry_id)
    }

    /// Asks for something, again while that may help.
    async fn ask<T: DeserializeOwned>(
        &self,
        desk: &Desk<'_>,
        place: &Place,
        (action, body): (&str, Bytes),
    ) -> Result<T, RegistryError> {
        let mut patience = Patience::default();
        loop {
            match self.ask_once(desk, place, (action, body.clone())).await? {
                Ok(answer) => return Ok(answer),
                Err(trouble) => patience.wait(trouble).await?,
            }
        }
    }

    async fn ask_once<T: DeserializeOwned>(
        &self,
        desk: &Desk<'_>,
        place: &Place,
        (action, body): (&str, Bytes),
    ) -> Result<Result<T, Trouble>, RegistryError> {
        let keys = self.keys.get().await.map_err(|why| RegistryError::Denied(desk.call.say(why)))?;
        let url = desk.address(&place.interface, "/")?;
        let action = format!("{}.{action}", place.target);
        let request =
            Request { region: &place.region, service: place.service, action: &action, url: &url, body: &body };
        let headers = sign(&keys, &request, self.clock.unix_millis() / 1000);
        let mut call = desk.call.clone().at(&url).body(body).expect(&[StatusCode::BAD_REQUEST]);
        call.method = Method::POST;
        call = call.header(CONTENT_TYPE, HeaderValue::from_static(super::signature::CONTENT));
        for (name, value) in headers {
            let value = HeaderValue::from_str(&value).map_err(|_| desk.refused("the keys cannot stand in a header"))?;
            call = call.secret_header(name, value);
        }
        let answer = desk.client.transport().beside(&call).await?;
        if answer.status != StatusCode::BAD_REQUEST {
            let read = serde_json::from_slice(&answer.body);
            return read.map(Ok).map_err(|_| desk.refused("ECR's answer cannot be read"));
        }
        let fault: Fault = serde_json::from_slice(&answer.body).unwrap_or_default();
        // It may be called with the name of its module in front.
        let kind = fault.kind.rsplit_once('#').map_or(fault.kind.as_str(), |(_, kind)| kind);
        let said = desk.call.say(format_args!("ECR answered {kind} ({})", crate::answer::one_line(&fault.message)));
        match kind {
            "ThrottlingException" | "RequestLimitExceeded" | "ServerException" => {
                Ok(Err(Trouble::passing(RegistryError::Unavailable(said))))
            }
            "RepositoryNotFoundException" => Err(RegistryError::NotFound(said)),
            _ => Err(RegistryError::Denied(said)),
        }
    }
}

impl ImageId {
    fn new(selector: &str) -> Self {
        let text = Some(selector.to_owned());
        if selector.contains(':') {
            Self { image_digest: text, image_tag: None }
        } else {
            Self { image_digest: None, image_tag: text }
        }
    }
}

impl Place {
    /// That of an interface that was told, of a registry whose name says nothing.
    fn unknown() -> Self {
        Self::private("000000000000", "us-east-1", String::new())
    }

    fn private(account: &str, region: &str, interface: String) -> Self {
        let (service, target) = ("ecr", "AmazonEC2ContainerRegistry_V20150921");
        Self { service, target, account: Some(account.to_owned()), region: region.to_owned(), interface }
    }

    /// All public registries are in one region.
    fn public() -> Self {
        let (service, target, region) = ("ecr-public", "SpencerFrontendService", "us-east-1");
        let interface = format!("https://api.{service}.{region}.amazonaws.com");
        Self { service, target, account: None, region: region.to_owned(), interface }
    }
}

fn place(host: &str) -> Option<Place> {
    if host == PUBLIC {
        return Some(Place::public());
    }
    let (account, rest) = host.split_once(".dkr.ecr.")?;
    let (region, domain) = rest.split_once('.')?;
    Some(Place::private(account, region, format!("https://api.ecr.{region}.{domain}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_tell_where_the_interface_is() {
        let found = place("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn").expect("a host of ECR");
        assert_eq!((found.account.as_deref(), found.region.as_str()), (Some("123456789012"), "cn-north-1"));
        assert_eq!(found.interface, "https://api.ecr.cn-north-1.amazonaws.com.cn");
        let public = place("public.ecr.aws").expect("a host of ECR");
        assert_eq!(public.interface, "https://api.ecr-public.us-east-1.amazonaws.com");
        assert_eq!(place("registry.example"), None);
    }
}
