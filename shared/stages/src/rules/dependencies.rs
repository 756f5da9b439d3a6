//! `dependenciesBefore…` and `dependenciesAfter…`: imports from other images, and variables that tell their names.

use slipway_config::{ImageName, Import, ImportMoment, ImportSource, StapelImage};
use slipway_digest::{Checksum, Encoder, StageId};
use slipway_oci::ConfigChange;

use super::{
    Recipe, handed,
    user::{self, carried},
};
use crate::{
    facts::{Answer, Asked, Question},
    kind::StageKind,
    plan::{ImportInput, ImportedImage, StageBody, StageRecord},
    scene::Scene,
};

/// The checksum of the imported content, and where and how it goes in. The source's digest does not count: an
/// artifact that was rebuilt with equal files rebuilds none of its users, nor does a tag of a registry that moved. Of an image named by `dependencies` its last
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
        let Found { image, stage, content } = source(scene, import)?;
        let input = ImportInput {
            image,
            add: import.add.clone(),
            include: import.include.clone(),
            exclude: import.exclude.clone(),
            to: import.to.clone(),
            owner: import.owner.clone(),
            group: import.group.clone(),
        };
        let question = Question::Imported { stage, content, input: Box::new(input.clone()) };
        Ok((input, question))
    };
    stapel.imports.iter().filter(at_moment).map(input).collect()
}

/// An image that files come from, and what is known of it.
struct Found {
    image: ImportedImage,
    stage: Option<StageId>,
    content: Option<Checksum>,
}

fn source(scene: Scene<'_>, import: &Import) -> Asked<Found> {
    match &import.source {
        ImportSource::Image(name) => {
            let StageRecord { at, image_id, id, content, .. } = source_stage(scene, import, name)?;
            let image = ImportedImage::Stage { id: *id, at: at.clone(), image_id: image_id.clone() };
            Ok(Found { image, stage: Some(*id), content: Some(*content) })
        }
        ImportSource::External(reference) => {
            let platform = scene.settings.platform.clone();
            let question = Question::Base { reference: reference.clone(), platform: platform.clone() };
            let Answer::Base(image) = scene.facts.one(question)? else {
                return scene.invalid(import.position.line, format!("image `{reference}` was not found"));
            };
            let at = image.at.as_ref();
            let content = at.map(|at| Encoder::new("external image").text(at.digest.as_str()).finish());
            Ok(Found { image: ImportedImage::External { image: image.clone(), platform }, stage: None, content })
        }
    }
}

/// The stage of an image of this file that an import takes its files from.
pub(super) fn source_stage<'a>(scene: Scene<'a>, import: &Import, name: &ImageName) -> Asked<&'a StageRecord> {
    let Some(stage) = import.stage else { return scene.needed(name) };
    let kind = user::kind(stage);
    match scene.needed_stage(name, kind)? {
        Some(record) => Ok(record),
        None => scene.invalid(import.position.line, format!("image `{name}` has no stage `{}`", kind.name())),
    }
}

fn kind(moment: ImportMoment) -> StageKind {
    match moment {
        ImportMoment::BeforeInstall => StageKind::DependenciesBeforeInstall,
        ImportMoment::AfterInstall => StageKind::DependenciesAfterInstall,
        ImportMoment::BeforeSetup => StageKind::DependenciesBeforeSetup,
        ImportMoment::AfterSetup => StageKind::DependenciesAfterSetup,
    }
}
