//! What the commands print: as text, and as JSON.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use slipway_digest::StageId;
use slipway_oci::Repo;
use slipway_storage::kv::{Attached, Imported, Kept, KeptState};

/// Something that is printed.
pub(super) trait Report: Serialize {
    /// As text, ending with a line break unless it is empty.
    fn text(&self) -> String;
}

/// `stages attach`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attaching {
    repo: String,
    generation: u64,
    stages: u64,
    attached_at_millis: u64,
}

impl Attaching {
    pub(super) fn new(repo: &Repo, attached: Attached) -> Self {
        let Attached { generation, stages, at } = attached;
        Self { repo: repo.to_string(), generation, stages, attached_at_millis: at.0 }
    }
}

impl Report for Attaching {
    fn text(&self) -> String {
        let Self { repo, generation, stages, .. } = self;
        format!("{repo} is attached: generation {generation}, {stages} stages were in it\n")
    }
}

/// `stages import`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Importing {
    repo: String,
    adopted: Vec<Adopted>,
    known: Vec<String>,
    unusable: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Adopted {
    found: String,
    used: String,
}

impl Importing {
    pub(super) fn new(repo: &Repo, imported: Imported) -> Self {
        let adopted = |(found, used): (StageId, StageId)| Adopted { found: found.to_string(), used: used.to_string() };
        Self {
            repo: repo.to_string(),
            adopted: imported.adopted.into_iter().map(adopted).collect(),
            known: imported.known.iter().map(ToString::to_string).collect(),
            unusable: imported.unusable.into_iter().map(|(id, why)| (id.to_string(), why)).collect(),
        }
    }
}

impl Report for Importing {
    fn text(&self) -> String {
        let mut text = String::new();
        for Adopted { found, used } in &self.adopted {
            line(&mut text, format_args!("adopted {found} as {used}"));
        }
        self.known.iter().for_each(|id| line(&mut text, format_args!("known {id}")));
        self.unusable.iter().for_each(|(id, why)| line(&mut text, format_args!("unusable {id}: {why}")));
        let (adopted, known, unusable) = (self.adopted.len(), self.known.len(), self.unusable.len());
        line(&mut text, format_args!("{}: {adopted} adopted, {known} known, {unusable} unusable", self.repo));
        text
    }
}

/// A record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stage {
    stage: String,
    state: KeptState,
    tagged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    commits: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
}

impl Stage {
    pub(super) fn new(kept: &Kept) -> Self {
        let stage = kept.stage.as_deref();
        let commits = stage.map(|stage| &stage.commits).into_iter().flatten();
        Self {
            stage: kept.id.to_string(),
            state: kept.state,
            tagged: kept.tagged,
            platform: stage.map(|stage| stage.platform.to_string()),
            manifest: stage.map(|stage| stage.at.digest.to_string()),
            commits: commits.map(|(key, commit)| (key.clone(), commit.to_string())).collect(),
            why: kept.why.clone(),
            wrong: None,
        }
    }

    /// A stage that stands in a repository, of which nothing else is kept.
    pub(super) fn found(id: StageId) -> Self {
        let commits = BTreeMap::new();
        Self {
            stage: id.to_string(),
            state: KeptState::Live,
            tagged: true,
            platform: None,
            manifest: None,
            commits,
            why: None,
            wrong: None,
        }
    }

    fn text(&self) -> String {
        let state = match (self.state, self.tagged) {
            (KeptState::Live, false) => "untagged",
            (KeptState::Live, true) => "live",
            (KeptState::Listed, _) => "listed",
            (KeptState::Orphan, _) => "orphan",
            (KeptState::Rejected, _) => "rejected",
            (KeptState::Foreign, _) => "foreign",
            (KeptState::Condemned, _) => "condemned",
            (KeptState::Deleting, _) => "deleting",
        };
        let mut text = format!("{} {state}", self.stage);
        if let Some(platform) = &self.platform {
            write!(text, " {platform}").expect("a string takes everything");
        }
        for (key, commit) in &self.commits {
            write!(text, " {key}={commit}").expect("a string takes everything");
        }
        if let Some(why) = &self.why {
            write!(text, " ({why})").expect("a string takes everything");
        }
        text
    }
}

/// `stages winners`
#[derive(Serialize)]
pub(super) struct Winners {
    repo: String,
    stages: Vec<Stage>,
}

impl Winners {
    pub(super) fn new(repo: &Repo, kept: &[Kept]) -> Self {
        Self { repo: repo.to_string(), stages: kept.iter().map(Stage::new).collect() }
    }
}

impl Report for Winners {
    fn text(&self) -> String {
        self.stages.iter().map(|stage| format!("{}\n", stage.text())).collect()
    }
}

/// `stages verify`
#[derive(Serialize)]
pub(super) struct Verifying {
    repo: String,
    verified: usize,
    broken: Vec<Stage>,
}

impl Verifying {
    pub(super) fn new(repo: &Repo) -> Self {
        Self { repo: repo.to_string(), verified: 0, broken: Vec::new() }
    }

    pub(super) fn add(&mut self, stage: Stage, wrong: Option<String>) {
        self.verified += 1;
        if wrong.is_some() {
            self.broken.push(Stage { wrong, ..stage });
        }
    }

    pub(super) fn broken(&self) -> usize {
        self.broken.len()
    }
}

impl Report for Verifying {
    fn text(&self) -> String {
        let mut text = String::new();
        for stage in &self.broken {
            line(&mut text, format_args!("{}: {}", stage.stage, stage.wrong.as_deref().unwrap_or_default()));
        }
        line(&mut text, format_args!("{}: {} verified, {} broken", self.repo, self.verified, self.broken.len()));
        text
    }
}

/// `stages reject`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rejecting {
    repo: String,
    rejected: Vec<String>,
    unchanged: Vec<String>,
}

impl Rejecting {
    pub(super) fn new(repo: &Repo) -> Self {
        Self { repo: repo.to_string(), rejected: Vec::new(), unchanged: Vec::new() }
    }

    pub(super) fn add(&mut self, stage: StageId, rejected: bool) {
        let list = if rejected { &mut self.rejected } else { &mut self.unchanged };
        list.push(stage.to_string());
    }
}

impl Report for Rejecting {
    fn text(&self) -> String {
        let mut text = String::new();
        self.rejected.iter().for_each(|id| line(&mut text, format_args!("rejected {id}")));
        let unchanged = "not recorded, or rejected before";
        self.unchanged.iter().for_each(|id| line(&mut text, format_args!("unchanged {id}: {unchanged}")));
        text
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes everything");
}
