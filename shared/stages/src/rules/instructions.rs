//! `dockerInstructions`: the `docker` section.

use slipway_config::StapelImage;
use slipway_digest::{Checksum, Encoder};
use slipway_oci::{ConfigChange, config::Healthcheck};

use super::{Recipe, user::carried};
use crate::{kind::StageKind, plan::StageBody, scene::Scene};

/// Every value of the section.
pub(super) fn dependencies(scene: Scene<'_>, stapel: &StapelImage) -> Option<Checksum> {
    let docker = stapel.docker.as_ref()?;
    let encoder = carried(Encoder::new("dockerInstructions"), scene, StageKind::DockerInstructions);
    let encoder = change(encoder, docker);
    Some(if stapel.exact_values { encoder.text("exact values") } else { encoder }.finish())
}

/// The section itself.
pub(super) fn recipe(stapel: &StapelImage) -> Recipe {
    Recipe { body: StageBody::Nothing, change: stapel.docker.clone().unwrap_or_default() }
}

fn change(encoder: Encoder, change: &ConfigChange) -> Encoder {
    let ConfigChange { labels, env, volumes, expose, user, workdir, cmd, entrypoint, healthcheck } = change;
    encoder
        .list(labels.iter(), pair)
        .list(env.iter(), pair)
        .texts(volumes)
        .texts(expose)
        .optional(user.as_deref(), Encoder::text)
        .optional(workdir.as_deref(), Encoder::text)
        .optional(cmd.as_ref(), |encoder, words| encoder.texts(words))
        .optional(entrypoint.as_ref(), |encoder, words| encoder.texts(words))
        .optional(healthcheck.as_ref(), health)
}

/// A name with its value.
pub(super) fn pair(encoder: Encoder, (name, value): (&String, &String)) -> Encoder {
    encoder.text(name).text(value)
}

/// A health check.
pub(super) fn health(encoder: Encoder, check: &Healthcheck) -> Encoder {
    let Healthcheck { test, interval, timeout, start_period, retries, start_interval } = check;
    let times = [interval, timeout, start_period, start_interval, retries];
    times.into_iter().fold(encoder.texts(test), |encoder, time| encoder.number(time.cast_unsigned()))
}
