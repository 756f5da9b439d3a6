//! `dockerfile`: a whole Dockerfile as one stage.

use std::collections::BTreeMap;

use slipway_config::DockerfileImage;
use slipway_digest::{Checksum, Encoder};
use slipway_dockerfile::Inputs;
use slipway_oci::ArchiveName;
use slipway_paths::{ContextFilter, Scope, TreePath};

use super::handed;
use crate::{
    facts::{Answer, Asked, Question},
    plan::{BaseImage, DockerfileInput, SourceId, StageBody},
    scene::Scene,
};

/// Every instruction that the target reaches, with variables expanded, and the context files that it reads.
pub(super) fn dependencies(scene: Scene<'_>, image: &DockerfileImage) -> Asked<Checksum> {
    let read = Read::new(scene, image)?;
    let scopes: Vec<Option<Scope>> = read.inputs.lines.iter().map(|line| read.scope(line.sources.clone())).collect();
    let commit = scene.settings.context_commit(scene.image);
    let ask = |scope: &Scope| Question::Tree { source: SourceId::own(), commit, scope: scope.clone() };
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
    let mut bases: Vec<BaseImage> = Vec::new();
    let mut questions: Vec<Question> = Vec::new();
    for reference in &read.inputs.bases {
        if ArchiveName::is_meant(reference) {
            let why = format!(
                "not supported yet: archives as bases of Dockerfiles (`FROM {reference}` in {}); load the image into the \
                 engine or push it to a registry, and name it there",
                read.path
            );
            return scene.invalid(scene.image.position.line, why);
        }
        match handed::base(scene, scene.image, reference)? {
            Some(own) => bases.push(own),
            None => questions.push(ask(reference)),
        }
    }
    let base = |answer: &Answer| match answer {
        Answer::Base(base) => Some(base.clone()),
        _ => None,
    };
    bases.extend(scene.facts.all(&questions)?.into_iter().filter_map(base));
    let context = Scope::Context(ContextFilter { base: read.context, ignore: read.ignore, sources: None });
    Ok(StageBody::Dockerfile(Box::new(DockerfileInput {
        path: read.path.to_string(),
        text: read.text,
        commit: scene.settings.context_commit(scene.image),
        context,
        target: image.target.clone(),
        args: read.args,
        add_hosts: image.add_hosts.clone(),
        network: image.network.clone(),
        bases,
        ssh: image.ssh.clone(),
    })))
}

/// The Dockerfile and its ignore rules, as they are in the commit.
struct Read {
    path: TreePath,
    text: String,
    context: TreePath,
    ignore: Vec<String>,
    inputs: Inputs,
    /// `args`, and what dependencies hand over.
    args: BTreeMap<String, String>,
}

impl Read {
    fn new(scene: Scene<'_>, image: &DockerfileImage) -> Asked<Self> {
        let path = scene.settings.project_dir.join(image.dockerfile.as_bytes());
        let context = scene.settings.project_dir.join(image.context.as_bytes());
        let mut beside = path.as_bytes().to_vec();
        beside.extend_from_slice(b".dockerignore");
        let paths = [path.clone(), TreePath::root().join(&beside), context.join(b".dockerignore")];
        let commit = scene.settings.context_commit(scene.image);
        let questions = paths.map(|path| Question::File { commit, path });
        let answers = scene.facts.all(&questions)?;
        let [file, own_ignore, context_ignore] = [0, 1, 2].map(|i| text(answers[i]));
        let line = scene.image.position.line;
        let Some(text) = file else {
            let message = format!("the Dockerfile `{path}` is not in commit {}", scene.settings.commit);
            return scene.invalid(line, message);
        };
        let platform = scene.settings.platform.to_string();
        let mut args = image.args.clone();
        args.extend(handed::values(scene, None)?);
        let inputs = slipway_dockerfile::inputs(&path.to_string(), &text, image.target.as_deref(), &args, &platform);
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(error) => return scene.invalid(line, error.to_string()),
        };
        let ignore = own_ignore.or(context_ignore).map(|text| slipway_dockerfile::ignore_patterns(&text));
        let mut ignore = ignore.unwrap_or_default();
        // What is added to the context is part of it, whatever the ignore rules say.
        ignore.extend(image.context_add_files.iter().map(slipway_paths::ignore::taking_back));
        Ok(Self { path, text, context, ignore, inputs, args })
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
