//! Flags of werf whose feature does not exist yet: given, they are an error.

use super::flag::{CommandName, Flag, Support};

const fn not_yet(flag: Flag) -> Flag {
    flag.support(Support::NotYet)
}

pub(super) const FLAGS: &[Flag] = &[
    not_yet(Flag::text("meta-repo", "REPO", "Repository for records only")),
    not_yet(
        Flag::switch("follow", "Do it again whenever there is a new commit")
            .on(&[CommandName::Run, CommandName::ComposeUp]),
    ),
    not_yet(
        Flag::switch("set-docker-config-json-value", "Put Docker's configuration among the values")
            .on(&[CommandName::HelmValues]),
    ),
    not_yet(
        Flag::choice("shell", &["default", "cmdexe", "powershell"], "Which shell reads the lines")
            .on(&[CommandName::CiEnv]),
    ),
    not_yet(Flag::switch("disable-git-commit-ancestry-check", "Take stages of any commit")),
];
