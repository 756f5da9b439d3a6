//! Instructions of a staged Dockerfile: each is a stage.
//!
//! What an instruction depends on is what it says with variables expanded, what it reads of the context and of other parts, and all
//! that stands below it. Nothing of it tells which Dockerfile it is of, so that equal instructions are one stage wherever they stand.

use std::sync::Arc;

use slipway_config::{DockerfileImage, DockerfilePart};
use slipway_digest::{Checksum, Encoder};
use slipway_dockerfile::{Argument, Origin, Outline, OutlinedLine, OutlinedStage};

use super::{dockerfile::Read, uses::dependencies as handed_over};
use crate::{
    facts::{Asked, OutlineKey},
    kind::{Keyword, StageKind},
    labels::Uses,
    plan::{InstructionInput, StageBody, StageRecord, StoredStage},
    scene::Scene,
};

/// The stages of a part before `imageSpec`: its `FROM`, then its other instructions.
pub(super) fn order(part: &DockerfilePart) -> impl Iterator<Item = StageKind> {
    let own =
        part.instructions.iter().filter_map(|(number, name)| Some(StageKind::Instruction(*number, Keyword::of(name)?)));
    std::iter::once(StageKind::Instruction(0, Keyword::From)).chain(own)
}

/// What an instruction says, and what it reads.
pub(super) fn dependencies(scene: Scene<'_>, image: &DockerfileImage, number: u16) -> Asked<Checksum> {
    let (read, outline) = outline(scene, image)?;
    let instruction = Instruction::find(scene, &outline, number)?;
    let sums = read.checksums(scene, instruction.lines.iter().map(|line| line.sources.as_deref()))?;
    let encoder = match number {
        0 => begin(scene, instruction.stage)?,
        _ => Encoder::new("instruction"),
    };
    let mut read = Vec::with_capacity(instruction.lines.len());
    for (position, line) in instruction.lines.iter().enumerate() {
        // The base of a `FROM` is counted already.
        read.push(if number == 0 && position == 0 { Vec::new() } else { contents(scene, line)? });
    }
    let escape = outline.escape.map(String::from);
    let encoder = encoder.optional(escape.as_deref(), Encoder::text);
    let lines = instruction.lines.iter().zip(&sums).zip(&read);
    Ok(encoder
        .list(lines, |encoder, ((line, sum), read)| {
            let hosts = if runs(line) { image.add_hosts.as_slice() } else { &[] };
            let encoder = encoder.text(&line.text).optional(sum.as_ref(), Encoder::checksum);
            let encoder = encoder.list(line.arguments.iter(), argument).texts(hosts);
            encoder.list(read.iter(), Encoder::checksum)
        })
        .finish())
}

/// Whether it is a `RUN`.
fn runs(line: &OutlinedLine) -> bool {
    line.text.starts_with("RUN")
}

/// What a part begins with. Other parts count by their content, images by what is written.
fn begin(scene: Scene<'_>, stage: &OutlinedStage) -> Asked<Encoder> {
    let encoder = Encoder::new("FROM").optional(scene.image.cache_version.as_deref(), Encoder::text);
    Ok(match below(scene, stage)? {
        Some(record) => encoder.text("part").checksum(&record.content),
        None => encoder.text(if stage.base == Origin::Scratch { "scratch" } else { "reference" }),
    })
}

fn argument(encoder: Encoder, argument: &Argument) -> Encoder {
    encoder.text(&argument.name).optional(argument.value.as_deref(), Encoder::text)
}

/// The content of the parts that a line reads, in the order in which it names them.
fn contents(scene: Scene<'_>, line: &OutlinedLine) -> Asked<Vec<Checksum>> {
    parts(line).map(|position| Ok(finished(scene, position)?.content)).collect()
}

fn parts(line: &OutlinedLine) -> impl Iterator<Item = usize> {
    line.origins.iter().filter_map(|origin| match origin {
        Origin::Stage(position) => Some(*position),
        Origin::Scratch | Origin::Image(_) => None,
    })
}

/// The last stage of the part at a position, which this one needs.
fn finished<'a>(scene: Scene<'a>, position: usize) -> Asked<&'a StageRecord> {
    match scene.image.part().and_then(|part| part.parts.get(&position)) {
        Some(name) => scene.needed(name),
        None => scene.invalid(
            scene.image.position.line,
            format!(
                "what a dependency hands over names stage {position} of the Dockerfile, and only `args` may decide which of its \
                 stages are built"
            ),
        ),
    }
}

/// The last stage of the part that `FROM` names.
pub(super) fn base<'a>(scene: Scene<'a>, image: &DockerfileImage) -> Asked<Option<&'a StageRecord>> {
    let (_, outline) = outline(scene, image)?;
    below(scene, Instruction::find(scene, &outline, 0)?.stage)
}

