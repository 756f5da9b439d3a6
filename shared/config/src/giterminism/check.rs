//! Holding a configuration against what is allowed.

use super::Giterminism;
use crate::{Config, ImageKind, Outside, OutsideKind, Position, Problem, Problems, documents, yaml::shorten};

/// How werf begins each of these errors.
const FOUND: &str = "the configuration with potential external dependency found in the werf config";

impl Giterminism {
    /// Checks that everything that `config` brings in from outside of the commit is allowed. `file` and `text` are those
    /// that it was read from; `own` is the name of the giterminism configuration, for the hints.
    ///
    /// # Errors
    /// A problem for each directive that is not.
    pub fn check(&self, config: &Config, file: &str, text: &str, own: &str) -> Result<(), Problems> {
        let latest = config.images.iter().filter_map(|image| match &image.kind {
            ImageKind::Stapel(stapel) => stapel.from_latest,
            ImageKind::Dockerfile(_) => None,
        });
        let latest = latest.filter(|_| !self.allows_from_latest()).map(|position| from_latest(position, own));
        let refused = config.outside.iter().filter(|outside| !self.allows(&outside.kind));
        let list: Vec<Problem> = latest.chain(refused.map(|outside| problem(outside, own))).collect();
        if list.is_empty() { Ok(()) } else { Err(Problems::new(file, &documents::normalise(text), list)) }
    }

    fn allows(&self, kind: &OutsideKind) -> bool {
        match kind {
            OutsideKind::GitBranch => self.allows_branch(),
            OutsideKind::MountBuildDir => self.allows_build_dir_mount(),
            OutsideKind::MountFromPath(path) => self.allows_from_path_mount(path),
            OutsideKind::ContextFile(path) => self.allows_context_add_file(path),
            OutsideKind::SecretEnv(name) => self.allows_secret_env(name),
            OutsideKind::SecretFile(path) => self.allows_secret_file(path),
            OutsideKind::SecretValue(id) => self.allows_secret_value(id),
        }
    }
}

fn from_latest(position: Position, own: &str) -> Problem {
    refusal(
        position,
        "fromLatest directive not allowed by giterminism".to_owned(),
        format!(
            "the image would change with what a registry holds at the moment: name a tag that stays, or allow it by \
             `config.stapel.allowFromLatest: true` in {own}"
        ),
    )
}

fn problem(outside: &Outside, own: &str) -> Problem {
    let switch = |key: &str| format!("allow it by `{key}: true` in {own}");
    let listed = |what: &str, key: &str| format!("allow it by adding `{}` to `{key}` in {own}", shorten(what));
    let (message, hint) = match &outside.kind {
        OutsideKind::GitBranch => (
            "git branch directive not allowed by giterminism".to_owned(),
            format!("a branch moves: write `commit` or `tag` instead, or {}", switch("config.stapel.git.allowBranch")),
        ),
        OutsideKind::MountBuildDir => (
            "\"mount { from: build_dir, ... }\" not allowed by giterminism".to_owned(),
            switch("config.stapel.mount.allowBuildDir"),
        ),
        OutsideKind::MountFromPath(path) => (
            format!("\"mount {{ fromPath: {}, ... }}\" not allowed by giterminism", shorten(path)),
            listed(path, "config.stapel.mount.allowFromPaths"),
        ),
        OutsideKind::ContextFile(path) => (
            format!("contextAddFile \"{}\" not allowed by giterminism", shorten(&path.to_string())),
            format!(
                "every machine that builds must have the same file: commit it, or {}",
                listed(&path.to_string(), "config.dockerfile.allowContextAddFiles")
            ),
        ),
        OutsideKind::SecretEnv(name) => (secret(name), listed(name, "config.secrets.allowEnvVariables")),
        OutsideKind::SecretFile(path) => (secret(path), listed(path, "config.secrets.allowFiles")),
        OutsideKind::SecretValue(id) => (secret(id), listed(id, "config.secrets.allowValueIds")),
    };
    refusal(outside.position, message, hint)
}

fn secret(name: &str) -> String {
    format!("secret \"{}\" is not allowed by giterminism", shorten(name))
}

fn refusal(position: Position, message: String, hint: String) -> Problem {
    Problem::new(Some(position), format!("{FOUND}: {message}"), hint)
}
