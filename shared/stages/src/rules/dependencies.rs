//! `dependenciesBefore…` and `dependenciesAfter…`: imports from other images, and variables that tell their names.

use slipway_config::{Import, ImportMoment, ImportSource, StapelImage};
use slipway_digest::{Checksum, Encoder};
use slipway_oci::ConfigChange;

use super::{Recipe, handed, user::carried};
use crate::{
    facts::{Answer, Asked, Question},
    kind::StageKind,
    plan::{ImportInput, StageBody},
    scene::Scene,
};

/// The checksum of the imported content, and where and how it goes in. The source's digest does not count: an
/// artifact that was rebuilt with equal files rebuilds none of its users. Of an image named by `dependencies` its last
/// stage counts, and every value that is handed over.
pub(super) fn dependencies(scene: Scene<'_>, stapel: &StapelImage, moment: ImportMoment) -> Asked<Option<Checksum>> {
    let inputs = inputs(scene, stapel, moment)?;
    let handed = handed::over(scene, Some(moment))?;
    if inputs.is_empty() && handed.is_empty() {
        return Ok(None);
    }
    let questions: Vec<Question> = inputs.iter().map(|(_, question)| question.clone()).collect();
    let answers = scene.facts.all(&questions)?;
    let encoder = carried(Encoder::new("imports"), scene, kind(moment));
    let encoder = encoder.list(inputs.iter().zip(answers), |encoder, ((input, _), answer)| {
        let checksum = match answer {
            Answer::Imported(checksum) => Some(checksum),
            _ => None,
        };
        encoder
            .optional(checksum, Encoder::checksum)
            .text(&input.to)
            .optional(input.owner.as_deref(), Encoder::text)
            .optional(input.group.as_deref(), Encoder::text)
    });
    if handed.is_empty() {
        return Ok(Some(encoder.finish()));
    }
    let encoder = encoder.list(handed.iter(), |encoder, dependency| {
        let values = dependency.values.iter();
        encoder
            .text(&dependency.stage.to_string())
            .list(values, |encoder, (target, kind, value)| encoder.text(target).text(kind.name()).text(value))
    });
    Ok(Some(encoder.finish()))
}

/// The imports and the variables.
pub(super) fn recipe(scene: Scene<'_>, stapel: &StapelImage, moment: ImportMoment) -> Asked<Recipe> {
    let inputs = inputs(scene, stapel, moment)?.into_iter().map(|(input, _)| input).collect();
    let env = handed::values(scene, Some(moment))?;
    Ok(Recipe { body: StageBody::Imports(inputs), change: ConfigChange { env, ..ConfigChange::default() } })
}

fn inputs(scene: Scene<'_>, stapel: &StapelImage, moment: ImportMoment) -> Asked<Vec<(ImportInput, Question)>> {
    let at_moment = |import: &&Import| import.moment == moment;
    let input = |import: &Import| {
        let ImportSource::Image(source) = &import.source else {
            return scene.invalid(import.position.line, "not supported yet: import of an external image");
        };
        let source = scene.needed(source)?;
        let input = ImportInput {
            image: source.at.clone(),
            image_id: source.image_id.clone(),
            add: import.add.clone(),
            include: import.include.clone(),
            exclude: import.exclude.clone(),
            to: import.to.clone(),
            owner: import.owner.clone(),
            group: import.group.clone(),
        };
        let question = Question::Imported { stage: source.id, content: source.content, input: Box::new(input.clone()) };
        Ok((input, question))
    };
    stapel.imports.iter().filter(at_moment).map(input).collect()
}

fn kind(moment: ImportMoment) -> StageKind {
    match moment {
        ImportMoment::BeforeInstall => StageKind::DependenciesBeforeInstall,
        ImportMoment::AfterInstall => StageKind::DependenciesAfterInstall,
        ImportMoment::BeforeSetup => StageKind::DependenciesBeforeSetup,
        ImportMoment::AfterSetup => StageKind::DependenciesAfterSetup,
    }
}
