//! `dockerfile`: a whole Dockerfile as one stage.

use slipway_config::DockerfileImage;
use slipway_digest::{Checksum, Encoder};
use slipway_dockerfile::Inputs;
use slipway_paths::{ContextFilter, Scope, TreePath};

use crate::{
    facts::{Answer, Asked, Question},
    plan::{BaseImage, DockerfileInput, SourceId, StageBody},
    scene::Scene,
};

/// Every instruction that the target reaches, with variables expanded, and the context files that it reads.
pub(super) fn dependencies(scene: Scene<'_>, image: &DockerfileImage) -> Asked<Checksum> {
    let read = Read::new(scene, image)?;
    let scopes: Vec<Option<Scope>> = read.inputs.lines.iter().map(|line| read.scope(line.sources.clone())).collect();
    let ask =
        |scope: &Scope| Question::Tree { source: SourceId::own(), commit: scene.settings.commit, scope: scope.clone() };
    let questions: Vec<Question> = scopes.iter().flatten().map(ask).collect();
    let mut answers = scene.facts.all(&questions)?.into_iter();
    let mut files = |scope: &Option<Scope>| match scope.as_ref().and_then(|_| answers.next()) {
        Some(Answer::Tree(fact)) => Some(fact.checksum),
        _ => None,
    };
    let encoder = Encoder::new("dockerfile")
        .optional(scene.image.cache_version.as_deref(), Encoder::text)
        .texts(&image.add_hosts)
        .list(read.inputs.lines.iter().zip(&scopes), |encoder, (line, scope)| {
            encoder.text(&line.text).optional(files(scope).as_ref(), Encoder::checksum)
        });
    Ok(encoder.finish())
}

/// The Dockerfile, the rest of the context, and the bases resolved.
pub(super) fn body(scene: Scene<'_>, image: &DockerfileImage) -> Asked<StageBody> {
    let read = Read::new(scene, image)?;
    let ask =
        |reference: &String| Question::Base { reference: reference.clone(), platform: scene.settings.platform.clone() };
    let questions: Vec<Question> = read.inputs.bases.iter().map(ask).collect();
    let answers = scene.facts.all(&questions)?;
    let base = |answer: &Answer| match answer {
        Answer::Base(base) => Some(base.clone()),
        _ => None,
    };
    let bases: Vec<BaseImage> = answers.into_iter().filter_map(base).collect();
    let context = Scope::Context(ContextFilter { base: read.context, ignore: read.ignore, sources: None });
    Ok(StageBody::Dockerfile(Box::new(DockerfileInput {
        path: read.path.to_string(),
        text: read.text,
        commit: scene.settings.commit,
        context,
        target: image.target.clone(),
        args: image.args.clone(),
        add_hosts: image.add_hosts.clone(),
        network: image.network.clone(),
        bases,
    })))
}

/// The Dockerfile and its ignore rules, as they are in the commit.
struct Read {
    path: TreePath,
    text: String,
    context: TreePath,
    ignore: Vec<String>,
    inputs: Inputs,
}

impl Read {
    fn new(scene: Scene<'_>, image: &DockerfileImage) -> Asked<Self> {
        let path = scene.settings.project_dir.join(image.dockerfile.as_bytes());
        let context = scene.settings.project_dir.join(image.context.as_bytes());
        let mut beside = path.as_bytes().to_vec();
        beside.extend_from_slice(b".dockerignore");
        let paths = [path.clone(), TreePath::root().join(&beside), context.join(b".dockerignore")];
        let questions = paths.map(|path| Question::File { commit: scene.settings.commit, path });
        let answers = scene.facts.all(&questions)?;
        let [file, own_ignore, context_ignore] = [0, 1, 2].map(|i| text(answers[i]));
        let line = scene.image.position.line;
        let Some(text) = file else {
            let message = format!("the Dockerfile `{path}` is not in commit {}", scene.settings.commit);
            return scene.invalid(line, message);
        };
        let platform = scene.settings.platform.to_string();
        let inputs =
            slipway_dockerfile::inputs(&path.to_string(), &text, image.target.as_deref(), &image.args, &platform);
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(error) => return scene.invalid(line, error.to_string()),
        };
        let ignore = own_ignore.or(context_ignore).map(|text| slipway_dockerfile::ignore_patterns(&text));
        Ok(Self { path, text, context, ignore: ignore.unwrap_or_default(), inputs })
    }

    fn scope(&self, sources: Option<Vec<String>>) -> Option<Scope> {
        let filter = ContextFilter { base: self.context.clone(), ignore: self.ignore.clone(), sources: Some(sources?) };
        Some(Scope::Context(filter))
    }
}

fn text(answer: &Answer) -> Option<String> {
    match answer {
        Answer::File(Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}
