//! ECR deletes up to a hundred images or tags by one request; those who want something deleted at the same time share one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use slipway_oci::Repo;
use slipway_process::Clock;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::{
    Desk,
    signature::{AwsKeys, Request, sign},
};
use crate::{
    RegistryError, Removed,
    retry::{Patience, Trouble},
};

/// What one request may delete.
const AT_ONCE: usize = 100;
const ACTION: &str = "AmazonEC2ContainerRegistry_V20150921.BatchDeleteImage";
const SERVICE: &str = "ecr";

pub(super) struct Ecr {
    keys: Option<AwsKeys>,
    clock: Arc<dyn Clock>,
    wishes: Mutex<Vec<Wish>>,
    /// Held by who sends.
    turn: AsyncMutex<()>,
}

struct Wish {
    repo: Repo,
    selector: String,
    tell: oneshot::Sender<Result<Removed, RegistryError>>,
}

/// Where a registry is: `ACCOUNT.dkr.ecr.REGION.amazonaws.com`.
#[derive(PartialEq, Eq, Debug)]
struct Place {
    account: String,
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
    pub(super) fn new(keys: Option<AwsKeys>, clock: Arc<dyn Clock>) -> Self {
        Self { keys, clock, wishes: Mutex::default(), turn: AsyncMutex::new(()) }
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
        let Some(place) = place else {
            return Err(RegistryError::Denied(
                desk.call.say("not supported yet: deleting from public.ecr.aws; delete there by `aws ecr-public`"),
            ));
        };
        let image_ids = selectors.iter().map(|selector| ImageId::new(selector)).collect();
        let asked = Asked { registry_id: &place.account, repository_name: &desk.call.repo.path, image_ids };
        let body = Bytes::from(serde_json::to_vec(&asked).map_err(|error| desk.refused(&error.to_string()))?);
        let mut patience = Patience::default();
        let answer = loop {
            match self.ask(desk, &place, body.clone()).await? {
                Ok(answer) => break answer,
                Err(trouble) => patience.wait(trouble).await?,
            }
        };
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

    async fn ask(
        &self,
        desk: &Desk<'_>,
        place: &Place,
        body: Bytes,
    ) -> Result<Result<Answered, Trouble>, RegistryError> {
        let keys = self.keys.as_ref().ok_or_else(|| RegistryError::Denied(desk.call.say(NO_KEYS)))?;
        let url = desk.address(&place.interface, "/")?;
        let request = Request { region: &place.region, service: SERVICE, action: ACTION, url: &url, body: &body };
        let headers = sign(keys, &request, self.clock.unix_millis() / 1000);
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

const NO_KEYS: &str = "deleting from ECR takes keys of AWS: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or keep \
                       them in ~/.aws/credentials; `aws configure export-credentials --format env` prints those of a role";

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
        let (account, region) = ("000000000000".to_owned(), "us-east-1".to_owned());
        Self { account, region, interface: String::new() }
    }
}

fn place(host: &str) -> Option<Place> {
    let (account, rest) = host.split_once(".dkr.ecr.")?;
    let (region, domain) = rest.split_once('.')?;
    let (account, region) = (account.to_owned(), region.to_owned());
    let interface = format!("https://api.ecr.{region}.{domain}");
    Some(Place { account, region, interface })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_tell_where_the_interface_is() {
        let found = place("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn").expect("a host of ECR");
        assert_eq!((found.account.as_str(), found.region.as_str()), ("123456789012", "cn-north-1"));
        assert_eq!(found.interface, "https://api.ecr.cn-north-1.amazonaws.com.cn");
        assert_eq!(place("public.ecr.aws"), None);
    }
}
