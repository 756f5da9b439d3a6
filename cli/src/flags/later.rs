//! Flags of werf whose feature does not exist yet: given, they are an error.

use super::flag::{Flag, Support};

const fn not_yet(flag: Flag) -> Flag {
    flag.support(Support::NotYet)
}

pub(super) const FLAGS: &[Flag] = &[
    not_yet(Flag::text("meta-repo", "REPO", "Repository for records only")),
    not_yet(Flag::list("use-custom-tag", "TEMPLATE", "Tag by which other commands name images")),
    not_yet(Flag::switch("use-build-report", "Take image names from a build report")),
    not_yet(Flag::switch("force-staged-dockerfile", "Build every Dockerfile instruction as a stage of its own")),
    not_yet(Flag::switch("enable-report-by-platform", "Report images by platform")),
    not_yet(Flag::switch("disable-git-commit-ancestry-check", "Take stages of any commit")),
];
