//! `slipway export`: builds, and copies images out.

use std::path::PathBuf;

use anyhow::Context as _;
use slipway_config::{Config, select};
use slipway_oci::ImageAt;

use super::{build, images, session::Session};
use crate::{
    choose::EngineAddress,
    export::{
        Exporter, Labels,
        names::{Destination, Exported, destinations},
    },
    failure::Failure,
    flags::{bridge::USE_BUILD_REPORT, export::ExportFlags, host::DRY_RUN, storage::StorageFlags},
    host::RegistryOptions,
    report::Place,
};

/// Builds images, or takes them from the report, and exports them.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let flags = ExportFlags::from_values(&session.values).map_err(Failure::usage)?;
    let mut names: Vec<String> = Vec::new();
    let (found, host) = if session.values.switch(&USE_BUILD_REPORT) {
        let (_, config) = session.open().await?;
        names = exported(&config, &session.patterns)?;
        if !checked(&session, &flags, &names)? {
            return Ok(());
        }
        (reported(&session, &config, &names)?, None)
    } else {
        let built = build::build(&session, |config| {
            names = exported(config, &session.patterns)?;
            checked(&session, &flags, &names)
        });
        let Some(built) = Box::pin(built).await? else { return Ok(()) };
        (of_build(&built, &names)?, built.host)
    };
    let copies = copies(&flags, &names, found, &session.here).map_err(usage)?;
    let storage = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
    let environment = &session.world.environment;
    let exporter = Exporter {
        host,
        registry: RegistryOptions::new(&storage, environment),
        engine: EngineAddress::from_environment(environment),
        labels: Labels::Others(flags.labels),
        tmp: session.project_flags.tmp_dir.clone().map_or_else(|| session.home.join("service/tmp"), PathBuf::from),
    };
    let exporting = exporter.export(&copies, |destination| session.printer.info(&format!("Exported to {destination}")));
    let done = session.world.interrupted.run_until_cancelled(Box::pin(exporting)).await;
    Ok(done.ok_or_else(Failure::interrupted)??)
}

fn usage(why: String) -> Failure {
    Failure::usage(anyhow::Error::msg(why))
}

/// Whether to go on, now that the names are known: a dry run only shows them. Stages are not known yet, only that every
/// image has another.
fn checked(session: &Session, flags: &ExportFlags, names: &[String]) -> Result<bool, Failure> {
    let samples: Vec<String> = (0..names.len()).map(|number| format!("{}-{number:013}", "0".repeat(56))).collect();
    let images: Vec<Exported<'_>> =
        names.iter().zip(&samples).map(|(image, content)| Exported { image, content }).collect();
    let found = destinations(&flags.templates, flags.to, &images, &session.here).map_err(usage)?;
    if !session.values.switch(&DRY_RUN) {
        return Ok(true);
    }
    let lines = names.iter().zip(found).flat_map(|(image, own)| {
        let image = if image.is_empty() { "~" } else { image.as_str() };
        own.into_iter().map(move |destination| format!("would export {image} to {destination}\n"))
    });
    session.printer.data(lines.collect::<String>().as_bytes())?;
    Ok(false)
}

/// Where an image is for each of its platforms (or what leads to all of them), and its content-based tag.
type Origin = (Vec<ImageAt>, String);

/// The images as they were built.
fn of_build(built: &build::Built, names: &[String]) -> Result<Vec<Origin>, Failure> {
    let of = |name: &String| {
        let image = built.outcome.images.iter().find(|image| image.names.iter().any(|own| own.0 == *name));
        let tag = Place::of_image(image?)?.tag;
        Some((image?.lasts().map(|last| last.record.at.clone()).collect(), tag))
    };
    let found = names.iter().map(|name| of(name).with_context(|| format!("image {name} was not built")));
    Ok(found.collect::<Result<_, _>>()?)
}

/// The images as the report has them.
fn reported(session: &Session, config: &Config, names: &[String]) -> Result<Vec<Origin>, Failure> {
    let all = images::reported(session, config)?;
    let of = |name: &String| {
        let found = all.iter().find(|image| image.name == *name);
        let place =
            &found.with_context(|| format!("the build report does not hold image {name}: build it first"))?.place;
        if place.image_digest.is_empty() {
            anyhow::bail!(
                "the build report has image {name} in the local storage: export it without --use-build-report"
            );
        }
        let repo = place.repo.parse().with_context(|| format!("the build report on image {name}"))?;
        let digest = place.image_digest.parse().with_context(|| format!("the build report on image {name}"))?;
        Ok((vec![ImageAt { repo, digest }], place.tag.clone()))
    };
    Ok(names.iter().map(of).collect::<Result<_, _>>()?)
}

/// The names of the images that are exported: those that patterns name, or all that may be deployed.
fn exported(config: &Config, patterns: &[String]) -> Result<Vec<String>, Failure> {
    let mut chosen = select(config, patterns).map_err(Failure::usage)?;
    if let Some(artifact) = chosen.iter().find(|image| image.artifact) {
        let why = anyhow::anyhow!("{} is an artifact: artifacts are not exported", artifact.name());
        return Err(Failure::usage(why));
    }
    if patterns.is_empty() {
        chosen.retain(|image| image.is_final);
    }
    if chosen.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!("there is no image to export")));
    }
    Ok(chosen.into_iter().map(|image| image.names[0].0.clone()).collect())
}

/// What goes where, now that the images are known.
fn copies(
    flags: &ExportFlags,
    names: &[String],
    found: Vec<Origin>,
    here: &std::path::Path,
) -> Result<Vec<(Vec<ImageAt>, Destination)>, String> {
    let images: Vec<Exported<'_>> =
        names.iter().zip(&found).map(|(image, (_, content))| Exported { image, content }).collect();
    let all = destinations(&flags.templates, flags.to, &images, here)?;
    let pairs = found.iter().zip(all);
    Ok(pairs.flat_map(|((at, _), own)| own.into_iter().map(move |destination| (at.clone(), destination))).collect())
}
