//! `imageSpec`: the config of the finished image, rewritten.

use slipway_digest::{Checksum, Encoder};
use slipway_oci::{Removal, Respec};

use super::{
    instructions::{health, pair},
    user::carried,
};
use crate::{kind::StageKind, plan::StageBody, scene::Scene};

/// Every value of it; what has no order is sorted.
pub(super) fn dependencies(scene: Scene<'_>) -> Option<Checksum> {
    let respec = scene.image.spec.as_deref()?;
    let encoder = carried(Encoder::new("imageSpec"), scene, StageKind::ImageSpec);
    Some(values(encoder, respec).finish())
}

/// The directive itself.
pub(super) fn body(scene: Scene<'_>) -> StageBody {
    StageBody::Respec(scene.image.spec.clone().unwrap_or_default())
}

fn values(encoder: Encoder, respec: &Respec) -> Encoder {
    let Respec {
        author,
        clear_history,
        labels,
        env,
        volumes,
        expose,
        user,
        cmd,
        entrypoint,
        workdir,
        stop_signal,
        healthcheck,
        remove_labels,
        remove_env,
        remove_volumes,
        clear_cmd,
        clear_entrypoint,
        clear_user,
        clear_workdir,
    } = respec;
    let flag = |encoder: Encoder, flag: &bool| encoder.number(u64::from(*flag));
    let encoder = flag(encoder.optional(author.as_deref(), Encoder::text), clear_history)
        .list(labels.iter(), pair)
        .list(env.iter(), pair)
        .texts(sorted(volumes))
        .optional(expose.as_ref(), |encoder, ports| encoder.texts(sorted(ports)))
        .optional(user.as_deref(), Encoder::text)
        .optional(cmd.as_ref(), |encoder, words| encoder.texts(words))
        .optional(entrypoint.as_ref(), |encoder, words| encoder.texts(words))
        .optional(workdir.as_deref(), Encoder::text)
        .optional(stop_signal.as_deref(), Encoder::text)
        .optional(healthcheck.as_ref(), health);
    let lists = [remove_labels, remove_env, remove_volumes].into_iter();
    let encoder = lists.fold(encoder, |encoder, list| encoder.texts(removed(list)));
    [clear_cmd, clear_entrypoint, clear_user, clear_workdir].into_iter().fold(encoder, flag)
}

fn sorted(texts: &[String]) -> Vec<&str> {
    let mut sorted: Vec<&str> = texts.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted
}

fn removed(removals: &[Removal]) -> Vec<&str> {
    let mut sorted: Vec<&str> = removals.iter().map(Removal::as_str).collect();
    sorted.sort_unstable();
    sorted
}
