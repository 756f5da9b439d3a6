//! `gitArchive`, `gitCache`, `gitLatestPatch`, and the patches that user stages begin with.

use slipway_config::StapelImage;
use slipway_digest::{Checksum, Encoder};

use super::user::carried;
use crate::{
    facts::{Answer, Asked, ChangesFact, Question, TreeFact},
    kind::StageKind,
    plan::{GitInput, SourceId, StageBody},
    scene::{Mapping, Scene, mappings},
};

/// Changes of this many bytes go into a stage of their own, so that the patches above stay small.
const CACHE_BYTES: u64 = 1 << 20;

/// The mappings' parameters: no commit and no content, so that the stage lasts as long as its commit is an ancestor.
pub(super) fn archive_dependencies(scene: Scene<'_>, stapel: &StapelImage) -> Asked<Option<Checksum>> {
    let mut keys: Vec<String> = mappings(scene, stapel)?.into_iter().map(|mapping| mapping.key).collect();
    if keys.is_empty() {
        return Ok(None);
    }
    keys.sort_unstable();
    let encoder = carried(Encoder::new("gitArchive").texts(keys), scene, StageKind::GitArchive);
    Ok(Some(encoder.finish()))
}

/// All files of every mapping at the current commit.
pub(super) fn archive(scene: Scene<'_>, stapel: &StapelImage) -> Asked<StageBody> {
    let mappings = mappings(scene, stapel)?;
    let ask = |mapping: &Mapping<'_>| Question::Tree {
        source: SourceId::own(),
        commit: mapping.commit,
        scope: mapping.scope(),
    };
    let questions: Vec<Question> = mappings.iter().map(ask).collect();
    let answers = scene.facts.all(&questions)?;
    let mut inputs = Vec::with_capacity(mappings.len());
    for (mapping, answer) in mappings.iter().zip(answers) {
        let Answer::Tree(TreeFact { base_is_file, files, .. }) = answer else { continue };
        let line = mapping.mapping.position.line;
        if *files == 0 {
            let (add, to) = (&mapping.mapping.add, &mapping.mapping.to);
            let commit = mapping.commit;
            let message = format!(
                "the git mapping of `/{add}` to `{to}` matches no file at commit {commit}: check `add`, `includePaths` \
                 and `excludePaths`"
            );
            return scene.invalid(line, message);
        }
        if *base_is_file && mapping.mapping.to == "/" {
            return scene
                .invalid(line, format!("`/{}` is a file: `to` must name a file, not `/`", mapping.mapping.add));
        }
        inputs.push(mapping.input(None, *base_is_file));
    }
    Ok(StageBody::Git(inputs))
}

/// How many whole MiB have changed since the stage below; empty under 1.
pub(super) fn cache_dependencies(scene: Scene<'_>, stapel: &StapelImage) -> Asked<Option<Checksum>> {
    if !stapel.patches_after_setup {
        return Ok(None);
    }
    let bytes: u64 = changes(scene, stapel)?.iter().map(|(_, fact)| fact.bytes).sum();
    let encoder = carried(Encoder::new("gitCache"), scene, StageKind::GitCache);
    Ok((bytes >= CACHE_BYTES).then(|| encoder.number(bytes / CACHE_BYTES).finish()))
}

/// What has changed since the stage below; empty when nothing has.
pub(super) fn patch_dependencies(scene: Scene<'_>, stapel: &StapelImage) -> Asked<Option<Checksum>> {
    if !stapel.patches_after_setup {
        return Ok(None);
    }
    let changes = changes(scene, stapel)?;
    if changes.is_empty() {
        return Ok(None);
    }
    let encoder = carried(Encoder::new("gitLatestPatch"), scene, StageKind::GitLatestPatch);
    let encoder =
        encoder.list(changes.iter(), |encoder, (mapping, fact)| encoder.text(&mapping.key).checksum(&fact.checksum));
    Ok(Some(encoder.finish()))
}

/// Brings every mapping from the commit of the stage below to the current one.
pub(super) fn patches(scene: Scene<'_>, stapel: &StapelImage) -> Asked<Vec<GitInput>> {
    let below = scene.commits_below();
    let changes = changes(scene, stapel)?;
    let input = |(mapping, fact): &(Mapping<'_>, ChangesFact)| {
        mapping.input(below.get(&mapping.key).copied(), fact.base_is_file)
    };
    Ok(changes.iter().map(input).collect())
}

/// The mappings that have changed since the stage below, with what has. All missing facts are asked at once.
fn changes<'a>(scene: Scene<'_>, stapel: &'a StapelImage) -> Asked<Vec<(Mapping<'a>, ChangesFact)>> {
    let below = scene.commits_below();
    let behind = |mapping: Mapping<'a>| {
        let to = mapping.commit;
        let from = below.get(&mapping.key).copied().filter(|from| *from != to)?;
        let question = Question::Changes { source: SourceId::own(), from, to, scope: mapping.scope() };
        Some((mapping, question))
    };
    let (mappings, questions): (Vec<_>, Vec<_>) = mappings(scene, stapel)?.into_iter().filter_map(behind).unzip();
    let answers = scene.facts.all(&questions)?;
    let changed = |(mapping, answer): (Mapping<'a>, &Answer)| match answer {
        Answer::Changes(fact) if fact.files > 0 => Some((mapping, *fact)),
        _ => None,
    };
    Ok(mappings.into_iter().zip(answers).filter_map(changed).collect())
}