fn below<'a>(scene: Scene<'a>, stage: &OutlinedStage) -> Asked<Option<&'a StageRecord>> {
    match &stage.base {
        Origin::Stage(position) => finished(scene, *position).map(Some),
        Origin::Scratch | Origin::Image(_) => Ok(None),
    }
}

/// The Dockerfile, which instruction it is, and what it reads.
pub(super) fn body(scene: Scene<'_>, image: &DockerfileImage, number: u16) -> Asked<StageBody> {
    let (read, outline) = outline(scene, image)?;
    let instruction = Instruction::find(scene, &outline, number)?;
    let mut references: Vec<String> = Vec::new();
    let mut stages: Vec<(usize, StoredStage)> = Vec::new();
    for origin in instruction.lines.iter().flat_map(|line| &line.origins) {
        match origin {
            Origin::Image(name) if !references.contains(name) => references.push(name.clone()),
            Origin::Stage(position) if stages.iter().all(|(known, _)| known != position) => {
                stages.push((*position, StoredStage::of(finished(scene, *position)?)));
            }
            Origin::Image(_) | Origin::Stage(_) | Origin::Scratch => {}
        }
    }
    let has_arguments = instruction.lines.iter().any(|line| line.has_arguments);
    let foreign = number == 0 && matches!(instruction.stage.base, Origin::Image(_));
    Ok(StageBody::Instruction(Box::new(InstructionInput {
        position: instruction.stage.position,
        number,
        line: instruction.line,
        parts: stages,
        beginning: if has_arguments { beginning(scene, &outline, instruction.stage)? } else { None },
        // What an image from elsewhere has postponed may be anything.
        has_commands: foreign || instruction.lines.iter().any(runs),
        file: read.input(scene, image, &references)?,
    })))
}

/// The `FROM` of the lowest part that a part stands on, itself included; `None` when it is to be made.
fn beginning(scene: Scene<'_>, outline: &Outline, stage: &OutlinedStage) -> Asked<Option<StoredStage>> {
    let mut lowest = stage;
    while let Origin::Stage(below) = lowest.base {
        match outline.stages.iter().find(|stage| stage.position == below) {
            Some(found) => lowest = found,
            None => break,
        }
    }
    if lowest.position == stage.position {
        return Ok(scene.placed.first().map(|placed| StoredStage::of(&placed.record)));
    }
    let name = scene.image.part().and_then(|part| part.parts.get(&lowest.position));
    let kind = StageKind::Instruction(0, Keyword::From);
    let record = name.map(|name| scene.needed_stage(name, kind)).transpose()?.flatten();
    Ok(record.map(StoredStage::of))
}

/// The parts that files are taken from, and the images that `dependencies` name.
pub(super) fn uses(scene: Scene<'_>, image: &DockerfileImage, number: u16) -> Asked<Uses> {
    let (_, outline) = outline(scene, image)?;
    let instruction = Instruction::find(scene, &outline, number)?;
    // The base of a `FROM` is the parent.
    let lines = instruction.lines.iter().skip(usize::from(number == 0));
    let mut uses = Uses::default();
    for position in lines.flat_map(parts) {
        let id = finished(scene, position)?.id;
        uses.imports.insert(id.digest.to_string(), id);
    }
    if number == 0 {
        uses.dependencies = handed_over(scene, None)?;
    }
    Ok(uses)
}

fn outline(scene: Scene<'_>, image: &DockerfileImage) -> Asked<(Read, Arc<Outline>)> {
    let read = Read::new(scene, image)?;
    let key = OutlineKey {
        commit: scene.settings.context_commit(scene.image),
        path: read.path.to_string(),
        target: image.target.clone(),
        args: read.args.clone(),
        platform: scene.settings.platform.to_string(),
    };
    match scene.facts.outline(key, &read.text) {
        Ok(outline) => Ok((read, outline)),
        Err(error) => scene.invalid(scene.image.position.line, error.to_string()),
    }
}

/// An instruction, with what was postponed for it when it is a `FROM`.
struct Instruction<'o> {
    stage: &'o OutlinedStage,
    line: u32,
    lines: &'o [OutlinedLine],
}

impl<'o> Instruction<'o> {
    fn find(scene: Scene<'_>, outline: &'o Outline, number: u16) -> Asked<Self> {
        let position = scene.image.part().map(|part| part.position);
        let found = outline.stages.iter().find(|stage| Some(stage.position) == position).and_then(|stage| {
            if number == 0 {
                return Some(Self { stage, line: stage.line, lines: &stage.from });
            }
            let own = stage.instructions.iter().find(|own| own.number == usize::from(number))?;
            Some(Self { stage, line: own.line, lines: std::slice::from_ref(&own.text) })
        });
        match found {
            Some(found) => Ok(found),
            // What dependencies hand over has changed which stages are reached.
            None => scene.invalid(
                scene.image.position.line,
                "with what dependencies hand over, the target does not need this part of the Dockerfile: only `args` may decide \
                 which of its stages are built",
            ),
        }
    }
}
