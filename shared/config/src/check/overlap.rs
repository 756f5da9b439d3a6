//! Places that more than one git mapping or import fills: the wider one leaves out what a narrower one brings;
//! two that bring the same are in conflict.

use crate::{
    GitMapping, ImageKind, Import, Position,
    raw::{Draft, Reader},
    yaml::shorten,
};

/// Git mappings and imports that one image may have; every pair is compared.
const MOST_EXPORTS: usize = 1000;
/// Paths that they may bring together.
const MOST_TARGETS: usize = 5000;

/// What a git mapping or an import puts into the image.
struct Export {
    directive: &'static str,
    position: Position,
    to: String,
    /// Absolute paths that it brings; empty = all of `/`.
    targets: Vec<String>,
    /// Absolute paths that it leaves out.
    excluded: Vec<String>,
    /// What it must leave out besides, relative to `to`.
    added: Vec<String>,
}

impl Export {
    fn new(directive: &'static str, position: Position, to: &str, include: &[String], exclude: &[String]) -> Self {
        let targets: Vec<String> = match include {
            [] => vec![to.to_owned()],
            paths => paths.iter().map(|path| join(to, path)).collect(),
        };
        Self {
            directive,
            position,
            to: to.to_owned(),
            targets: targets.into_iter().filter(|target| target != "/").collect(),
            excluded: exclude.iter().map(|path| join(to, path)).collect(),
            added: Vec::new(),
        }
    }

    fn of_git(mapping: &GitMapping) -> Self {
        Self::new("git", mapping.position, &mapping.to, &mapping.include, &mapping.exclude)
    }

    fn of_import(import: &Import) -> Self {
        Self::new("import", import.position, &import.to, &import.include, &import.exclude)
    }

    /// Leaves out what `other` brings. `Err` = the path that both bring.
    fn make_way(&mut self, other: &Self) -> Result<(), String> {
        if !contains(&self.to, &other.to) {
            return Ok(());
        }
        if self.targets.is_empty() && other.targets.is_empty() {
            return Err("/".to_owned());
        }
        for target in &other.targets {
            if self.targets.contains(target) {
                return Err(target.clone());
            }
            let wider = self.targets.iter().any(|own| contains(target, own));
            let left_out = self.excluded.iter().any(|excluded| contains(excluded, target));
            if wider || left_out {
                continue;
            }
            let relative = if self.to == "/" { &target[1..] } else { &target[self.to.len() + 1..] };
            self.added.push(relative.to_owned());
            self.excluded.push(target.clone());
        }
        Ok(())
    }
}

/// Appends to the excluded paths of `draft` what overlapping exports need, or adds a problem per conflict.
pub(super) fn resolve(reader: &mut Reader<'_>, draft: &mut Draft) {
    let position = draft.image.position;
    let ImageKind::Stapel(stapel) = &mut draft.image.kind else { return };
    let mut exports: Vec<Export> = stapel.git.iter().map(Export::of_git).collect();
    exports.extend(stapel.imports.iter().map(Export::of_import));
    let targets: usize = exports.iter().map(|export| export.targets.len()).sum();
    if exports.len() > MOST_EXPORTS || targets > MOST_TARGETS {
        let message = format!("more than {MOST_EXPORTS} `git` and `import` entries, or {MOST_TARGETS} paths in them");
        reader.refuse(position, message, "map whole directories instead of single files");
        return;
    }
    let mut conflicts = Vec::new();
    for wide in 0..exports.len() {
        for narrow in 0..exports.len() {
            if wide == narrow {
                continue;
            }
            let (first, second) = pair(&mut exports, wide, narrow);
            if let Err(path) = first.make_way(second) {
                conflicts.push((wide.min(narrow), wide.max(narrow), path));
            }
        }
    }
    conflicts.sort();
    conflicts.dedup_by(|a, b| (a.0, a.1) == (b.0, b.1));
    for (first, second, path) in conflicts {
        refuse(reader, &exports[first], &exports[second], &path);
    }
    let mut added = exports.into_iter().map(|export| export.added);
    for mapping in &mut stapel.git {
        mapping.exclude.extend(added.next().unwrap_or_default());
    }
    for import in &mut stapel.imports {
        import.exclude.extend(added.next().unwrap_or_default());
    }
}

/// Two different elements, the first one to be changed.
fn pair(exports: &mut [Export], first: usize, second: usize) -> (&mut Export, &Export) {
    if first < second {
        let (head, tail) = exports.split_at_mut(second);
        (&mut head[first], &tail[0])
    } else {
        let (head, tail) = exports.split_at_mut(first);
        (&mut tail[0], &head[second])
    }
}

fn refuse(reader: &mut Reader<'_>, first: &Export, second: &Export, path: &str) {
    let message = format!(
        "conflict between imports: this `{}` and the `{}` in line {} both bring `{}`",
        second.directive,
        first.directive,
        first.position.line,
        shorten(path)
    );
    let hint = "give them different `to`, or tell by `includePaths` and `excludePaths` which of them brings what";
    reader.refuse(second.position, message, hint);
}

/// `path`, relative to `to`, as an absolute path; `**` is `to` itself.
fn join(to: &str, path: &str) -> String {
    if path == "**" { to.to_owned() } else { format!("{}/{path}", to.trim_end_matches('/')) }
}

/// Whether `path` is `directory` or lies below it.
fn contains(directory: &str, path: &str) -> bool {
    path.strip_prefix(directory.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
