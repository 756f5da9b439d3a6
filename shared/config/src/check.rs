//! Rules across directives and documents, and the step from what was read to the validated configuration.

mod cycles;
mod idle;
mod mounts;
mod overlap;
mod platforms;
mod references;

use std::collections::HashMap;

use crate::{
    Config, ImageKind, ImageName,
    raw::{Documents, Draft, ImageSpec, Reader},
};

/// Draft numbers by image name.
type Index = HashMap<String, usize>;

/// Checks `documents` and makes the configuration of them. The result is worth something only if the reader has
/// no problems then.
pub(crate) fn check(reader: &mut Reader<'_>, documents: Documents) -> Config {
    let Documents { meta, mut drafts } = documents;
    if meta.is_none() && reader.problems.is_empty() {
        let message = "the meta section is missing: no document has `configVersion`";
        reader.refuse_file(message, "begin the file with `configVersion: 1`, `project: NAME` and a line `---`");
    }
    let meta = meta.unwrap_or_default();
    let index = index(reader, &drafts);
    for draft in &mut drafts {
        if let ImageKind::Dockerfile(dockerfile) = &mut draft.image.kind {
            dockerfile.staged = draft.staged.unwrap_or(meta.staged);
        }
        draft.image.cache_version = draft.image.cache_version.take().or_else(|| meta.cache_version.clone());
        specify(reader, draft, meta.spec.as_ref());
        overlap::resolve(reader, draft);
    }
    let targets = references::resolve(reader, &mut drafts, &index);
    mounts::inherit(&mut drafts, &index);
    cycles::check(reader, &drafts, &targets);
    platforms::check(reader, &drafts, &targets, &meta.platforms);
    for draft in &drafts {
        idle::check(reader, &draft.image);
    }
    Config {
        project: meta.project,
        platforms: meta.platforms,
        worktree: meta.worktree,
        cleanup: meta.cleanup,
        images: drafts.into_iter().map(|draft| draft.image).collect(),
        outside: std::mem::take(&mut reader.outside),
        warnings: std::mem::take(&mut reader.warnings),
    }
}

/// The drafts by their names, which are checked: each is unique, and an image without a name stands alone.
fn index(reader: &mut Reader<'_>, drafts: &[Draft]) -> Index {
    let mut index = Index::new();
    let images: usize = drafts.iter().filter(|draft| !draft.image.artifact).map(|draft| draft.image.names.len()).sum();
    for (number, draft) in drafts.iter().enumerate() {
        for (name, position) in draft.image.names.iter().zip(&draft.name_positions) {
            if name.0.is_empty() {
                if images > 1 {
                    let message = "an image without a name must be the only image";
                    reader.refuse(*position, message, "give every image a name: `image: NAME`");
                }
                continue;
            }
            let Some(first) = index.get(&name.0).copied() else {
                index.insert(name.0.clone(), number);
                continue;
            };
            let line = drafts[first].line_of(name);
            let message = format!("duplicate image name `{name}`");
            reader.refuse(
                *position,
                message,
                format!("it stands in line {line} already; images and artifacts share names"),
            );
        }
    }
    index
}

impl Draft {
    /// The line in which `name` is declared.
    fn line_of(&self, name: &ImageName) -> u32 {
        let mut names = self.image.names.iter().zip(&self.name_positions);
        names.find(|(own, _)| *own == name).map_or(self.image.position.line, |(_, position)| position.line)
    }
}

/// Gives an image what its `imageSpec` and that of the meta section say. An artifact is never run: it has none.
fn specify(reader: &mut Reader<'_>, draft: &mut Draft, global: Option<&ImageSpec>) {
    let own = draft.spec.take();
    if draft.image.artifact {
        return;
    }
    if let (Some(_), None, ImageKind::Stapel(stapel)) = (global, &own, &draft.image.kind)
        && stapel.docker.is_some()
    {
        let message = format!("image `{}`: `docker` and `build.imageSpec` cannot stand together", draft.image.name());
        reader.refuse(draft.image.position, message, "write `imageSpec.config` instead of `docker`");
    }
    let merged = ImageSpec::merged(global, own);
    if let Some(spec) = &merged {
        spec.warn_of_essential_labels(reader);
    }
    draft.image.spec = merged.map(|spec| Box::new(spec.respec));
}
