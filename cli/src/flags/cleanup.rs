//! What is deleted from repositories, and how it is told.

use super::flag::{CLEANING, CommandName, Flag, Werf};

const CLEANUP: &[CommandName] = &[CommandName::Cleanup];

pub(crate) const WITHOUT_KUBE: Flag =
    Flag::switch("without-kube", "Do not ask Kubernetes which images run; they may be deleted").on(CLEANUP);
pub(crate) const SCAN_CONTEXT: Flag = Flag::text(
    "scan-context-only",
    "CONTEXT",
    "Ask only the cluster of this context of the kubeconfig which images run; by default those of all contexts are asked",
)
.on(CLEANUP);
pub(crate) const SCAN_NAMESPACE: Flag = Flag::switch(
    "scan-context-namespace-only",
    "Ask only about the namespace of each context; by default all namespaces are asked about",
)
.on(CLEANUP);
pub(crate) const KUBE_CONFIG: Flag = Flag::text(
    "kube-config",
    "FILE",
    "The kubeconfig; by default that of KUBECONFIG, ~/.kube/config, or what a pod has",
)
.on(CLEANUP);
pub(crate) const KUBE_CONFIG_BASE64: Flag =
    Flag::text("kube-config-base64", "TEXT", "The kubeconfig itself, in base64").secret().on(CLEANUP);
pub(crate) const KEEP_HOURS: Flag = Flag::number(
    "keep-stages-built-within-last-n-hours",
    "HOURS",
    "Keep all stages that are not older than this; 0: none for that; by default as the configuration has it, or 2",
)
.on(CLEANUP);
pub(crate) const IMAGES_IN_USE: Flag = Flag::list(
    "images-in-use",
    "FILE",
    "File with names of images that run and must stay, one a line, such as `REPO:TAG` or `REPO@DIGEST`",
)
.werf(Werf::Absent)
.on(CLEANUP);
pub(crate) const SAVE_REPORT: Flag =
    Flag::switch("save-cleanup-report", "Write a report of what stays and what went, as JSON")
        .werf(Werf::Absent)
        .on(CLEANUP);
pub(crate) const REPORT_PATH: Flag = Flag::text("cleanup-report-path", "FILE", "Where the report is written")
    .werf(Werf::Absent)
    .default(".slipway-cleanup-report.json")
    .on(CLEANUP);
pub(crate) const SECOND_LOOK: Flag = Flag::number(
    "second-look-after",
    "SECONDS",
    "Where builds share records (--synchronization): how long after stages were given up it is seen whether a tag came back; by default 65, which is \
     longer than writing a tag may take",
)
.werf(Werf::Absent)
.on(CLEANING);
pub(crate) const PARALLEL: Flag =
    Flag::switch("parallel", "Send several requests at the same time").short('p').default("true").on(CLEANING);
pub(crate) const PARALLEL_LIMIT: Flag = Flag::number(
    "parallel-tasks-limit",
    "N",
    "Most requests at the same time; fewer where a registry limits how many it takes; 0 or less: 64",
)
.default("10")
.on(CLEANING);

pub(super) const FLAGS: &[Flag] = &[
    WITHOUT_KUBE,
    SCAN_CONTEXT,
    SCAN_NAMESPACE,
    KUBE_CONFIG,
    KUBE_CONFIG_BASE64,
    KEEP_HOURS,
    IMAGES_IN_USE,
    SAVE_REPORT,
    REPORT_PATH,
    SECOND_LOOK,
    PARALLEL,
    PARALLEL_LIMIT,
];
