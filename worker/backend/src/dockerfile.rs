//! What instructions of a Dockerfile make of an image's config: the same with every builder that does them one by one.
//!
//! Reading order: this file ([`Draft`]), `config` (instructions that change nothing else), [`history`], `order` (what is asked for), `postponed` (what an
//! instruction alone must know of those before it).

mod config;
pub mod history;
mod order;
mod postponed;

use std::collections::BTreeMap;

use serde_json::Value;
use slipway_dockerfile::{DockerfileError, Head, Variables};
use slipway_oci::{ImageConfig, Platform, RunConfig};

use crate::BackendError;
pub use order::{Follows, follows, head_text, network, not_built, read};
pub use postponed::{Postponed, has_command, variables_before};

/// Where programs are looked for when an image does not say.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Field of a config with the shell.
const SHELL: &str = "Shell";
/// The shell of an image that names none.
const USUAL_SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// Field of a config with what is postponed.
const ON_BUILD: &str = "OnBuild";
/// Fields that an engine notes of the container that it has committed: nothing of what is made here.
const FOREIGN: [&str; 5] = ["container", "container_config", "docker_version", "id", "parent"];

/// The config of a stage under way.
#[derive(Clone)]
pub struct Draft {
    /// The config so far.
    pub config: ImageConfig,
    /// The variables in force.
    pub variables: Variables,
    /// When the last layer was made.
    pub created: Option<String>,
    /// Whether this stage has set `CMD`.
    pub has_command: bool,
    /// What has happened, oldest first.
    history: Vec<Value>,
}

impl Draft {
    /// A stage that has come as far as an image with this config.
    pub fn on(mut config: ImageConfig, variables: Variables) -> Self {
        FOREIGN.iter().for_each(|field| drop(config.other.remove(*field)));
        let history = config.other.remove("history").and_then(|list| list.as_array().cloned()).unwrap_or_default();
        let created = config.created.clone().filter(|_| !config.rootfs.diff_ids.is_empty());
        Self { config, variables, created, has_command: false, history }
    }

    /// The beginning of a stage: answers what its base has postponed for it.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn begin(&mut self) -> Result<Vec<String>, BackendError> {
        let config = &mut self.config.config;
        let postponed = config.other.remove(ON_BUILD).map(serde_json::from_value::<Option<Vec<String>>>);
        let postponed = postponed.transpose().map_err(|error| {
            BackendError::Refused(format!("what the base image has postponed by ONBUILD cannot be read: {error}"))
        })?;
        if config.env("PATH").is_none() {
            config::set_variable(config, "PATH", PATH);
        }
        Ok(postponed.flatten().unwrap_or_default())
    }

    /// The shell of commands.
    pub fn shell(&self) -> Vec<String> {
        let named = self.config.config.other.get(SHELL);
        let named: Option<Vec<String>> = named.and_then(|value| serde_json::from_value(value.clone()).ok());
        let named = named.filter(|shell| !shell.is_empty());
        named.unwrap_or_else(|| USUAL_SHELL.map(str::to_owned).to_vec())
    }

    fn set_shell(&mut self, shell: &[String]) {
        self.config.config.other.insert(SHELL.to_owned(), Value::from(shell.to_vec()));
    }

    /// Where commands start, and what relative paths are relative to.
    pub fn directory(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    /// Names another directory, and answers how it is called in the history.
    pub fn enter(&mut self, path: &str) -> String {
        let directory = joined(self.directory(), path);
        let by = format!("WORKDIR {directory}");
        self.config.config.working_dir = directory;
        by
    }

    /// What a command sees of the image's variables and of the arguments: of one name, whichever came last.
    pub fn seen(&self) -> BTreeMap<String, String> {
        let own = self.config.config.env.iter().flatten().filter_map(|entry| entry.split_once('='));
        let mut all: BTreeMap<String, String> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for (name, value) in self.variables.arguments() {
            if let Some(value) = value {
                all.insert(name.to_owned(), value.to_owned());
            }
        }
        all.retain(|name, value| !name.is_empty() && !name.contains('\0') && !value.contains('\0'));
        all
    }

    /// Notes an instruction that changed the config alone.
    fn note(&mut self, by: &str) {
        self.history.push(history::entry(self.created.as_deref(), by, true));
    }

    /// Notes an instruction that may have changed files; without a layer it has changed none.
    pub fn add(&mut self, has_layer: bool, created: &str, by: &str) {
        self.created = Some(created.to_owned());
        self.history.push(history::entry(Some(created), by, !has_layer));
    }

    /// The config of the finished image with these layers, lowest first, and more labels; `now` = when nothing in it says
    /// when it was made.
    pub fn image(&self, diff_ids: Vec<String>, labels: &BTreeMap<String, String>, now: &str) -> ImageConfig {
        let mut image = self.config.clone();
        let created = self.created.as_deref().unwrap_or(now);
        image.rootfs.kind = "layers".to_owned();
        image.rootfs.diff_ids = diff_ids;
        image.created = Some(created.to_owned());
        if !labels.is_empty() {
            image.config.labels.get_or_insert_default().extend(labels.clone());
        }
        let history = self.history.iter().cloned().map(|entry| history::dated(entry, created));
        image.other.insert("history".to_owned(), history.collect());
        image
    }
}

