//! Images that run in clusters of Kubernetes.

use anyhow::anyhow;
use slipway_config::Cleanup;
use slipway_kube::{Access, Cluster, Context};
use slipway_storage::cleanup::InUse;

use super::{in_use, places::Places};
use crate::{
    commands::session::Session,
    failure::Failure,
    flags::cleanup::{KUBE_CONFIG, KUBE_CONFIG_BASE64, SCAN_CONTEXT, SCAN_NAMESPACE, WITHOUT_KUBE},
};

/// What to do where clusters cannot be asked.
const WITHOUT: &str =
    "to delete without knowing what runs, give --without-kube, or set `cleanup.disableKubernetesBasedPolicy: true`";

/// The images of the repositories that run in the clusters of all contexts, or of one. Nothing where that is not wanted.
///
/// # Errors
/// When a cluster cannot be asked: what it runs would be taken for unneeded.
pub(super) async fn running(session: &Session, said: Option<&Cleanup>, places: &Places) -> Result<Vec<InUse>, Failure> {
    if session.values.switch(&WITHOUT_KUBE) || said.is_some_and(|cleanup| cleanup.disable_kubernetes_policy) {
        return Ok(Vec::new());
    }
    let alone = session.values.switch(&SCAN_NAMESPACE);
    let mut used = Vec::new();
    for context in contexts(session).await? {
        let namespace = alone.then(|| context.namespace.as_deref().unwrap_or("default"));
        let asking = async { Cluster::open(&context).await?.images(namespace).await };
        let images = asking.await.map_err(|error| anyhow!("{error}; {WITHOUT}"))?;
        let number = images.len();
        let repos = (places.primary.repo(), places.last.as_ref().map(|last| last.repo()));
        // What is no name of an image is none of ours.
        used.extend(images.iter().filter_map(|running| in_use::of(&running.image, &running.who, repos).ok().flatten()));
        session.printer.info(&format!("The cluster of context {} runs {number} images", context.name));
    }
    Ok(used)
}

/// The contexts that are asked.
async fn contexts(session: &Session) -> Result<Vec<Context>, Failure> {
    let text = session.values.text(&KUBE_CONFIG_BASE64);
    let file = session.values.text(&KUBE_CONFIG).map(|file| session.here.join(file));
    let environment = session.world.environment.clone();
    let find = move || Access::find(text.as_deref(), file.as_deref(), &environment).map_err(Failure::usage);
    let access = session.blocking(find).await?;
    let mut contexts = access.map(|access| access.contexts).unwrap_or_default();
    if let Some(only) = session.values.text(&SCAN_CONTEXT) {
        contexts.retain(|context| context.name == only);
        if contexts.is_empty() {
            return Err(Failure::usage(anyhow!("--scan-context-only: the kubeconfig has no context `{only}`")));
        }
    }
    if contexts.is_empty() {
        return Err(Failure::usage(anyhow!(
            "there is no kubeconfig with a context, so nobody knows which images run: give --kube-config; {WITHOUT}"
        )));
    }
    Ok(contexts)
}
