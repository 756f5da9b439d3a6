//! The secrets of builds: in memory only, so that whoever submitted a build sends them again after a change of leader.

use slipway_protocol::{SecretValues, SubmitRequest, builds::BuildEvent, secrets};
use slipway_stages::Graph;

use super::{Entry, Reign};
use crate::spool::Writer;

/// Refuses secrets that are too many, too long or not for a cluster.
pub(super) fn check(given: &SecretValues, graph: &Graph, request: &SubmitRequest) -> Result<(), String> {
    if request.ssh_keys > secrets::MOST_SSH_KEYS {
        return Err(format!(
            "the build has {} ssh keys, and at most {} are taken",
            request.ssh_keys,
            secrets::MOST_SSH_KEYS
        ));
    }
    let Some(first) = needed(graph, request.ssh_keys).into_iter().next() else { return Ok(()) };
    if request.detached {
        return Err(format!(
            "a detached build has no secrets and ssh keys ({first}): they are kept in memory alone, and nobody would send them \
             again to the next coordinator; leave --detach out"
        ));
    }
    let bytes: usize = given.values().map(|secret| secret.reveal().len()).sum();
    if bytes > secrets::MOST_SECRETS {
        return Err(format!(
            "the secrets of the build have {bytes} bytes, and at most {} are taken",
            secrets::MOST_SECRETS
        ));
    }
    match missing(given, graph, request.ssh_keys) {
        None => Ok(()),
        Some(key) => Err(format!("the secret {key} of the configuration was not sent along")),
    }
}

/// The keys of the secrets that a build uses, ssh keys among them.
fn needed(graph: &Graph, ssh_keys: u32) -> Vec<String> {
    let images = graph.images().iter();
    let of_images = images.flat_map(|image| image.secrets.iter().map(move |secret| secret.key(image)));
    of_images.chain((0..ssh_keys).map(secrets::ssh_key)).collect()
}

fn missing(given: &SecretValues, graph: &Graph, ssh_keys: u32) -> Option<String> {
    needed(graph, ssh_keys).into_iter().find(|key| !given.contains_key(key))
}

impl Reign {
    /// Waits until all secrets of a build are here.
    pub(super) async fn wait_for_secrets(
        &self,
        entry: &Entry,
        (graph, ssh_keys): (&Graph, u32),
        writer: &mut Writer,
    ) -> Result<SecretValues, String> {
        let patience = self.parts.limits.sources;
        let mut given = entry.secrets();
        let Some(first) = missing(&given.borrow_and_update(), graph, ssh_keys) else {
            return Ok(given.borrow().clone());
        };
        let within = patience.as_secs();
        let notice = format!("the leader has changed: waiting {within} s for the secret {first} to be sent again");
        writer.append([BuildEvent::Notice(notice)]).await;
        let all = given.wait_for(|given| missing(given, graph, ssh_keys).is_none());
        match tokio::time::timeout(patience, all).await {
            Ok(Ok(given)) => Ok(given.clone()),
            Ok(Err(_)) | Err(_) => Err(format!(
                "the secret {first} is not on this coordinator, and nobody has sent it within {within} s: the build was \
                 submitted to another coordinator, which is gone; run `slipway build` again"
            )),
        }
    }
}