/// The config of a stage on nothing.
pub fn scratch(platform: &Platform) -> ImageConfig {
    ImageConfig {
        config: RunConfig { working_dir: "/".to_owned(), ..RunConfig::default() },
        ..crate::config::empty(platform)
    }
}

/// What a stage on an image is of: what its `FROM` says, else what is built for. The same platform by another name is that.
///
/// # Errors
/// When it names no platform.
pub fn platform_of(head: &Head, own: &Platform) -> Result<Platform, BackendError> {
    let Some(text) = &head.platform else { return Ok(own.clone()) };
    let asked: Platform = text.parse().map_err(|error| BackendError::Refused(format!("--platform={text}: {error}")))?;
    Ok(if (&asked.os, &asked.arch) == (&own.os, &own.arch) { own.clone() } else { asked })
}

/// What is wrong with a text is the user's to mend.
pub fn wrong(error: DockerfileError) -> BackendError {
    refused(Some(error.line).filter(|line| *line > 0), error.message)
}

/// A Dockerfile is refused, for one of its lines where that is known.
pub fn refused(line: Option<u32>, why: String) -> BackendError {
    match line {
        Some(line) => BackendError::Instruction { line, error: Box::new(BackendError::Refused(why)) },
        None => BackendError::Refused(format!("the Dockerfile cannot be built: {why}")),
    }
}

/// An error of an instruction, with the place where it stands.
pub fn at(line: u32, text: &str, error: BackendError) -> BackendError {
    let text = crate::output::shortened(text);
    let told = |why: String| format!("{text}: {why}");
    let error = match error {
        BackendError::Refused(why) => BackendError::Refused(told(why)),
        BackendError::Engine(why) => BackendError::Engine(told(why)),
        BackendError::NoSpace(why) => BackendError::NoSpace(told(why)),
        BackendError::Command { .. } | BackendError::Gone(_) | BackendError::Instruction { .. } => return error,
    };
    BackendError::Instruction { line, error: Box::new(error) }
}

/// The absolute path that `path` means in `directory`, in its shortest form.
pub fn joined(directory: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
    let mut kept: Vec<&str> = Vec::new();
    for segment in whole.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        let cases =
            [("/", "a", "/a"), ("/a", "../b/./c/", "/b/c"), ("/a", "/b", "/b"), ("/", "..", "/"), ("/x", "", "/x")];
        for (directory, path, expected) in cases {
            assert_eq!(joined(directory, path), expected, "{directory} {path}");
        }
    }
}
