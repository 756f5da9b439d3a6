//! A project whose commands report that they run.

use std::collections::BTreeMap;

use anyhow::Result;
use slipway_e2e::{Cluster, Listener, Project};

/// Names of the stages whose commands report.
pub(crate) const STAGES: [&str; 5] = ["tools-install", "app-install", "app-setup", "web-setup", "side-setup"];
/// How many stages it has in all: those, the two bases, `gitArchive` and the import.
pub(crate) const ALL: usize = 9;

/// A project of an artifact and three images, one of which stands on another.
pub(crate) fn project(name: &str, cluster: &Cluster, listener: &Listener) -> Result<Project> {
    let project = Project::new(name)?;
    project.write("src/file", "1")?;
    configure(&project, cluster, listener, "")?;
    project.commit("first")?;
    Ok(project)
}

/// Writes its configuration; `more` goes into the commands of `side/setup`.
pub(crate) fn configure(project: &Project, cluster: &Cluster, listener: &Listener, more: &str) -> Result<()> {
    let report = |stage: &str| listener.report(&format!("{}-{stage}", project.name()));
    let documents = format!(
        "artifact: tools\nfrom: BASE\nshell: {{install: ['{}', 'mkdir /tools && date > /tools/made']}}\n---\n\
         image: app\nfrom: BASE\ngit: [{{add: /src, to: /app}}]\n\
         import: [{{artifact: tools, add: /tools, to: /tools, after: install}}]\n\
         shell: {{install: ['{}'], setup: ['{}', 'echo said-by-app']}}\n---\n\
         image: web\nfromImage: app\nshell: {{setup: ['{}']}}\n---\n\
         image: side\nfrom: BASE\nshell: {{setup: ['{}{more}']}}\n",
        report("tools-install"),
        report("app-install"),
        report("app-setup"),
        report("web-setup"),
        report("side-setup"),
    );
    cluster.config(project, &documents)
}

/// How often each stage of a project ran.
pub(crate) fn runs(project: &Project, listener: &Listener) -> BTreeMap<String, usize> {
    let prefix = format!("{}-", project.name());
    let counts = listener.counts().into_iter();
    counts.filter_map(|(id, count)| Some((id.strip_prefix(&prefix)?.to_owned(), count))).collect()
}

/// Every stage ran once.
pub(crate) fn each_once() -> BTreeMap<String, usize> {
    STAGES.into_iter().map(|stage| (stage.to_owned(), 1)).collect()
}
