//! What stays and what goes, as it is shown.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use slipway_cleanup::Reason;
use slipway_digest::StageId;
use slipway_storage::cleanup::{Done, Going, Kind, Plan, Side};

use super::places::Places;

/// All kinds of tags.
const KINDS: [Kind; 10] = [
    Kind::Stage,
    Kind::Index,
    Kind::Commit,
    Kind::Import,
    Kind::CustomTag,
    Kind::CustomRecord,
    Kind::Note,
    Kind::Rejected,
    Kind::Image,
    Kind::Own,
];

/// How many tags of each kind go.
pub(super) fn numbers(plan: &Plan) -> String {
    let each = KINDS.iter().map(|kind| (kind, plan.number(*kind))).filter(|(_, number)| *number > 0);
    let each: Vec<String> = each.map(|(kind, number)| format!("{number} × {kind}")).collect();
    if each.is_empty() { "nothing".to_owned() } else { each.join(", ") }
}

/// What stays and why, with what that is made of below it; and what goes.
pub(super) fn tree(places: &Places, plan: &Plan) -> String {
    let mut below: BTreeMap<Option<StageId>, Vec<(StageId, &Reason)>> = BTreeMap::new();
    for (stage, reason) in plan.keeping.kept() {
        below.entry(stands_below(reason)).or_default().push((*stage, reason));
    }
    let mut text = format!("{}\n├─ {} stages stay\n", places.names(), plan.keeping.kept().count());
    let mut open: Vec<(usize, StageId, &Reason)> =
        below.get(&None).into_iter().flatten().rev().map(|(stage, reason)| (1, *stage, *reason)).collect();
    while let Some((depth, stage, reason)) = open.pop() {
        writeln!(text, "│{}{stage}: {reason}", "  ".repeat(depth)).expect("a string takes everything");
        let own = below.get(&Some(stage)).into_iter().flatten().rev();
        open.extend(own.map(|(stage, reason)| (depth + 1, *stage, *reason)));
    }
    writeln!(text, "└─ {} tags go: {}", plan.going.len(), numbers(plan)).expect("a string takes everything");
    for going in &plan.going {
        writeln!(text, "   {}: {}", name(going), going.why).expect("a string takes everything");
    }
    text
}

/// What a tag that goes is called.
pub(super) fn name(going: &Going) -> String {
    let place = if going.side == Side::Final { "final repository: " } else { "" };
    format!("{place}{} {}", going.kind, going.tag)
}

/// The stage that one stays for.
fn stands_below(reason: &Reason) -> Option<StageId> {
    match reason {
        Reason::Parent(stage) | Reason::Import(stage) | Reason::Dependency(stage) | Reason::SameImport(stage) => {
            Some(*stage)
        }
        Reason::Reference { .. } | Reason::InUse(_) | Reason::BuiltWithin(_) | Reason::Building | Reason::Index(_) => {
            None
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    repo: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    final_repo: Option<String>,
    dry_run: bool,
    kept: Vec<Stays>,
    removed: Vec<Goes>,
    failed: Vec<Goes>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stays {
    stage: String,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    needed_by: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Goes {
    tag: String,
    kind: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    of_final_repo: bool,
    why: String,
}

impl Goes {
    fn new(going: &Going, why: &str) -> Self {
        let of_final_repo = going.side == Side::Final;
        Self { tag: going.tag.clone(), kind: going.kind.to_string(), of_final_repo, why: why.to_owned() }
    }
}

/// The same as JSON; `done` = what was done, `None` for a dry run.
pub(super) fn json(places: &Places, plan: &Plan, done: Option<&Done>) -> String {
    let stays = |(stage, reason): (&StageId, &Reason)| Stays {
        stage: stage.to_string(),
        why: reason.to_string(),
        needed_by: stands_below(reason).map(|stage| stage.to_string()),
    };
    let removed = done.map_or(&plan.going, |done| &done.removed);
    let failed = done.map(|done| done.failed.as_slice()).unwrap_or_default();
    let report = Report {
        repo: places.primary.repo().to_string(),
        final_repo: places.last.as_ref().map(|last| last.repo().to_string()),
        dry_run: done.is_none(),
        kept: plan.keeping.kept().map(stays).collect(),
        removed: removed.iter().map(|going| Goes::new(going, going.why)).collect(),
        failed: failed.iter().map(|(going, why)| Goes::new(going, why)).collect(),
    };
    let text = serde_json::to_string_pretty(&report).expect("texts can be written as JSON");
    format!("{text}\n")
}
