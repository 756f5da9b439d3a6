//! `shell`: commands per user stage.

use super::{Reader, section::Section};
use crate::{Command, Position, Shell, ShellStage, UserStage};

/// The keys of `shell` and of `ansible`.
pub(super) const KEYS: [&str; 9] = [
    "beforeInstall",
    "install",
    "beforeSetup",
    "setup",
    "cacheVersion",
    "beforeInstallCacheVersion",
    "installCacheVersion",
    "beforeSetupCacheVersion",
    "setupCacheVersion",
];
/// The stages: key, key of the cache version, stage.
pub(super) const STAGES: [(&str, &str, UserStage); 4] = [
    ("beforeInstall", "beforeInstallCacheVersion", UserStage::BeforeInstall),
    ("install", "installCacheVersion", UserStage::Install),
    ("beforeSetup", "beforeSetupCacheVersion", UserStage::BeforeSetup),
    ("setup", "setupCacheVersion", UserStage::Setup),
];

/// Reads `shell` of an image.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> Shell {
    let Some(section) = reader.subsection(image, "shell", &KEYS) else { return Shell::default() };
    let mut shell = Shell { cache_version: reader.string(&section, "cacheVersion"), ..Shell::default() };
    for (key, version_key, stage) in STAGES {
        let commands = reader.texts(&section, key).into_iter();
        let commands: Vec<Command> =
            commands.map(|written| Command { text: written.text, position: written.position }).collect();
        let cache_version = reader.string(&section, version_key);
        if commands.is_empty() && cache_version.is_none() {
            continue;
        }
        let position = position_of(&section, key, version_key);
        shell.stages.insert(stage, ShellStage { commands, cache_version, position });
    }
    shell
}

/// Where a stage is written: its commands or tasks, or else its cache version.
pub(super) fn position_of(section: &Section<'_>, key: &str, version_key: &str) -> Position {
    section.get(key).or(section.get(version_key)).map_or(section.position, |entry| entry.position)
}
