//! Mentions of images: whether what is named exists and is of the kind that is wanted.

use slipway_oci::{ArchiveName, BaseName, Reference, ReferenceError};

use super::Index;
use crate::{
    Base, ImageKind, ImageName, ImportSource, StapelImage, UserStage,
    raw::{Draft, Link, LinkKind, Reader, Wants, suggestion},
    yaml::shorten,
};

/// Where a link leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// To the draft with this number.
    Draft(usize),
    /// To an image that is not of this file.
    External,
    /// Nowhere; a problem has been added.
    Unknown,
}

/// Resolves all links, and with them the bases and imports of the drafts. The answer has a target per draft and link.
pub(super) fn resolve(reader: &mut Reader<'_>, drafts: &mut [Draft], index: &Index) -> Vec<Vec<Target>> {
    let mut targets = Vec::with_capacity(drafts.len());
    for number in 0..drafts.len() {
        let found: Vec<Target> =
            drafts[number].links.iter().map(|link| target(reader, drafts, index, (number, link))).collect();
        apply(reader, &mut drafts[number], &found);
        targets.push(found);
    }
    for (draft, found) in drafts.iter().zip(&targets) {
        source_stages(reader, drafts, draft, found);
    }
    targets
}

/// A stage that files are imported from must be there.
fn source_stages(reader: &mut Reader<'_>, drafts: &[Draft], draft: &Draft, targets: &[Target]) {
    let ImageKind::Stapel(stapel) = &draft.image.kind else { return };
    for (link, target) in draft.links.iter().zip(targets) {
        let LinkKind::Import(number) = link.kind else { continue };
        let import = &stapel.imports[number];
        let Some(stage) = import.stage else { continue };
        let (name, stage_name) = (shorten(&link.name.text), stage.name());
        let why = match target {
            Target::Unknown => continue,
            Target::External => format!("`{name}` is an image of a registry, which has no stage `{stage_name}`"),
            Target::Draft(source) => match &drafts[*source].image.kind {
                ImageKind::Dockerfile(_) => {
                    format!("image `{name}` is built from a Dockerfile and has no stage `{stage_name}`")
                }
                ImageKind::Stapel(source) if !has_stage(source, stage) => {
                    format!("image `{name}` has no stage `{stage_name}`: there is nothing to do in it")
                }
                ImageKind::Stapel(_) => continue,
            },
        };
        let hint = "remove `stage` to import from the finished image, or name a stage with instructions";
        reader.refuse(import.position, format!("`stage` of an import: {why}"), hint);
    }
}

fn has_stage(source: &StapelImage, stage: UserStage) -> bool {
    let commands = source.shell.stages.get(&stage).is_some_and(|stage| !stage.commands.is_empty());
    commands
        || source
            .ansible
            .as_ref()
            .and_then(|ansible| ansible.stages.get(&stage))
            .is_some_and(|stage| !stage.tasks.is_empty())
}

fn target(reader: &mut Reader<'_>, drafts: &[Draft], index: &Index, (own, link): (usize, &Link)) -> Target {
    let name = link.name.text.as_str();
    match index.get(name).copied() {
        // `image: redis` with `from: redis` is the usual way to build upon the external `redis`.
        Some(found) if found == own && link.directive == "from" => Target::External,
        Some(found) if found == own => {
            let message = format!("image `{}` references itself by `{}`", shorten(name), link.directive);
            let hint = match link.directive {
                "fromImage" => "name another image, or write `from` for an image of a registry",
                _ => "name another image",
            };
            reader.refuse(link.name.position, message, hint);
            Target::Unknown
        }
        Some(found) => {
            of_kind(reader, drafts[found].image.artifact, link).map_or(Target::Unknown, |()| Target::Draft(found))
        }
        None if link.wants == Wants::Anything => Target::External,
        None if link.wants == Wants::Image && is_external(name) => Target::External,
        None => {
            refuse_unknown(reader, drafts, link);
            Target::Unknown
        }
    }
}

