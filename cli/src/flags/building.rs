//! How a build is run.

use std::num::NonZeroUsize;

use slipway_config::Config;
use slipway_stages::build::Schedule;

use super::{
    bridge::USE_CUSTOM_TAG,
    flag::{BUILDERS, CommandName, Flag, Support, Werf},
    resolve::Values,
};

pub(crate) const PARALLEL: Flag =
    Flag::switch("parallel", "Build independent images at the same time").short('p').default("true");
pub(crate) const PARALLEL_TASKS_LIMIT: Flag = Flag::number(
    "parallel-tasks-limit",
    "N",
    "Most images at the same time; 0 or less: no limit, as with --coordinator",
)
.default("5");
pub(crate) const SCHEDULE: Flag = Flag::choice(
    "schedule",
    &["ready", "sets"],
    "Start images as soon as their own needs are done, or set by set (slower; to compare with)",
)
.default("ready")
.werf(Werf::Absent)
.on(BUILDERS);
pub(crate) const REQUIRE_BUILT_IMAGES: Flag =
    Flag::switch("require-built-images", "Build nothing: a stage that is missing ends the command with exit code 4");
pub(crate) const CHECK_BUILT_IMAGES: Flag = Flag::switch("check-built-images", "The same as --require-built-images");
pub(crate) const SKIP_BUILD: Flag = Flag::switch("skip-build", "Old name of --require-built-images")
    .short('Z')
    .support(Support::Renamed("require-built-images"));
pub(crate) const PLATFORM: Flag = Flag::words(
    "platform",
    "OS/ARCH[/VARIANT]",
    "Target platform; that of werf.yaml, or else of this host, by default",
)
.foreign("DOCKER_DEFAULT_PLATFORM");
pub(crate) const BACKEND_NETWORK: Flag =
    Flag::text("backend-network", "NAME", "Network of the commands of all images, whatever werf.yaml says");
pub(crate) const FORCE_STAGED_DOCKERFILE: Flag = Flag::switch(
    "force-staged-dockerfile",
    "Build every instruction of all Dockerfiles as a stage of its own, whatever werf.yaml says",
);
pub(crate) const FINAL_IMAGES_ONLY: Flag =
    Flag::switch("final-images-only", "Leave out images with `final: false` that nothing final needs")
        .aliases(&["images-only"])
        .on(&[CommandName::Build, CommandName::Export, CommandName::Plan, CommandName::ConfigList]);
pub(crate) const ADD_CUSTOM_TAG: Flag = Flag::list(
    "add-custom-tag",
    "TEMPLATE",
    "Further tag of the images that may be deployed; %image%, %image_slug%, %image_safe_slug% and %image_content_based_tag% stand for the image",
)
.on(&[CommandName::Build, CommandName::Plan]);
pub(crate) const VIRTUAL_MERGE: Flag = Flag::switch(
    "virtual-merge",
    "The commit is the merge of a pull request that is not merged yet: what it merges is recorded",
);
pub(crate) const VIRTUAL_MERGE_FROM: Flag = Flag::text(
    "virtual-merge-from-commit",
    "COMMIT",
    "Commit that --virtual-merge merges; the second parent of the commit that is built by default",
);
pub(crate) const VIRTUAL_MERGE_INTO: Flag =
    Flag::text("virtual-merge-into-commit", "COMMIT", "Commit that it is merged into; the first parent by default");
pub(crate) const OUTPUT: Flag = Flag::choice("output", &["text", "json"], "Form of the plan")
    .short('o')
    .default("text")
    .werf(Werf::Absent)
    .on(&[CommandName::Plan]);
pub(crate) const GRAPH_OUTPUT: Flag = Flag::choice("output", &["yaml", "json", "dot"], "Form of the graph")
    .short('o')
    .default("yaml")
    .werf(Werf::Absent)
    .on(&[CommandName::ConfigGraph]);

pub(super) const FLAGS: &[Flag] = &[
    PARALLEL,
    PARALLEL_TASKS_LIMIT,
    SCHEDULE,
    REQUIRE_BUILT_IMAGES,
    CHECK_BUILT_IMAGES,
    SKIP_BUILD,
    PLATFORM,
    BACKEND_NETWORK,
    FORCE_STAGED_DOCKERFILE,
    FINAL_IMAGES_ONLY,
    ADD_CUSTOM_TAG,
    VIRTUAL_MERGE,
    VIRTUAL_MERGE_FROM,
    VIRTUAL_MERGE_INTO,
    OUTPUT,
    GRAPH_OUTPUT,
];

/// How a build is run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BuildingFlags {
    /// `--parallel`
    pub(crate) parallel: bool,
    /// How many images may be under way at once, `--parallel=false` included; `None` = no limit.
    pub(crate) limit: Option<NonZeroUsize>,
    /// `--schedule`
    pub(crate) schedule: Schedule,
    /// The same in a cluster, where only what is said limits them.
    pub(crate) cluster_limit: Option<NonZeroUsize>,
    /// `--require-built-images`
    pub(crate) require_built: bool,
    /// `--platform`, as written.
    pub(crate) platforms: Vec<String>,
    /// `--backend-network`
    pub(crate) network: Option<String>,
    /// `--force-staged-dockerfile`
    pub(crate) force_staged: bool,
    /// `--final-images-only`
    pub(crate) final_only: bool,
    /// `--add-custom-tag`, and the tag of `--use-custom-tag`
    pub(crate) custom_tags: Vec<String>,
    /// `--virtual-merge`, with what names the two commits, where that is given.
    pub(crate) virtual_merge: Option<(Option<String>, Option<String>)>,
}

impl BuildingFlags {
    /// Has a configuration say what the flags want, whatever it says.
    pub(crate) fn overrule(&self, config: &mut Config) {
        if let Some(network) = &self.network {
            config.set_network(network);
        }
        if self.force_staged {
            config.set_staged();
        }
    }

    /// What the flags and variables say.
    pub(crate) fn from_values(values: &Values) -> Self {
        let parallel = values.switch(&PARALLEL);
        let limit = usize::try_from(values.number(&PARALLEL_TASKS_LIMIT).unwrap_or(0)).ok().and_then(NonZeroUsize::new);
        let required = [&REQUIRE_BUILT_IMAGES, &CHECK_BUILT_IMAGES, &SKIP_BUILD];
        let said = limit.filter(|_| values.is_given(&PARALLEL_TASKS_LIMIT));
        Self {
            parallel,
            limit: if parallel { limit } else { Some(NonZeroUsize::MIN) },
            schedule: match values.text(&SCHEDULE).as_deref() {
                Some("sets") => Schedule::Sets,
                _ => Schedule::Ready,
            },
            cluster_limit: if parallel { said } else { Some(NonZeroUsize::MIN) },
            require_built: required.into_iter().any(|flag| values.switch(flag)),
            platforms: values.list(&PLATFORM),
            network: values.text(&BACKEND_NETWORK).filter(|network| !network.is_empty()),
            force_staged: values.switch(&FORCE_STAGED_DOCKERFILE),
            final_only: values.switch(&FINAL_IMAGES_ONLY),
            custom_tags: values.list(&ADD_CUSTOM_TAG).into_iter().chain(values.text(&USE_CUSTOM_TAG)).collect(),
            virtual_merge: values
                .switch(&VIRTUAL_MERGE)
                .then(|| (values.text(&VIRTUAL_MERGE_FROM), values.text(&VIRTUAL_MERGE_INTO))),
        }
    }
}
