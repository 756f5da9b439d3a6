//! Bases that lie in archives of the project: which images have some, and whether they may be used.

use slipway_config::{Base, Image, ImageKind};
use slipway_oci::{ArchiveForm, ArchiveName, BaseName, Which};

use crate::{
    failure::Failure,
    giterminism::{self, Committed},
    project::Project,
};

/// The archives that images are built on.
fn named(images: &[Image]) -> impl Iterator<Item = (&Image, ArchiveName)> {
    images.iter().filter_map(|image| {
        let ImageKind::Stapel(stapel) = &image.kind else { return None };
        let Base::Reference(reference) = &stapel.base else { return None };
        match reference.parse() {
            Ok(BaseName::Archive(name)) => Some((image, name)),
            Ok(BaseName::Scratch | BaseName::Registry(_)) | Err(_) => None,
        }
    })
}

/// Refuses archives where the workers of a cluster would need their bytes.
///
/// # Errors
/// Names the first image that is built on one.
pub(crate) fn refuse_in_cluster(project: &Project, images: &[Image]) -> Result<(), Failure> {
    let Some((image, name)) = named(images).next() else { return Ok(()) };
    let place = project.rendering.place(image.position);
    Err(Failure::project_text(format!(
        "{place}: image {} is built on the archive {name}, which the workers of a cluster do not have: push it to a \
         registry that they reach and name it there by `from`, or build without --coordinator",
        image.name()
    )))
}

/// Stops a build that would use an archive which the commit does not fix: neither is it in the commit, nor is the image
/// named by its digest. Blocks.
///
/// # Errors
/// Names the first such archive.
pub(crate) fn check(project: &Project, images: &[Image]) -> Result<(), Failure> {
    if !project.is_strict() || project.repository.work_tree().is_none() {
        return Ok(());
    }
    for (image, name) in named(images) {
        // All else in a layout is named by its digest, from this file on.
        let path = match (name.form, &name.which) {
            (_, Which::Digest(_)) => continue,
            (ArchiveForm::OciLayout, _) => format!("{}/index.json", name.path),
            (ArchiveForm::DockerArchive, _) => name.path.clone(),
        };
        let found = giterminism::file(&project.repository, project.commit, &project.dirty, &project.path(&path)?);
        let found = found.map_err(|error| Failure::project(anyhow::Error::new(error)))?;
        let what = match found {
            Committed::Same => continue,
            // What is not there at all is for the build to say.
            Committed::Absent if !project.is_on_disk(&project.path(&path)?) => continue,
            Committed::Absent | Committed::Untracked => "is not in the commit",
            Committed::Changed => "differs from the commit",
        };
        let or = match name.form {
            ArchiveForm::OciLayout => ", or name the image by its digest (`oci-layout://PATH@sha256:…`)",
            ArchiveForm::DockerArchive => "",
        };
        return Err(Failure::project_text(format!(
            "{}: image {} is built on the archive {name}, and \"{path}\" {what}: commit it{or}\n\n{}",
            project.rendering.place(image.position),
            image.name(),
            giterminism::HINT
        )));
    }
    Ok(())
}