/// A dependency cannot be an artifact. Everything else may be either: images and artifacts share their names, so
/// what is meant is clear even when the directive does not fit.
fn of_kind(reader: &mut Reader<'_>, artifact: bool, link: &Link) -> Option<()> {
    if !artifact || link.wants != Wants::LocalImage {
        return Some(());
    }
    let name = shorten(&link.name.text);
    let message = format!("`{}` names `{name}`, which is an artifact", link.directive);
    let hint = format!("declare `{name}` by `image` with `final: false` instead of `artifact`");
    reader.refuse(link.name.position, message, hint);
    None
}

fn refuse_unknown(reader: &mut Reader<'_>, drafts: &[Draft], link: &Link) {
    if reader.is_full() {
        return;
    }
    let wanted = drafts.iter().filter(|draft| link.wants != Wants::LocalImage || !draft.image.artifact);
    let names: Vec<&str> = wanted
        .flat_map(|draft| &draft.image.names)
        .map(|name| name.0.as_str())
        .filter(|name| !name.is_empty())
        .collect();
    let what = if link.wants == Wants::Artifact { "artifact" } else { "image" };
    let whose =
        if link.wants == Wants::LocalImage { "images of this file" } else { "images and artifacts of this file" };
    let message =
        format!("{what} `{}`, named by `{}`, not found in this file", shorten(&link.name.text), link.directive);
    reader.refuse(link.name.position, message, suggestion(&link.name.text, &names, whose));
}

/// Whether `name` can only be a reference to a registry: it has a tag, a digest, or a host in front.
fn is_external(name: &str) -> bool {
    let host = name.split_once('/').map_or("", |(host, _)| host);
    name.contains([':', '@']) || host.contains('.') || host == "localhost"
}

/// Puts the targets into the model.
fn apply(reader: &mut Reader<'_>, draft: &mut Draft, targets: &[Target]) {
    let ImageKind::Stapel(stapel) = &mut draft.image.kind else { return };
    for (link, target) in draft.links.iter().zip(targets) {
        match link.kind {
            LinkKind::Base => base(reader, stapel, link, *target),
            LinkKind::Import(number) if *target == Target::External => {
                check_reference(reader, link);
                stapel.imports[number].source = ImportSource::External(link.name.text.clone());
            }
            LinkKind::Import(_) | LinkKind::Dependency => {}
        }
    }
}

fn base(reader: &mut Reader<'_>, stapel: &mut StapelImage, link: &Link, target: Target) {
    match target {
        Target::Draft(_) => stapel.base = Base::Image(ImageName(link.name.text.clone())),
        Target::External => external_base(reader, stapel, link),
        Target::Unknown => {}
    }
}

/// A problem when what a base names cannot be one, or `fromLatest` has no registry to ask.
fn external_base(reader: &mut Reader<'_>, stapel: &StapelImage, link: &Link) {
    match link.name.text.parse::<BaseName>() {
        Ok(BaseName::Registry(_)) => {}
        Ok(BaseName::Scratch | BaseName::Archive(_)) => {
            if let Some(position) = stapel.from_latest {
                let name = shorten(&link.name.text);
                let message = format!("`fromLatest` asks a registry, and the base `{name}` is in none");
                reader.refuse(position, message, "remove `fromLatest`");
            }
        }
        Err(error) if ArchiveName::is_meant(&link.name.text) => {
            let hint = "write `oci-layout://PATH[:TAG|@DIGEST]` or `docker-archive://PATH[:NAME:TAG]`";
            reader.refuse(link.name.position, format!("`{}`: {error}", link.directive), hint);
        }
        Err(error) => refuse_reference(reader, link, &error),
    }
}

/// A problem when what `link` names cannot be an image of a registry.
fn check_reference(reader: &mut Reader<'_>, link: &Link) {
    if let Err(error) = link.name.text.parse::<Reference>() {
        refuse_reference(reader, link, &error);
    }
}

fn refuse_reference(reader: &mut Reader<'_>, link: &Link, error: &ReferenceError) {
    let message = format!("`{}`: {error}", link.directive);
    reader.refuse(link.name.position, message, "write `[HOST/]NAME[:TAG][@DIGEST]`, such as `alpine:3.20`");
}
