//! `slipway export`: builds, and copies images out.

use std::{path::PathBuf, sync::Arc};

use slipway_config::{Config, select};
use slipway_stages::StageRecord;

use super::{build, session::Session};
use crate::{
    choose::EngineAddress,
    export::{
        Exporter,
        names::{Destination, Exported, destinations},
    },
    failure::Failure,
    flags::{export::ExportFlags, host::DRY_RUN, storage::StorageFlags},
    host::RegistryOptions,
};

/// Builds images and exports them.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let flags = ExportFlags::from_values(&session.values).map_err(Failure::usage)?;
    let dry_run = session.values.switch(&DRY_RUN);
    let mut names: Vec<String> = Vec::new();
    let built = build::build(&session, |config| {
        names = exported(config, &session.patterns)?;
        // Stages are not known yet: only that every image has another.
        let samples: Vec<String> = (0..names.len()).map(|number| format!("{}-{number:013}", "0".repeat(56))).collect();
        let images: Vec<Exported<'_>> =
            names.iter().zip(&samples).map(|(image, content)| Exported { image, content }).collect();
        let found = destinations(&flags.templates, flags.to, &images, &session.here);
        let found = found.map_err(|why| Failure::usage(anyhow::Error::msg(why)))?;
        if dry_run {
            let lines = names.iter().zip(found).flat_map(|(image, own)| {
                let image = if image.is_empty() { "~" } else { image.as_str() };
                own.into_iter().map(move |destination| format!("would export {image} to {destination}\n"))
            });
            session.printer.data(lines.collect::<String>().as_bytes())?;
        }
        Ok(!dry_run)
    });
    let Some(built) = Box::pin(built).await? else { return Ok(()) };
    let copies =
        copies(&flags, &names, &built, &session.here).map_err(|why| Failure::usage(anyhow::Error::msg(why)))?;
    let storage = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
    let environment = &session.world.environment;
    let exporter = Exporter {
        host: built.host,
        registry: RegistryOptions::new(&storage, environment),
        engine: EngineAddress::from_environment(environment),
        labels: flags.labels,
        tmp: session.project_flags.tmp_dir.clone().map_or_else(|| session.home.join("service/tmp"), PathBuf::from),
    };
    let exporting = exporter.export(&copies, |destination| session.printer.info(&format!("Exported to {destination}")));
    let done = session.world.interrupted.run_until_cancelled(Box::pin(exporting)).await;
    Ok(done.ok_or_else(Failure::interrupted)??)
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

/// What goes where, now that the stages are known.
fn copies(
    flags: &ExportFlags,
    names: &[String],
    built: &build::Built,
    here: &std::path::Path,
) -> Result<Vec<(Arc<StageRecord>, Destination)>, String> {
    let of = |name: &String| {
        let image = built.outcome.images.iter().find(|image| image.names.iter().any(|own| own.0 == *name));
        image.and_then(|image| image.last()).map(|stage| Arc::clone(&stage.record))
    };
    let records: Vec<Arc<StageRecord>> = names.iter().filter_map(of).collect();
    if records.len() != names.len() {
        return Err("an image that is to be exported was not built".to_owned());
    }
    let tags: Vec<String> = records.iter().map(|record| record.id.to_string()).collect();
    let images: Vec<Exported<'_>> =
        names.iter().zip(&tags).map(|(image, content)| Exported { image, content }).collect();
    let found = destinations(&flags.templates, flags.to, &images, here)?;
    let pairs = records.into_iter().zip(found);
    Ok(pairs
        .flat_map(|(record, own)| own.into_iter().map(move |destination| (Arc::clone(&record), destination)))
        .collect())
}
