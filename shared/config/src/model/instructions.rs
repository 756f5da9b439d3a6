//! What a Stapel image does in its user stages, be it written as `shell` or as `ansible`.

use crate::{AnsibleTask, Command, Position, StapelImage, UserStage};

/// The instructions of one user stage.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Instructions<'i> {
    /// Commands of `shell`.
    pub commands: &'i [Command],
    /// Tasks of `ansible`.
    pub tasks: &'i [AnsibleTask],
    /// `<stage>CacheVersion`.
    pub cache_version: Option<&'i str>,
    /// Where the stage's key stands.
    pub position: Position,
}

impl Instructions<'_> {
    /// Whether nothing is done.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.tasks.is_empty()
    }
}

impl StapelImage {
    /// What is written for the user stages, in their order.
    pub fn instructions(&self) -> impl Iterator<Item = (UserStage, Instructions<'_>)> {
        let shell = self.shell.stages.iter().map(|(stage, given)| {
            let (commands, tasks) = (given.commands.as_slice(), [].as_slice());
            let cache_version = given.cache_version.as_deref();
            (*stage, Instructions { commands, tasks, cache_version, position: given.position })
        });
        let ansible = self.ansible.iter().flat_map(|ansible| &ansible.stages).map(|(stage, given)| {
            let (commands, tasks) = ([].as_slice(), given.tasks.as_slice());
            let cache_version = given.cache_version.as_deref();
            (*stage, Instructions { commands, tasks, cache_version, position: given.position })
        });
        // An image has one of the two.
        shell.chain(ansible)
    }

    /// What is written for one user stage.
    pub fn instructions_of(&self, stage: UserStage) -> Option<Instructions<'_>> {
        self.instructions().find(|(other, _)| *other == stage).map(|(_, instructions)| instructions)
    }

    /// `cacheVersion` of `shell` or `ansible`: enters every user stage.
    pub fn instructions_version(&self) -> Option<&str> {
        self.shell.cache_version.as_deref().or_else(|| self.ansible.as_ref()?.cache_version.as_deref())
    }
}
