//! What is done with built images: by Docker, compose, Helm and CI systems.

use super::{
    flag::{COMPOSE, CommandName, Flag, USERS, Werf, joined},
    resolve::Values,
};

/// Commands to which a report is as good as a build.
const REPORTED: &[CommandName] = &joined::<{ USERS.len() + 1 }>(USERS, &[CommandName::Export]);
/// Commands that can do without images.
const STUBBED: &[CommandName] = &joined::<{ COMPOSE.len() + 1 }>(COMPOSE, &[CommandName::HelmValues]);

pub(crate) const USE_BUILD_REPORT: Flag = Flag::switch(
    "use-build-report",
    "Take the images from the build report that --build-report-path names, and look for nothing else",
)
.on(REPORTED);
pub(crate) const USE_CUSTOM_TAG: Flag = Flag::text(
    "use-custom-tag",
    "TEMPLATE",
    "Tag that images are given and called by, instead of the one that follows their content; placeholders as in --add-custom-tag",
)
.on(&[CommandName::HelmValues]);
pub(crate) const STUB_TAGS: Flag = Flag::switch(
    "stub-tags",
    "Build nothing, and call images STUB:TAG (Helm: REPO:TAG); `compose down` does so when nothing is said",
)
.on(STUBBED);
pub(crate) const WITHOUT_IMAGES: Flag =
    Flag::switch("without-images", "Build nothing, and tell of no image").on(STUBBED);
pub(crate) const NAMESPACE: Flag = Flag::text(
    "namespace",
    "NAME",
    "Kubernetes namespace among the values; PROJECT-ENV, or PROJECT without --env, by default",
)
.on(&[CommandName::HelmValues]);

pub(crate) const DOCKER_OPTIONS: Flag =
    Flag::text("docker-options", "OPTIONS", "Options for `docker run`, separated by spaces; --rm by default")
        .on(&[CommandName::Run]);
pub(crate) const SHELL: Flag =
    Flag::switch("shell", "Run /bin/sh on the terminal, as with --docker-options='-ti --rm --entrypoint=/bin/sh'")
        .werf(Werf::Absent)
        .on(&[CommandName::Run]);
pub(crate) const BASH: Flag =
    Flag::switch("bash", "The same with /bin/bash").werf(Werf::Absent).on(&[CommandName::Run]);

pub(crate) const COMPOSE_OPTIONS: Flag =
    Flag::text("docker-compose-options", "OPTIONS", "Options for compose itself, separated by spaces").on(COMPOSE);
pub(crate) const COMPOSE_COMMAND_OPTIONS: Flag =
    Flag::text("docker-compose-command-options", "OPTIONS", "Options for the command of compose, separated by spaces")
        .on(COMPOSE);
pub(crate) const COMPOSE_PROGRAM: Flag = Flag::text(
    "docker-compose-bin-path",
    "FILE",
    "Program to run; `docker compose`, or docker-compose where Docker has no such command, by default",
)
.on(COMPOSE);

pub(crate) const AS_FILE: Flag =
    Flag::switch("as-file", "Write the lines to a file that only its owner can read, and print its path")
        .on(&[CommandName::CiEnv]);
pub(crate) const AS_ENV_FILE: Flag =
    Flag::switch("as-env-file", "The same with lines NAME=VALUE").on(&[CommandName::CiEnv]);
pub(crate) const OUTPUT_FILE: Flag = Flag::text(
    "output-file-path",
    "FILE",
    "Which file --as-file and --as-env-file write; a new temporary one by default",
)
.short('o')
.on(&[CommandName::CiEnv]);
pub(crate) const LOGIN_TO_REGISTRY: Flag =
    Flag::switch("login-to-registry", "Log in to the registry that the CI system has for the project")
        .default("true")
        .on(&[CommandName::CiEnv]);

pub(crate) const USERNAME: Flag =
    Flag::text("username", "NAME", "Who to be; without a name the password is taken for an identity token")
        .short('u')
        .on(&[CommandName::CrLogin]);
pub(crate) const PASSWORD: Flag = Flag::text(
    "password",
    "SECRET",
    "Password; command lines are seen by everybody on a host: --password-stdin hides it",
)
.short('p')
.secret()
.on(&[CommandName::CrLogin]);
pub(crate) const PASSWORD_STDIN: Flag =
    Flag::switch("password-stdin", "Read the password from standard input").on(&[CommandName::CrLogin]);

pub(crate) const FORMAT: Flag = Flag::choice(
    "format",
    &["docker-tag", "tag", "kubernetes-namespace", "ns", "helm-release", "r"],
    "What the name is to be",
)
.short('f')
.default("docker-tag")
.werf(Werf::Absent)
.on(&[CommandName::Slugify]);

pub(super) const FLAGS: &[Flag] = &[
    USE_BUILD_REPORT,
    USE_CUSTOM_TAG,
    STUB_TAGS,
    WITHOUT_IMAGES,
    NAMESPACE,
    DOCKER_OPTIONS,
    SHELL,
    BASH,
    COMPOSE_OPTIONS,
    COMPOSE_COMMAND_OPTIONS,
    COMPOSE_PROGRAM,
    AS_FILE,
    AS_ENV_FILE,
    OUTPUT_FILE,
    LOGIN_TO_REGISTRY,
    USERNAME,
    PASSWORD,
    PASSWORD_STDIN,
    FORMAT,
];

/// The words of a flag that holds options of another program.
pub(crate) fn words(values: &Values, flag: &Flag) -> Vec<String> {
    values.text(flag).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}
