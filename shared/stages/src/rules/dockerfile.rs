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
    let (read, inputs) = inputs(scene, image)?;
    let sums = read.checksums(scene, inputs.lines.iter().map(|line| line.sources.as_deref()))?;
    let encoder = Encoder::new("dockerfile")
        .optional(scene.image.cache_version.as_deref(), Encoder::text)
        .texts(&image.add_hosts)
        .list(inputs.lines.iter().zip(&sums), |encoder, (line, sum)| {
            encoder.text(&line.text).optional(sum.as_ref(), Encoder::checksum)
        });
    Ok(encoder.finish())
}

/// The Dockerfile, the rest of the context, and the bases resolved.
pub(super) fn body(scene: Scene<'_>, image: &DockerfileImage) -> Asked<StageBody> {
    let (read, inputs) = inputs(scene, image)?;
    read.input(scene, image, &inputs.bases).map(|input| StageBody::Dockerfile(Box::new(input)))
}

fn inputs(scene: Scene<'_>, image: &DockerfileImage) -> Asked<(Read, Inputs)> {
    let read = Read::new(scene, image)?;
    let (path, platform) = (read.path.to_string(), scene.settings.platform.to_string());
    match slipway_dockerfile::inputs(&path, &read.text, image.target.as_deref(), &read.args, &platform) {
        Ok(inputs) => Ok((read, inputs)),
        Err(error) => scene.invalid(scene.image.position.line, error.to_string()),
    }
}

/// The Dockerfile and its ignore rules, as they are in the commit.
pub(super) struct Read {
    /// Of the Dockerfile, in the repository.
    pub(super) path: TreePath,
    pub(super) text: String,
    context: TreePath,
    ignore: Vec<String>,
    /// `args`, and what dependencies hand over.
    pub(super) args: BTreeMap<String, String>,
}

impl Read {
    pub(super) fn new(scene: Scene<'_>, image: &DockerfileImage) -> Asked<Self> {
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
        let mut args = image.args.clone();
        args.extend(handed::values(scene, None)?);
        let ignore = own_ignore.or(context_ignore).map(|text| slipway_dockerfile::ignore_patterns(&text));
        let mut ignore = ignore.unwrap_or_default();
        // What is added to the context is part of it, whatever the ignore rules say.
        ignore.extend(image.context_add_files.iter().map(slipway_paths::ignore::taking_back));
        Ok(Self { path, text, context, ignore, args })
    }

    /// Of the context files that each of some lines reads; `None` for one that reads none.
    pub(super) fn checksums<'s>(
        &self,
        scene: Scene<'_>,
        sources: impl Iterator<Item = Option<&'s [String]>>,
    ) -> Asked<Vec<Option<Checksum>>> {
        let commit = scene.settings.context_commit(scene.image);
        let scopes: Vec<Option<Scope>> = sources.map(|sources| Some(self.scope(Some(sources?.to_vec())))).collect();
        let ask = |scope: &Scope| Question::Tree { source: SourceId::own(), commit, scope: scope.clone() };
        let questions: Vec<Question> = scopes.iter().flatten().map(ask).collect();
        let mut answers = scene.facts.all(&questions)?.into_iter();
        let files = |scope: &Option<Scope>| match scope.as_ref().and_then(|_| answers.next()) {
            Some(Answer::Tree(fact)) => Some(fact.checksum),
            _ => None,
        };
        Ok(scopes.iter().map(files).collect())
    }

    fn scope(&self, sources: Option<Vec<String>>) -> Scope {
        Scope::Context(ContextFilter { base: self.context.clone(), ignore: self.ignore.clone(), sources })
    }

    /// What a worker is given, with these of the bases.
    pub(super) fn input(
        self,
        scene: Scene<'_>,
        image: &DockerfileImage,
        references: &[String],
    ) -> Asked<DockerfileInput> {
        Ok(DockerfileInput {
            path: self.path.to_string(),
            commit: scene.settings.context_commit(scene.image),
            context: self.scope(None),
            target: image.target.clone(),
            add_hosts: image.add_hosts.clone(),
            network: image.network.clone(),
            bases: bases(scene, &self.path, references)?,
            ssh: image.ssh.clone(),
            text: self.text,
            args: self.args,
        })
    }
}

/// Where images are that a Dockerfile names.
fn bases(scene: Scene<'_>, path: &TreePath, references: &[String]) -> Asked<Vec<BaseImage>> {
    let ask =
        |reference: &String| Question::Base { reference: reference.clone(), platform: scene.settings.platform.clone() };
    let mut bases: Vec<BaseImage> = Vec::new();
    let mut questions: Vec<Question> = Vec::new();
    for reference in references {
        if ArchiveName::is_meant(reference) {
            let why = format!(
                "not supported yet: archives as bases of Dockerfiles (`FROM {reference}` in {path}); load the image into the \
                 engine or push it to a registry, and name it there"
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
    Ok(bases)
}

fn text(answer: &Answer) -> Option<String> {
    match answer {
        Answer::File(Some(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}
